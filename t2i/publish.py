"""To the Hub: what of a checkpoint, or of this repository as a Space, is sent, and the card that goes with it."""

import json
import re
from functools import reduce
from pathlib import Path

from huggingface_hub import CommitOperationAdd, EvalResult, HfApi, ModelCard

from . import registry, store
from .errors import InputError
from .hub import in_words
from .studio import DRAWING_ROLES, PHOTO_ROLES

ROOT = registry.WEIGHTS.parent
# What the app imports and shows, and nothing of tests, trainings, evaluation and runs.
SPACE = (
    "README.md",
    "LICENSE",
    "SECURITY.md",
    "app.py",
    "requirements.txt",
    "t2i/*.py",
    "t2i/engine/*.py",
    "t2i/media/*.py",
    "t2i/models/*.py",
    "t2i/web/*.py",
    "t2i/web/tabs/*.py",
    "t2i/web/static/*.*",
)
WEIGHTS = ("config.json", "*.safetensors")
PAGE_FILES = ("config.json", "evaluation.json", "README.md")  # what the page says about a model
MODEL = (*WEIGHTS, *(f"judge/{pattern}" for pattern in WEIGHTS), "evaluation.json", "*.png", "*.webp")
CARD = ("license", "tags", "datasets", "pipeline_tag")  # what a card's front matter must say
FRONT = "a block between two lines of --- that says " + ", ".join(CARD)

# Where evaluation.json holds what the card's model-index tells: path, its type and its name.
FIGURES = (
    ("retrieval.top1", "accuracy", "Zero-shot retrieval, top-1, cosine"),
    ("retrieval.ap50", "ap50", "Zero-shot retrieval, AP@50, cosine"),
    ("fidelity.pictures.kid", "kid", "KID in EfficientNet-lite0 features of 64×64 pictures"),
    ("scratch.pictures.kid", "kid-from-scratch", "KID of 64×64 pictures, by a classifier from scratch"),
    ("scratch.pictures.class", "class-accuracy", "Pictures that this classifier gives to their species"),
    ("fidelity.pictures.frechet", "frechet", "Fréchet distance in EfficientNet-lite0 features of 64×64 pictures"),
    ("agreement.pictures.r_precision", "r-precision", "R-precision among 100 captions, by a judge of another seed"),
)


def model_files(folder: str | Path) -> dict[str, Path | bytes]:
    """What is sent of a checkpoint, by path in the repository: the card, whose figures are put in, and the files.

    `InputError` if the weights are not those that `config.json` records, or the card lacks what it must say.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a registered model lies in weights/")
    for place in (folder, folder / "judge"):
        if place.is_dir():
            _check_weights(place)
    found = sorted({path for pattern in MODEL for path in folder.glob(pattern)})
    return {"README.md": card(folder)} | {path.relative_to(folder).as_posix(): path for path in found}


def space_files(root: Path = ROOT) -> dict[str, Path | bytes]:
    """What a Space needs of this repository, by path: the app, the models that the Hub does not have, and pictures."""
    found = {path for pattern in SPACE for path in root.glob(pattern)}
    for spec in registry.MODELS.values():
        folder = root / "weights" / spec.name
        found.add(folder / "model.json")
        if spec.hub_id is None:
            found |= {folder / name for name in PAGE_FILES}
            found |= {folder / f"{role}.safetensors" for role in (*DRAWING_ROLES, *PHOTO_ROLES)}
    found |= {root / name for name in re.findall(r"!\[[^]]*\]\(([\w./-]+)\)", (root / "README.md").read_text("utf-8"))}
    return {path.relative_to(root).as_posix(): path for path in sorted(found) if path.is_file()}


def send(files: dict[str, Path | bytes], hub_id: str, space: bool = False) -> str:
    """Send files in one commit to a repository, which is made if there is none; returns the commit's address."""
    kind = {"repo_type": "space", "space_sdk": "gradio"} if space else {"repo_type": "model"}
    operations = [CommitOperationAdd(name, data) for name, data in files.items()]
    api = HfApi()
    try:
        api.create_repo(hub_id, exist_ok=True, **kind)
        told = {"repo_type": kind["repo_type"], "commit_message": "Published by python -m t2i publish"}
        return api.create_commit(hub_id, operations, **told).commit_url
    except Exception as error:  # the Hub's client has no common base for what it raises
        raise InputError(f"{hub_id}: {in_words(error)}") from None


def listed(files: dict[str, Path | bytes]) -> str:
    """The files and their bytes, a line each, and all together."""
    sizes = {name: len(data) if isinstance(data, bytes) else data.stat().st_size for name, data in files.items()}
    sizes[f"{len(sizes)} files"] = sum(sizes.values())
    return "\n".join(f"{size:>12,}  {name}" for name, size in sizes.items())


def card(folder: Path) -> bytes:
    """The folder's README.md, with the figures of its evaluation.json as a model-index, without links that leave it."""
    path = folder / "README.md"
    try:
        made = ModelCard(re.sub(r"\[([^][]*)\]\(\.\./[^)]*\)", r"\1", path.read_text("utf-8")))
    except FileNotFoundError:
        raise InputError(f"{path}: is missing: a model is published with its card, which begins with {FRONT}") from None
    except Exception:  # of the reader of YAML
        raise InputError(f"{path}: its front matter cannot be read") from None
    if missing := [name for name in CARD if not made.data.get(name)]:
        raise InputError(f"{path}: its front matter must say {', '.join(missing)}")
    measured = folder / "evaluation.json"
    if measured.exists():
        datasets = made.data.datasets
        made.data.model_name = folder.name
        made.data.eval_results = _results(measured, datasets if isinstance(datasets, str) else datasets[0])
    return str(made).encode()


def _results(measured: Path, dataset: str) -> list[EvalResult]:
    """The figures of an evaluation.json; `InputError` if it is torn or not what `evaluate` writes."""
    told = {"task_type": "text-to-image", "dataset_type": dataset, "dataset_name": dataset, "dataset_split": "test"}
    results = []
    try:
        figures = json.loads(measured.read_text("utf-8"))
        for place, kind, name in FIGURES:
            value = reduce(lambda of, part: of.get(part, {}), place.split("."), figures)
            if value != {}:  # nor left out by evaluate
                results.append(EvalResult(**told, metric_type=kind, metric_name=name, metric_value=round(value, 4)))
    except (ValueError, RecursionError, AttributeError, TypeError):
        raise InputError(f"{measured}: is not what `evaluate --json` writes; measure again, or remove it") from None
    return results


def _check_weights(folder: Path) -> None:
    config = store.read_config(folder)
    for path in sorted(folder.glob("*.safetensors")):
        if path.stem not in config.get("sha256", {}):
            raise InputError(f"{path}: config.json records no SHA-256 of it; train it again")
        if not store.has_recorded_hash(config, path.stem, path.read_bytes()):
            raise InputError(f"{path}: is not the file whose SHA-256 config.json records")
