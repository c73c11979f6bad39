import pytest
import torch

from t2i.evaluation.retrieval import retrieval


def test_perfect_and_reversed_embeddings():
    images, classes = torch.eye(2).repeat_interleave(3, 0), torch.tensor([5, 5, 5, 9, 9, 9])
    texts, owners = torch.eye(2), torch.tensor([5, 9])
    assert retrieval(images, classes, texts, owners) == (1.0, 1.0)
    assert retrieval(images, classes, -texts, owners) == (0.0, 0.0)


def test_figures_are_averaged_over_classes_not_images():
    """Class 1 has three pictures, all found; class 2 has one, missed: ½, not ¾."""
    images = torch.tensor([[1.0, 0.0]] * 4)
    top1, ap50 = retrieval(images, torch.tensor([1, 1, 1, 2]), torch.eye(2), torch.tensor([1, 2]))
    assert top1 == pytest.approx(0.5) and 0 < ap50 <= 1


def test_ap_counts_at_most_fifty():
    images = torch.cat([torch.full((60, 1), 2.0), torch.full((60, 1), 1.0)])
    classes = torch.tensor([1] * 60 + [2] * 60)
    _, ap50 = retrieval(images, classes, torch.ones(2, 1), torch.tensor([1, 2]))
    assert ap50 == pytest.approx(0.5)
