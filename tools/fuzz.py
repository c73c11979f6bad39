"""Coverage-guided fuzzing of the code that reads files of strangers: photos and checkpoints.

`pip install -r requirements-audit.txt`, then `python -m tools.fuzz photo -max_total_time=60`, or `checkpoint`. The
other options are those of libFuzzer. It stops at the first input that raises anything but `InputError`, and saves it.
"""

import io
import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "t2i.media.photo", "t2i.store", "t2i.locate"]):
    from PIL import Image, PngImagePlugin

    from t2i import store
    from t2i.locate import Checkpoint
    from t2i.media.photo import open_photo, prepare

import torch

from t2i import InputError
from t2i.models import DCGANGenerator, DCGANGeneratorConfig

PHOTO_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "ICO", "PPM", "TGA", "PCX", "SGI", "DDS", "JPEG2000")


def fuzz_photo(data: bytes) -> None:
    try:
        prepare(open_photo(io.BytesIO(data)))
    except InputError:
        pass


def seed_photos() -> list[bytes]:
    """A small picture of every format, the first with metadata."""
    exif, info = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    info.add_itxt("t2i", "{}", zip=True)
    picture = Image.linear_gradient("L").resize((9, 7)).convert("RGB")
    photos = []
    for format_ in PHOTO_FORMATS:
        buffer = io.BytesIO()
        picture.save(buffer, format_, **({"exif": exif, "pnginfo": info} if format_ == "PNG" else {}))
        photos.append(buffer.getvalue())
    return photos


CHECKPOINT_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))


def fuzz_checkpoint(data: bytes) -> None:
    """`data`: a configuration, a zero byte, and the tensors of a generator."""
    config, _, tensors = data.partition(b"\0")
    (CHECKPOINT_FOLDER / "config.json").write_bytes(config)
    (CHECKPOINT_FOLDER / "generator.safetensors").write_bytes(tensors)
    try:
        checkpoint = Checkpoint(CHECKPOINT_FOLDER)
        [network] = checkpoint.read("generator").values()
        checkpoint.attributes, checkpoint.words
        with torch.inference_mode():
            network(torch.zeros(1, network.config.noise), torch.zeros(1, network.config.embedding))
    except InputError:
        pass


def seed_checkpoints() -> list[bytes]:
    """A small checkpoint with hashes, and one without."""
    generator = DCGANGenerator(DCGANGeneratorConfig(noise=2, embedding=2, projected=2, width=1))
    with tempfile.TemporaryDirectory() as folder:
        store.save(folder, {"generator": generator}, {"attributes": [["a", "b", "c"]], "words": "a b"})
        config, tensors = ((Path(folder) / name).read_bytes() for name in ("config.json", "generator.safetensors"))
    without_hashes = {name: fields for name, fields in json.loads(config).items() if name != "sha256"}
    return [config + b"\0" + tensors, json.dumps(without_hashes).encode() + b"\0" + tensors]


TARGETS = {"photo": (fuzz_photo, seed_photos), "checkpoint": (fuzz_checkpoint, seed_checkpoints)}


def main() -> None:
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"name a target: {' or '.join(TARGETS)}")
    target, seeds = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="corpus-") as corpus:
        for i, data in enumerate(seeds()):
            (Path(corpus) / str(i)).write_bytes(data)
        atheris.Setup([*sys.argv, corpus, "-max_len=65536", "-rss_limit_mb=2048"], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
