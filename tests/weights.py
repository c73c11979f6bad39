"""A folder of models like `weights/`, in which small models replace registered ones."""

import shutil
from collections.abc import Collection
from pathlib import Path

from t2i import registry

WEIGHTS = registry.WEIGHTS  # of the repository


def has_weights(name: str) -> bool:
    """Whether the weights of a registered model are here."""
    return (registry.WEIGHTS / name / "config.json").is_file()


def unnamed_comparisons(names: Collection[str]) -> set[str]:
    """The registered models of the objectives that are not among these names; tests that compare name theirs."""
    return {name for name, spec in registry.MODELS.items() if spec.objective and name not in names}


def weights_folder(folder: Path, models: dict[str, Path | None]) -> Path:
    """Fill a folder with links to the registered models, but for these names to these models; None: without weights.

    Models of the objectives are left out unless they are named.
    """
    folder.mkdir(parents=True)
    left_out = unnamed_comparisons(models)
    for name in dict.fromkeys([*registry.MODELS, *models]):
        if name in left_out:
            continue
        source = models.get(name, WEIGHTS / name)
        description = WEIGHTS / name / "model.json"
        if source is None:
            (folder / name).mkdir()
            shutil.copy(description, folder / name)
            continue
        if description.exists() and not (source / "model.json").exists():
            shutil.copy(description, source)
        (folder / name).symlink_to(source.resolve())
    return folder
