"""A small data set: plain squares of four colours, each with captions that name the colour."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 60, 220), "white": (240, 240, 240)}


def write_dataset(folder: Path, each: int = 8) -> Path:
    """A folder in the imagefolder convention; the last class is the test split."""
    folder.mkdir(parents=True, exist_ok=True)
    noise, lines = np.random.default_rng(0), []
    for number, (name, colour) in enumerate(COLOURS.items(), 1):
        for i in range(each):
            pixels = np.clip(np.array(colour) + noise.integers(-25, 25, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}-{i}.png")
            record = {"file_name": f"{name}-{i}.png", "captions": [f"a {name} square", f"this is {name}, all of it"]}
            record |= {"class_id": number, "class_name": name, "split": "test" if name == "white" else "train"}
            lines.append(json.dumps(record))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def dataset(tmp_path) -> Path:
    return write_dataset(tmp_path / "squares")
