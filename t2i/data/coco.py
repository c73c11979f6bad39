"""MS-COCO's own layout: `annotations/captions_<folder>.json` beside the folders of images."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from ..errors import InputError

COCO = {"train2014": "train", "val2014": "test", "train2017": "train", "val2017": "test"}


def records(path: Path, opener: Callable[[str], bytes]) -> list[dict]:
    """What `captions_*.json` say of the pictures that are there; none if there is no such file."""
    records, here = [], [folder for folder in COCO if _holds(path, folder)]
    if len({folder[-4:] for folder in here}) > 1:
        raise InputError(f"{path}: holds {', '.join(here)}, of which the years share pictures: leave one year")
    for folder in here:
        try:
            told = json.loads(opener(f"annotations/captions_{folder}.json"))
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise InputError(f"{path}/annotations/captions_{folder}.json: is not JSON ({error})") from None
        try:
            captions = {image["id"]: [] for image in told["images"]}
            for annotation in told["annotations"]:
                if annotation["caption"].strip():
                    captions[annotation["image_id"]].append(" ".join(annotation["caption"].split()))
            names = {image["id"]: f"{folder}/{image['file_name']}" for image in told["images"]}
        except (KeyError, TypeError, AttributeError) as error:
            where = f"{path}/annotations/captions_{folder}.json"
            raise InputError(f"{where}: is not what MS-COCO's captions look like ({error!r})") from None
        for number, name in names.items():
            where = f"{path}/annotations/captions_{folder}.json, image {number}"
            if not captions[number]:
                raise InputError(f"{where}: has no caption")
            records.append({"file_name": name, "captions": captions[number], "split": COCO[folder], "where": where})
    return records


def _holds(path: Path, folder: str) -> bool:
    if path.is_dir():
        return (path / folder).is_dir()
    return any(name.startswith(f"{folder}/") for name in zipfile.ZipFile(path).namelist())
