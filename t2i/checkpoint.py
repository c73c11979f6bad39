"""Checkpoints: where weights live, and how networks are written and read. Safetensors and JSON, no pickles."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from .errors import InputError
from .models import NETWORKS, describe


@dataclass(frozen=True)
class ModelSpec:
    """What a menu says of a model, and where the Hub has it."""

    name: str
    title: str
    hub_id: str | None = None  # None until it is published
    revision: str | None = None  # the commit on the Hub
    placeholder: str = "Describe a picture\u00a0…"
    examples: tuple[str, ...] = ()
    knows: str = ""  # what it draws, in a word
    more: tuple[str, ...] = ()  # captions beside the examples, for an index of pictures to search
    failures: tuple[tuple[str, str], ...] = ()  # captions it fails on, and what seeds 1 to 4 then show
    paper: bool = False  # drawn by the paper's own networks, and there to be compared: offered if its weights are here
    objective: str = ""  # of a model that is compared with others, which differ from it in that alone


MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="flowers",
            title="Flowers",
            knows="flowers",
            placeholder="Describe a flower\u00a0…",
            examples=(
                "this flower has pink petals and a yellow center",
                "a flower with long white petals that droop around a brown center",
                "this flower is purple, with thin pointed petals",
                "a bright orange flower with many layers of petals",
                "the petals are deep red with yellow tips",
                "a small blue flower with five round petals among green leaves",
            ),
            more=(
                "a white flower with a large yellow center",
                "a yellow flower with many thin petals around a dark center",
                "the flower is light pink with soft ruffled petals",
                "this flower has purple petals with dark veins",
                "an orange flower with black spots and curled petals",
                "a red flower with long stamens in the middle",
                "a round purple flower made of many spiky petals",
                "the petals are white at the edge and pink in the middle",
                "tiny yellow flowers in clusters on a green stem",
                "a blue flower with pointed petals that open like a star",
                "this flower is yellow and shaped like a trumpet",
                "a flower with broad white petals and a pale green center",
                "a dark red flower with smooth velvet petals",
                "pale lilac petals, thin and straight, around a yellow disc",
            ),
            failures=(
                ("a blue bird", "A blue flower. Of these words it knows the colour alone."),
                ("a red car on a street", "Red petals in the grass: no car, no street."),
                ("three small flowers in a row", "One, and large: number, size and place are lost."),
                ("a black flower", "Violet. It cannot draw black."),
            ),
        ),
        ModelSpec(
            name="birds",
            title="Birds",
            knows="birds",
            placeholder="Describe a bird\u00a0…",
            examples=(
                "this bird is black all over with a thick black bill",
                "a bright red bird with black wings and a short beak",
                "this bird is blue with black wings",
                "a bird with a yellow breast and belly and black wings",
                "this bird has a bright yellow belly and a grey back",
                "the bird has a blue crown and brown wings",
            ),
            more=(
                "a large black bird with a long hooked bill",
                "a small brown bird with a speckled white breast",
                "a white bird with grey wings and a yellow beak",
                "a white seabird with black tips on its wings",
                "this bird is all red with a black face",
            ),
            failures=(
                ("a brown bird with a speckled breast", "Specks all over, and the bird is lost among them."),
                ("this small bird is yellow with a black head", "Mush, whatever the seed; its neighbours do well."),
                ("two birds on a branch", "At best one, and no branch."),
                ("a pink flower with a yellow center", "Yellow streaks, as if on a bird; nothing pink."),
            ),
        ),
        ModelSpec(
            name="scenes",
            title="Everyday scenes (early)",
            knows="everyday scenes",
            placeholder="Describe an everyday scene\u00a0…",
            examples=(
                "a brown dog runs through the green grass",
                "a man rides a wave on a surfboard in the blue ocean",
                "two people stand on a snowy mountain",
                "a soccer player kicks the ball on a green field",
                "a group of people walk down a busy street",
                "people sit around a fire at night",
            ),
            more=(
                "a boat on the water under a blue sky",
                "a child in a red shirt plays on the beach",
                "a black dog swims in the water",
                "two white dogs play in the snow",
                "a baseball player swings the bat",
                "a boy slides down a red slide",
                "a man climbs a rock wall",
                "a girl in a pink dress stands in a garden",
            ),
            failures=(
                ("a herd of sheep in a field", "A grey texture, whatever the seed: some captions have no scene."),
                ("a train on the tracks", "Bright green ground: no train, no tracks."),
                ("a large green bus", "Something like a red hut: neither green nor a bus."),
                ("a cat sleeps on a bed", "Brown and white shapes, as of fur and sheets, and no cat."),
            ),
        ),
    )
}

OBJECTIVES = ("gan", "gan-cls", "gan-int", "gan-int-cls")  # the paper's, sections 4.1 to 4.3


def _paper(name: str, title: str, **fields) -> ModelSpec:
    """A model of the paper's own networks, which draws the same captions as the first."""
    return replace(MODELS["flowers"], name=name, title=title, paper=True, hub_id=None, revision=None, **fields)


MODELS["flowers-paper"] = _paper("flowers-paper", "Flowers, the paper's networks")
MODELS |= {
    f"flowers-{objective}": _paper(
        f"flowers-{objective}", f"Flowers, {objective.upper()}", objective=objective, failures=()
    )
    for objective in OBJECTIVES
}


@dataclass(frozen=True)
class Style:
    """A style slider: what it changes, and the words at its two ends."""

    name: str
    low: str = "−"
    high: str = "+"


UNNAMED = tuple(Style(f"Style {i}") for i in range(1, 5))  # directions that nobody chose

STORED = (*NETWORKS, "image_projection")  # what may lie beside config.json as <name>.safetensors
FIELDS = (*NETWORKS, "styles", "words", "training", "sha256")  # of config.json

WEIGHTS = Path(__file__).parent.parent / "weights"
HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
MOST_STYLES = 8
MOST_WORDS = 200_000  # characters
LARGEST_SIZE = 4096  # a configuration's: 64 times the paper's n, and no way to ask for a terabyte
LARGEST_CONFIG, LARGEST_FILE = 2**20, 2**30  # bytes
FLOATS = (torch.float16, torch.bfloat16, torch.float32)
MEND = "restore it with git, download it again or train it again"


def resolve(name: str | Path) -> Path:
    """The folder of a model: a registered name, a local folder, or a Hub id `owner/repo`, `owner/repo@revision`.

    A registered name is looked for in the environment (`T2I_FLOWERS`, a folder), then in `weights/` beside the
    package, then on the Hub at its pinned revision. `InputError` if there is no such model or it cannot be had.
    """
    name = str(name)
    if spec := MODELS.get(name):
        variable = f"T2I_{name.upper().replace('-', '_')}"
        if folder := os.environ.get(variable):
            if not os.path.isdir(folder):
                raise InputError(f"{variable}: {folder} is not a folder")
            return Path(folder)
        if (WEIGHTS / name).is_dir():
            return WEIGHTS / name
        if spec.hub_id is None:
            raise InputError(f"{WEIGHTS / name}: is missing; {MEND}")
        return _download(spec.hub_id, spec.revision)
    if os.path.isdir(name):
        return Path(name)
    if match := HUB_ID.fullmatch(name):
        return _download(*match.groups())
    raise InputError(f"unknown model {name!r}; known: {', '.join(MODELS)}, a folder, or a Hub id owner/repo[@revision]")


def is_here(name: str | Path) -> bool:
    """Whether `resolve` finds a model."""
    try:
        return bool(resolve(name))
    except InputError:
        return False


def _download(hub_id: str, revision: str | None) -> Path:
    from .hub import fetch  # slow to import, and most models are local

    return fetch(hub_id, revision)


def write(path: Path, save: Callable[[Path], None]) -> None:
    """Save under a temporary name, then rename: a stopped or failed write leaves the old file whole."""
    _write_all({path: save})


def _write_all(saves: dict[Path, Callable[[Path], None]]) -> None:
    """The same for files that belong together: none is renamed before all are written."""
    partials = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in saves}
    try:
        for path, partial in partials.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            saves[path](partial)
        for path, partial in partials.items():
            os.replace(partial, path)
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)


def save(folder: str | Path, networks: dict[str, nn.Module], config: dict) -> None:
    """Write `<name>.safetensors`, half precision, for each network, and merge `config` into `config.json`.

    Each network's type and sizes are added to it, and the files' SHA-256, beside what `shared` tells: `read` holds
    the files to them.
    `InputError`, and nothing is written, if a weight is not finite, as after a training that went astray.
    """
    folder = Path(folder)
    stored = {name: to_bytes(_halved(name, network)) for name, network in networks.items()}
    hashes = {name: sha256(data).hexdigest() for name, data in stored.items()}
    config = _merged(folder, config | describe(networks) | {"sha256": config.get("sha256", {}) | hashes})
    # As bytes, for safetensors' own file would be readable by its owner alone.
    saves = {folder / f"{name}.safetensors": lambda p, data=data: p.write_bytes(data) for name, data in stored.items()}
    _write_all(saves | {folder / "config.json": lambda p: p.write_text(json.dumps(config, indent=2) + "\n", "utf-8")})


def shared(name: str) -> dict:
    """What `config.json` says of the text encoder of a registered model that is not stored again."""
    path = home(resolve(name), "text_encoder") / "text_encoder.safetensors"
    return {"text_encoder": name, "sha256": {"text_encoder": sha256(_bytes(path)).hexdigest()}}


def record(folder: str | Path) -> None:
    """Record the SHA-256 of the weights as they lie in a folder, for a checkpoint written before `save` did so.

    Of a text encoder that it shares, too.
    """
    found = {name: path for name in STORED if (path := Path(folder) / f"{name}.safetensors").is_file()}
    if not found:
        raise InputError(f"{folder}: holds no weights to record")
    hashes = {name: sha256(_bytes(path)).hexdigest() for name, path in found.items()}
    if isinstance(lender := read_config(folder).get("text_encoder"), str):
        hashes |= shared(lender)["sha256"]
    config = _merged(Path(folder), {"sha256": hashes})
    write(Path(folder) / "config.json", lambda p: p.write_text(json.dumps(config, indent=2) + "\n", "utf-8"))


def _halved(name: str, network: nn.Module) -> dict[str, Tensor]:
    halved = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in network.state_dict().items()}
    if spoilt := [k for k, v in halved.items() if not v.isfinite().all()]:
        raise InputError(f"the {name}'s {spoilt[0]} is no longer finite in half precision: what was saved last is kept")
    return halved


def _merged(folder: Path, config: dict) -> dict:
    """The folder's configuration and what is new, `training` and `sha256` one level deep."""
    old = read_config(folder) if (folder / "config.json").exists() else {}
    deep = {name: old.get(name, {}) | config.get(name, {}) for name in ("training", "sha256")}
    return {name: fields for name, fields in (old | config | deep).items() if fields or name not in deep}


def read_config(folder: str | Path) -> dict:
    """The folder's `config.json`: a key a network, `styles`, `training`, and `sha256` of the files by network."""
    path = Path(folder) / "config.json"
    text = _bytes(path, LARGEST_CONFIG)
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken(path, "is no JSON" if isinstance(error, RecursionError) else error) from None
    if not isinstance(config, dict):
        raise _broken(path, "is not a JSON object")
    if unknown := [name for name in config if name not in FIELDS]:
        raise _broken(path, f"has the unknown field {unknown[0][:40]!r}; known: {', '.join(FIELDS)}")
    for name in ("training", "sha256"):
        if not isinstance(config.get(name, {}), dict):
            raise _broken(path, f"{name} must be an object")
    return config


def _bytes(path: Path, most: int = LARGEST_FILE) -> bytes:
    """A file's contents; `InputError` if it cannot be read or is too large."""
    try:
        if path.stat().st_size > most:
            raise _broken(path, f"is larger than {most:,} bytes, the most allowed")
        return path.read_bytes()
    except OSError as error:
        raise _broken(path, error) from None


def read_styles(folder: str | Path) -> tuple[Style, ...] | None:
    """What the first coordinates of z steer, as `train gan --styles` taught them; None where nothing was taught."""
    described = read_config(folder).get("styles")
    if described is None:
        return None
    rows = described if isinstance(described, list) and 0 < len(described) <= MOST_STYLES else [None]
    if not all(isinstance(row, list) and len(row) == 3 and all(map(_is_word, row)) for row in rows):
        told = f"styles must be 1 to {MOST_STYLES} lists of a name, a low end and a high end"
        raise _broken(Path(folder) / "config.json", told)
    return tuple(Style(*row) for row in rows)


def read_words(folder: str | Path) -> frozenset[str]:
    """The words that the text encoder met often in its training; none where they were not recorded."""
    folder = home(folder, "text_encoder")
    described = read_config(folder).get("words", "")
    if not isinstance(described, str) or len(described) > MOST_WORDS:
        raise _broken(folder / "config.json", f"words must be text of at most {MOST_WORDS} characters")
    return frozenset(described.split())


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) < 40


def read(folder: str | Path, *names: str) -> dict[str, nn.Module]:
    """These networks of a checkpoint, float32, on the CPU, in evaluation mode.

    `InputError` names the file that is missing, damaged or does not fit the others.
    """
    return {name: _read_network(home(folder, name), name) for name in names}


def home(folder: str | Path, name: str) -> Path:
    """The folder that holds a network of this checkpoint: its own, or that of the model it shares a text encoder with.

    Sharing is a registered model's name in place of the configuration; a path or a Hub id there is refused, for a
    checkpoint may come from a stranger. With the text encoder comes the image encoder that learnt beside it, for a
    checkpoint that has none.
    """
    for _ in MODELS:
        config = read_config(folder)
        described = config.get(name)
        if name == "image_encoder" and described is None and isinstance(config.get("text_encoder"), str):
            described = config["text_encoder"]
        if not isinstance(described, str):
            return Path(folder)
        if name not in ("text_encoder", "image_encoder") or described not in MODELS:
            told = f"{name} must be described, or for an encoder be one of {', '.join(MODELS)}; not {described!r}"
            raise _broken(Path(folder) / "config.json", told)
        folder = _lender(Path(folder), config, described)
    raise _broken(Path(folder) / "config.json", f"{name}: is shared in a circle")


def _lender(folder: Path, config: dict, name: str) -> Path:
    """The folder of the registered model whose text encoder a checkpoint shares.

    The environment may put another model in its place, whose text encoder would give this checkpoint embeddings that
    it never learnt: of the two, the one counts that has the SHA-256 that the checkpoint records, if it records one.
    """
    places = (resolve(name), WEIGHTS / name)
    if (wanted := config.get("sha256", {}).get("text_encoder")) is None:
        return places[0]
    for place in places:
        if place.is_dir() and not place.samefile(folder):
            if read_config(place).get("sha256", {}).get("text_encoder") == wanted:
                return place
    raise _broken(folder / "config.json", f"was trained with another text encoder than that of {name!r} here")


def has(folder: str | Path, name: str) -> bool:
    """Whether a checkpoint has a network, its own or a shared one."""
    return name in read_config(home(folder, name))


def _read_network(folder: Path, name: str) -> nn.Module:
    fields = read_config(folder).get(name)
    described = folder / "config.json"
    if not isinstance(fields, dict):
        raise _broken(described, f"does not describe {name}")
    network_class, config_class = _type(described, name, fields)
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k != "type"}
    for key, value in fields.items():
        if not all(map(_is_size, value if isinstance(value, tuple) else [value])):
            told = f"must be a whole number from 1 to {LARGEST_SIZE}, not {str(value)[:40]}"
            raise _broken(described, f"{name}.{key[:40]} {told}")
    try:
        with torch.device("meta"):  # shapes alone: no time spent on weights that are replaced at once
            network = network_class(config_class(**fields))
    except (TypeError, ValueError, RuntimeError) as error:
        raise _broken(described, f"{name}: {error}") from None
    return read_tensors(network, folder, name)


def _type(described: Path, role: str, fields: dict) -> tuple[type[nn.Module], type]:
    """Class and configuration of a network's type; of the first where none is named."""
    types = NETWORKS[role]
    name = fields.get("type", next(iter(types)))
    if not isinstance(name, str) or name not in types:
        raise _broken(described, f"{role}.type must be {' or '.join(types)}, not {str(name)[:40]!r}")
    return types[name]


def read_tensors(network: nn.Module, folder: str | Path, name: str) -> nn.Module:
    """Give a network the tensors of `<name>.safetensors`, float32, in evaluation mode; `InputError` if not its own.

    Before one is used, the file is held to the SHA-256 that `config.json` records, if it does, and every tensor to
    its name, shape and kind of number; all must be finite.
    """
    path = Path(folder) / f"{name}.safetensors"
    data = _bytes(path)
    if not is_recorded(folder, name, data):
        raise _broken(path, "is not the file whose SHA-256 config.json records")
    try:
        tensors = from_bytes(data)
    except (SafetensorError, ValueError) as error:
        raise _broken(path, error) from None
    if misfit := _misfit(network.state_dict(), tensors):
        raise _broken(path, f"does not fit config.json: {misfit}")
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    for key, tensor in tensors.items():
        if not tensor.sum().isfinite():  # ten times as fast as to ask each number
            raise _broken(path, f"{key} holds numbers that are not finite")
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def is_recorded(folder: str | Path, name: str, data: bytes) -> bool:
    """Whether these bytes are what `config.json` records of `<name>.safetensors`; also if it records nothing."""
    recorded = read_config(folder).get("sha256", {}).get(name)
    return recorded is None or recorded == sha256(data).hexdigest()


def _misfit(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> str | None:
    """The first way in which tensors differ from a network's own in name, shape or kind of number."""
    if wanted.keys() != found.keys():
        [name, *_] = wanted.keys() ^ found.keys()
        return f"{name[:80]!r} is {'missing' if name in wanted else 'too many'}"
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            return f"{name} has the shape {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
        allowed = FLOATS if wanted[name].is_floating_point() else (wanted[name].dtype,)
        if tensor.dtype not in allowed:
            return f"{name} is of {str(tensor.dtype).removeprefix('torch.')}"
    return None


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value <= LARGEST_SIZE


def _broken(path: Path, reason: object) -> InputError:
    if isinstance(reason, OSError):
        reason = "is missing" if isinstance(reason, FileNotFoundError) else reason.strerror
    return InputError(f"{path}: {str(reason).partition(chr(10))[0]}; {MEND}")
