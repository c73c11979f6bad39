"""The classifier that is trained on photos alone: small here, and of colours that it can learn in seconds."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from t2i.data import imagefolder
from t2i.evaluation import classifier
from t2i.evaluation.classifier import Classifier, trained_on


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Twenty squares of each of three colours, two of the colours in the training split."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(classifier, "CHANNELS", (4, 6, 8, 10))
    monkeypatch.setattr(classifier, "EPOCHS", 6)
    monkeypatch.setattr(classifier, "BATCH", 8)
    folder, random, lines = tmp_path / "squares", np.random.default_rng(0), []
    folder.mkdir()
    for number in range(3):
        for i in range(20):
            pixels = random.integers(0, 60, (24, 24, 3)) + 180 * np.eye(3)[number]
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}-{i}.png")
            record = {"file_name": f"{number}-{i}.png", "captions": ["a square"], "class_id": 7 * number}
            lines.append(record | {"split": "train" if number < 2 else "test"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_it_learns_all_classes_and_says_how_well_on_photos_held_out(data):
    trained = trained_on(str(data))
    photos = imagefolder.read(data, 64)
    assert len(trained.held_out) == 9 and trained.accuracy == 1  # 15 % of 20 of each class
    assert (photos.classes[trained.held_out] == np.repeat([0, 7, 14], 3)).all()
    features, classes = trained.see(photos.images)
    assert features.shape == (60, 10) and (classes.numpy() == photos.classes).mean() > 0.9
    _, others = trained.see(photos.images, torch.tensor([7, 14]))
    assert others.unique().tolist() == [7, 14] and torch.equal(others[20:], classes[20:])
    assert features.square().mean().sqrt() == pytest.approx(1, abs=0.2)


def test_it_is_trained_once_and_alike_by_a_seed(data, tmp_path, monkeypatch):
    first, trained, learn = trained_on(str(data)), [], classifier._train
    monkeypatch.setattr(classifier, "_train", lambda *rest: trained.append(1) or learn(*rest))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = trained_on(str(data))
    assert not trained and again.accuracy == first.accuracy and torch.equal(again.held_out, first.held_out)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    anew = trained_on(str(data))
    other = trained_on(str(data), seed=1)
    assert len(trained) == 2 and torch.equal(torch.get_rng_state(), before)
    one, two, three = (t.network.classify.weight for t in (first, anew, other))
    assert torch.allclose(one, two, atol=1e-3) and not torch.allclose(one, three, atol=1e-3)


def test_other_pixels_are_another_data_set(data, monkeypatch):
    trained_on(str(data))
    trained, learn = [], classifier._train
    monkeypatch.setattr(classifier, "_train", lambda *rest: trained.append(1) or learn(*rest))
    Image.new("RGB", (24, 24)).save(data / "0-0.png")
    trained_on(str(data))
    assert trained


def test_the_network_halves_and_doubles():
    network = Classifier(5).eval()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 5) and network.look(torch.zeros(2, 3, 64, 64)).shape == (
        2,
        256,
    )
    assert sum(p.numel() for p in network.parameters()) < 3e6
