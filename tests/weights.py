"""A folder of models as `weights/` is one, in which tests put small models in the place of the registered ones."""

import shutil
from pathlib import Path

from t2i import registry

WEIGHTS = registry.WEIGHTS  # of the repository


def weights_folder(folder: Path, models: dict[str, Path | None]) -> Path:
    """The registered models with these in the place of some; None: its weights are missing."""
    folder.mkdir(parents=True)
    for name in dict.fromkeys([*registry.MODELS, *models]):
        source = models.get(name, WEIGHTS / name)
        described = WEIGHTS / name / "model.json"
        if source is None:
            (folder / name).mkdir()
            shutil.copy(described, folder / name)
            continue
        if described.exists() and not (source / "model.json").exists():
            shutil.copy(described, source)
        (folder / name).symlink_to(source.resolve())
    return folder
