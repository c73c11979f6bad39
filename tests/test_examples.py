"""The scripts of `examples/` as a reader runs them."""

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    "script, arguments, written",
    [
        ("sheet.py", [], {"sheet.png": (8 * 64, 6 * 64)}),
        ("restyle.py", ["photo.png", "a red flower", "a blue one"], {f"restyled-{i}.png": (64, 64) for i in (1, 2)}),
        ("morph.py", ["a red flower", "a blue flower"], {"morph.gif": (64, 64)}),
    ],
)
def test_an_example_writes_its_pictures(script, arguments, written, model, use_models, tmp_path, monkeypatch):
    use_models({"flowers": model})
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (90, 70), "green").save("photo.png")
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(str(EXAMPLES / script))
    assert {path.name: Image.open(path).size for path in tmp_path.iterdir() if path.name != "photo.png"} == written
