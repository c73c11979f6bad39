"""MS-COCO's own layout: `annotations/captions_<folder>.json` beside the folders of images."""

import json

from ..errors import InputError
from .files import Files

FETCH_ANEW = "fetch it anew"
FOLDER_SPLITS = {"train2014": "train", "val2014": "test", "train2017": "train", "val2017": "test"}


def read_records(files: Files) -> list[dict]:
    """Name, captions and split of each picture in `captions_*.json`; an empty list if there is no such file.

    Captions of a folder that is not there are left out. `InputError` names the file, or the image id, that is wrong.
    """
    path, present = files.path, {name.partition("/")[0] for name in files.entries}
    records, folders = [], [folder for folder in FOLDER_SPLITS if folder in present]
    if len({folder[-4:] for folder in folders}) > 1:
        raise InputError(f"{path}: holds {', '.join(folders)}, of which the years share pictures: leave one year")
    for folder in folders:
        where = f"{path}/annotations/captions_{folder}.json"
        try:
            content = json.loads(files.read(files.find(f"annotations/captions_{folder}.json")))
        except FileNotFoundError:
            continue
        except ValueError as error:
            raise InputError(f"{where}: is not JSON ({error}): {FETCH_ANEW}") from None
        try:
            captions: dict[int, list[str]] = {image["id"]: [] for image in content["images"]}
            for annotation in content["annotations"]:
                if annotation["caption"].strip():
                    captions[annotation["image_id"]].append(" ".join(annotation["caption"].split()))
            names = {image["id"]: f"{folder}/{image['file_name']}" for image in content["images"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{where}: is not what MS-COCO's captions look like ({error!r}): {FETCH_ANEW}") from None
        for image_id, name in names.items():
            record = {"captions": captions[image_id], "split": FOLDER_SPLITS[folder]}
            record["where"] = f"{where}, image {image_id}"
            if not captions[image_id]:
                raise InputError(f"{record['where']}: has no caption: write one, or leave the picture out")
            try:
                record["file_name"] = files.find(name)
            except FileNotFoundError:
                raise InputError(f"{record['where']}: {name} is missing: bring it, or leave its entry out") from None
            records.append(record)
    return records
