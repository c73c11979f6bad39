"""The classifier trained from scratch: a small one, on colours that it can learn in seconds."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from t2i.data import imagefolder
from t2i.evaluation import classifier
from t2i.evaluation.classifier import Classifier, load_or_train


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Twenty squares of each of three colours, two of the colours in the training split."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(classifier, "CHANNELS", (4, 6, 8, 10))
    monkeypatch.setattr(classifier, "EPOCHS", 6)
    monkeypatch.setattr(classifier, "BATCH_SIZE", 8)
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


def count_trainings(monkeypatch) -> list:
    """A list that gets an entry whenever a classifier is trained."""
    trainings, train = [], classifier._train
    monkeypatch.setattr(classifier, "_train", lambda *arguments: trainings.append(1) or train(*arguments))
    return trainings


def test_it_learns_all_classes_and_reports_its_accuracy_on_held_out_photos(data):
    trained = load_or_train(str(data))
    photos = imagefolder.read(data, 64)
    assert len(trained.held_out) == 9 and trained.accuracy == 1  # 15 % of 20 of each class
    assert (photos.classes[trained.held_out] == np.repeat([0, 7, 14], 3)).all()
    features, classes = trained.predict(photos.images)
    assert features.shape == (60, 10) and (classes.numpy() == photos.classes).mean() > 0.9
    _, restricted = trained.predict(photos.images, torch.tensor([7, 14]))
    assert restricted.unique().tolist() == [7, 14] and torch.equal(restricted[20:], classes[20:])
    assert features.square().mean().sqrt() == pytest.approx(1, abs=0.2)


def test_it_is_trained_once_and_equally_for_the_same_seed(data, tmp_path, monkeypatch):
    first, trainings = load_or_train(str(data)), count_trainings(monkeypatch)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    cached = load_or_train(str(data))
    assert not trainings and cached.accuracy == first.accuracy and torch.equal(cached.held_out, first.held_out)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    repeated = load_or_train(str(data))
    other_seed = load_or_train(str(data), seed=1)
    assert len(trainings) == 2 and torch.equal(torch.get_rng_state(), before)
    a, b, c = (trained.network.head.weight for trained in (first, repeated, other_seed))
    assert torch.allclose(a, b, atol=1e-3) and not torch.allclose(a, c, atol=1e-3)


def test_it_is_trained_again_for_other_pixels(data, monkeypatch):
    load_or_train(str(data))
    trainings = count_trainings(monkeypatch)
    Image.new("RGB", (24, 24)).save(data / "0-0.png")
    load_or_train(str(data))
    assert trainings


def test_the_network_returns_logits_and_256_features():
    network, x = Classifier(5).eval(), torch.zeros(2, 3, 64, 64)
    assert network(x).shape == (2, 5) and network.features(x).shape == (2, 256)
    assert sum(p.numel() for p in network.parameters()) < 3e6
