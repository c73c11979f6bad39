"""Upload to the Hugging Face Hub: a checkpoint with its model card, or this repository as a Space."""

import json
import re
from pathlib import Path

from huggingface_hub import CommitOperationAdd, EvalResult, HfApi, ModelCard

from . import registry, store
from .errors import InputError
from .hub import describe_error
from .metrics.table import METRICS, find_value
from .studio import DRAWING_ROLES, PHOTO_ROLES

ROOT = Path(__file__).resolve().parent.parent
# What the app imports and shows; no tests, training or evaluation.
SPACE_PATTERNS = (
    "README.md",
    "LICENSE",
    "SECURITY.md",
    "app.py",
    "requirements.txt",
    "t2i/*.py",
    "t2i/engine/*.py",
    "t2i/media/*.py",
    "t2i/metrics/__init__.py",
    "t2i/metrics/table.py",
    "t2i/models/*.py",
    "t2i/web/*.py",
    "t2i/web/tabs/*.py",
    "t2i/web/runtime/*",
    "t2i/web/static/*.*",
)
CHECKPOINT_PATTERNS = ("config.json", "*.safetensors")
PAGE_FILES = ("model.json", "evaluation.json", "README.md")  # of each model, what the page shows
MODEL_PATTERNS = (
    *CHECKPOINT_PATTERNS,
    *(f"judge/{pattern}" for pattern in CHECKPOINT_PATTERNS),
    "evaluation.json",
    "*.png",
    "*.webp",
)
REQUIRED_CARD_FIELDS = ("license", "tags", "datasets", "pipeline_tag")  # in the front matter
SPACE_FILE_URL = "https://huggingface.co/spaces/{hub_id}/resolve/main/{path}"
INDEX_ADDRESS = re.compile(r"https://[\w.-]+(:\d+)?(/[\w.~%+-]+)*/?")  # no credentials: a Space's files are public
FRONT_MATTER = "a block between two lines of --- with " + ", ".join(REQUIRED_CARD_FIELDS)


def model_files(folder: str | Path) -> dict[str, Path | bytes]:
    """The files of a checkpoint to upload, by their path in the repository; the card has its metrics added.

    `InputError` if a weights file does not have the SHA-256 in `config.json`, or the card lacks a required field.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; registered models are in weights/")
    for checkpoint in (folder, folder / "judge"):
        if checkpoint.is_dir() and (mismatched := store.mismatched_files(checkpoint)):
            raise InputError(f"{mismatched[0]}: is not the file whose SHA-256 config.json records")
    paths = sorted({path for pattern in MODEL_PATTERNS for path in folder.glob(pattern)})
    return {"README.md": model_card(folder)} | {path.relative_to(folder).as_posix(): path for path in paths}


def space_files(hub_id: str, root: Path = ROOT, pip_index: str | None = None) -> dict[str, Path | bytes]:
    """The files of the Space `hub_id`, by path: the app, the models that are not on the Hub, and the README's pictures.

    The README's front matter names its `thumbnail` by path; the Space's by address, as the Hub wants it. `pip_index`:
    the https address of a package index that has PyTorch without CUDA, which the Space then installs. `InputError` if
    it is no such address.
    """
    paths = {path for pattern in SPACE_PATTERNS for path in root.glob(pattern)}
    for spec in registry.MODELS.values():
        folder = root / "weights" / spec.name
        paths |= {folder / name for name in PAGE_FILES}
        if spec.hub_id is None:
            paths.add(folder / "config.json")
            paths |= {folder / f"{role}.safetensors" for role in (*DRAWING_ROLES, *PHOTO_ROLES)}
    readme = (root / "README.md").read_text("utf-8")
    pictures = re.findall(r"!\[[^]]*\]\(([\w./-]+)\)", readme)
    thumbnail = re.search(r"^thumbnail: (.+)$", readme, re.M)
    if thumbnail:
        pictures.append(thumbnail[1])
        readme = readme.replace(thumbnail[0], f"thumbnail: {SPACE_FILE_URL.format(hub_id=hub_id, path=thumbnail[1])}")
    paths |= {root / name for name in pictures}
    files: dict[str, Path | bytes] = {
        path.relative_to(root).as_posix(): path for path in sorted(paths) if path.is_file()
    }
    files["README.md"] = readme.encode()
    if pip_index is not None:
        files["requirements.txt"] = _requirements_without_cuda(root / "requirements.txt", pip_index)
    return files


def is_without_gpu(files: dict[str, Path | bytes]) -> bool:
    """Whether the README of a Space suggests hardware that has no GPU, where CUDA is of no use."""
    readme = files["README.md"]
    return isinstance(readme, bytes) and re.search(rb"^suggested_hardware: cpu-", readme, re.M) is not None


def _requirements_without_cuda(path: Path, pip_index: str) -> bytes:
    if not INDEX_ADDRESS.fullmatch(pip_index):
        raise InputError(f"--pip-index must be an address such as https://example.org/cpu, not {pip_index!r}")
    requirements = re.sub(r"^(torch==[\w.]+)$", r"\1+cpu", path.read_text("utf-8"), flags=re.M)
    return f"--extra-index-url {pip_index}\n{requirements}".encode()


def upload(files: dict[str, Path | bytes], hub_id: str, space: bool = False) -> str:
    """Upload files in one commit to a repository, which is created if necessary; returns the commit's URL."""
    kind = "space" if space else "model"
    operations = [CommitOperationAdd(name, data) for name, data in files.items()]
    api = HfApi()
    try:
        api.create_repo(hub_id, exist_ok=True, repo_type=kind, space_sdk="gradio" if space else None)
        message = "Published by python -m t2i publish"
        commit = api.create_commit(hub_id, operations, commit_message=message, repo_type=kind)
        return commit.commit_url
    except Exception as error:  # the Hub's client has no common base class for its errors
        raise InputError(f"{hub_id}: {describe_error(error)}") from None


def list_files(files: dict[str, Path | bytes]) -> str:
    """One line for each file with its size in bytes, and one for the total."""
    sizes = {name: len(data) if isinstance(data, bytes) else data.stat().st_size for name, data in files.items()}
    sizes[f"{len(sizes)} files"] = sum(sizes.values())
    return "\n".join(f"{size:>12,}  {name}" for name, size in sizes.items())


def model_card(folder: Path) -> bytes:
    """The folder's README.md with a model-index of the metrics in evaluation.json, without links out of the folder."""
    path = folder / "README.md"
    try:
        card = ModelCard(re.sub(r"\[([^][]*)\]\(\.\./[^)]*\)", r"\1", path.read_text("utf-8")))
    except FileNotFoundError:
        raise InputError(f"{path}: is missing: publishing needs a model card that begins with {FRONT_MATTER}") from None
    except Exception:  # of the YAML parser
        raise InputError(f"{path}: its front matter cannot be read") from None
    if missing := [name for name in REQUIRED_CARD_FIELDS if not card.data.get(name)]:
        raise InputError(f"{path}: its front matter must have {', '.join(missing)}")
    evaluation = folder / "evaluation.json"
    if evaluation.exists():
        datasets = card.data.get("datasets")
        card.data["model_name"] = folder.name
        card.data["eval_results"] = _eval_results(evaluation, datasets if isinstance(datasets, str) else datasets[0])
    return str(card).encode()


def _eval_results(path: Path, dataset: str) -> list[EvalResult]:
    """The metrics in an evaluation.json; `InputError` if it is not what `evaluate` writes."""
    results = []
    try:
        evaluation = json.loads(path.read_text("utf-8"))
        for metric in filter(lambda metric: metric.hub_type, METRICS):
            value = find_value(evaluation, metric.path)
            if value is not None:  # `evaluate` leaves out what it cannot measure
                result = EvalResult(
                    task_type="text-to-image",
                    dataset_type=dataset,
                    dataset_name=dataset,
                    dataset_split="test",
                    metric_type=metric.hub_type,
                    metric_name=metric.hub_name,
                    metric_value=round(value, 4),
                )
                results.append(result)
    except (ValueError, RecursionError, TypeError):
        raise InputError(f"{path}: is not what `evaluate --json` writes; measure again, or remove it") from None
    return results
