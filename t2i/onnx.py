"""A model as ONNX files, for runtimes outside Python: the page draws with them in the visitor's browser."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import nn

from . import store
from .errors import InputError
from .locate import Checkpoint
from .models import attribute_directions
from .models.onnx import to_onnx
from .models.text_encoder import ALPHABET, RECEPTIVE_FIELD, STEP_STRIDE, UNDIVIDED_LETTERS, WORD_JOINERS
from .studio import ATTRIBUTE_STEP, DRAWING_ROLES, SEEDS_PER_ROW
from .vocabulary import MIN_UNKNOWN_SHARE

ROLES = (*DRAWING_ROLES, "style_encoder")  # of the networks that are exported; the last one, if the model has it
READING = {  # how a caption becomes codes; see `models.text_encoder` and `vocabulary`
    "alphabet": ALPHABET,
    "undivided_letters": UNDIVIDED_LETTERS,
    "word_joiners": WORD_JOINERS,
    "step_stride": STEP_STRIDE,
    "receptive_field": RECEPTIVE_FIELD,
    "min_unknown_share": MIN_UNKNOWN_SHARE,
}
DIGEST_LENGTH = 16  # hexadecimal digits of a file's SHA-256 in its name


@dataclass(frozen=True)
class OnnxModel:
    """`files` by their names, and `manifest`, which says what is in them and how to draw with them."""

    manifest: dict[str, Any]
    files: dict[str, bytes]


def onnx_model(checkpoint: Checkpoint) -> OnnxModel:
    """The networks that draw, and the style encoder if there is one, as ONNX (see `models.onnx.to_onnx`).

    `InputError` if a network has no such form or cannot be read.
    """
    networks = checkpoint.read(*filter(checkpoint.has, ROLES))
    text_encoder, generator = networks["text_encoder"], networks["generator"]
    files, entries = {}, {}
    for role, network in networks.items():
        assert isinstance(network, nn.Module)
        data = to_onnx(network)
        if data is None:
            raise InputError(f"the {role} has no form for ONNX")
        digest = sha256(data).hexdigest()
        name = f"{role}-{digest[:DIGEST_LENGTH]}.onnx"
        files[name], entries[role] = data, {"file": name, "bytes": len(data), "sha256": digest}
    directions = ATTRIBUTE_STEP * attribute_directions(generator, len(checkpoint.attributes))
    mean = checkpoint.caption_mean
    sizes = {name: getattr(generator.config, name) for name in ("size", "noise", "embedding")}
    manifest = sizes | {
        "length": text_encoder.config.length,
        "reading": READING,
        "seeds_per_row": SEEDS_PER_ROW,
        "parameters": sum(p.numel() for network in (text_encoder, generator) for p in network.parameters()),
        "directions": [[round(value, 6) for value in row] for row in directions.tolist()],
        "caption_mean": None if mean is None else [round(value, 6) for value in mean.tolist()],
        "words": " ".join(sorted(checkpoint.words)),
        "networks": entries,
    }
    return OnnxModel(manifest, files)


def export_onnx(name: str | Path, folder: str | Path) -> list[Path]:
    """Write a model as ONNX: a file for each network and `manifest.json`; returns their paths.

    Weights are in half precision, arithmetic is in float32; any number of rows may be computed at once. The manifest
    has sizes, each file's SHA-256, how captions become codes (`reading`), `directions` (D, Z), what each attribute of 1
    adds to z, the `words` that the text encoder knows, and the `caption_mean` (E,) on which mixed captions are centred,
    or null. `InputError` as for `load`, or if a network has no form for ONNX.
    """
    model, folder = onnx_model(Checkpoint(name)), Path(folder)
    files = model.files | {"manifest.json": (json.dumps(model.manifest, indent=1) + "\n").encode()}
    for file, data in files.items():  # the manifest last
        store.write(folder / file, lambda path, data=data: path.write_bytes(data))  # type: ignore[misc]
    return [folder / file for file in files]
