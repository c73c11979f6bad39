"""Coverage-guided fuzzing of what reads strangers' files: photos, and checkpoints.

`pip install -r requirements-audit.txt`, then `python -m examples.fuzz photo -max_total_time=60`, or `checkpoint`; the
other options are libFuzzer's. It stops at the first input that raises anything but `InputError`, and keeps that input.
"""

import io
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "t2i.media.photo", "t2i.checkpoint"]):
    from PIL import Image, PngImagePlugin

    from t2i import store
    from t2i.media.photo import open_photo, prepare

import torch

from t2i import InputError
from t2i.locate import Checkpoint
from t2i.models import DCGANGenerator, DCGANGeneratorConfig

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "ICO", "PPM", "TGA", "PCX", "SGI", "DDS", "JPEG2000")


def photo(data: bytes) -> None:
    try:
        prepare(open_photo(io.BytesIO(data)))
    except InputError:
        pass


def photos() -> list[bytes]:
    """A small picture of every format to begin with, the first with metadata."""
    exif, notes = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    notes.add_itxt("t2i", "{}", zip=True)
    picture = Image.linear_gradient("L").resize((9, 7)).convert("RGB")
    found = []
    for kind in FORMATS:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **({"exif": exif, "pnginfo": notes} if kind == "PNG" else {}))
        found.append(buffer.getvalue())
    return found


FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def model(data: bytes) -> None:
    """A configuration, a zero byte, and the tensors of a generator."""
    described, _, tensors = data.partition(b"\0")
    (FOLDER / "config.json").write_bytes(described)
    (FOLDER / "generator.safetensors").write_bytes(tensors)
    try:
        [network] = Checkpoint(FOLDER).read("generator").values()
        Checkpoint(FOLDER).attributes
        with torch.inference_mode():
            network(torch.zeros(1, network.config.noise), torch.zeros(1, network.config.embedding))
    except InputError:
        pass


def models() -> list[bytes]:
    """A whole small checkpoint to begin with, with hashes and without."""
    config = DCGANGeneratorConfig(noise=2, embedding=2, projected=2, width=1)
    described = {"generator": asdict(config), "styles": [["a", "b", "c"]]}
    with tempfile.TemporaryDirectory() as folder:
        store.save(folder, {"generator": DCGANGenerator(config)}, described)
        described, tensors = ((Path(folder) / name).read_bytes() for name in ("config.json", "generator.safetensors"))
    bare = {name: fields for name, fields in json.loads(described).items() if name != "sha256"}
    return [described + b"\0" + tensors, json.dumps(bare).encode() + b"\0" + tensors]


TARGETS = {"photo": (photo, photos), "checkpoint": (model, models)}


def main() -> None:
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"say what: {' or '.join(TARGETS)}")
    target, begin = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="corpus-") as corpus:
        for i, data in enumerate(begin()):
            (Path(corpus) / str(i)).write_bytes(data)
        atheris.Setup([*sys.argv, corpus, "-max_len=65536", "-rss_limit_mb=2048"], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
