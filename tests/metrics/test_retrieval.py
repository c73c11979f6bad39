import pytest
import torch

from t2i.metrics.retrieval import caption_retrieval, retrieval


def test_perfect_embeddings_score_1_and_reversed_ones_0():
    images, classes = torch.eye(2).repeat_interleave(3, 0), torch.tensor([5, 5, 5, 9, 9, 9])
    texts, owners = torch.eye(2), torch.tensor([5, 9])
    assert retrieval(images, classes, texts, owners) == (1.0, 1.0)
    assert retrieval(images, classes, -texts, owners) == (0.0, 0.0)


def test_accuracy_is_averaged_over_classes_not_images():
    """Class 1 has three pictures, all correct; class 2 has one, wrong: ½, not ¾."""
    images = torch.tensor([[1.0, 0.0]] * 4)
    top1, ap50 = retrieval(images, torch.tensor([1, 1, 1, 2]), torch.eye(2), torch.tensor([1, 2]))
    assert top1 == pytest.approx(0.5) and 0 < ap50 <= 1


def test_ap50_counts_at_most_fifty_images():
    images = torch.cat([torch.full((60, 1), 2.0), torch.full((60, 1), 1.0)])
    classes = torch.tensor([1] * 60 + [2] * 60)
    _, ap50 = retrieval(images, classes, torch.ones(2, 1), torch.tensor([1, 2]))
    assert ap50 == pytest.approx(0.5)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_any_block_size_gives_the_values_of_the_definition(block, monkeypatch):
    """Classes of 1 to 6 pictures, computed by the definition, one class after the other."""
    monkeypatch.setattr("t2i.metrics.retrieval.BLOCK_SIZE", block)
    g = torch.Generator().manual_seed(0)
    classes = torch.cat([torch.arange(6), torch.randint(6, (15,), generator=g)])[torch.randperm(21, generator=g)] * 3
    owners = classes.repeat_interleave(2)
    texts, images = torch.randn(42, 8, generator=g) + owners[:, None].sin(), torch.randn(21, 8, generator=g)
    means = {c: texts[owners == c].mean(0, keepdim=True) for c in sorted(set(classes.tolist()))}
    cosines = {c: torch.cosine_similarity(images, mean) for c, mean in means.items()}
    chosen = torch.tensor(list(cosines))[torch.stack(list(cosines.values())).argmax(0)]
    top1 = [(chosen[classes == c] == c).float().mean() for c in cosines]
    ranked = {c: classes[row.argsort(descending=True)] for c, row in cosines.items()}
    ap50 = [(ranked[c][: (classes == c).sum()] == c).float().mean() for c in cosines]
    assert 0 < sum(top1) < 6 and 0 < sum(ap50) < 6
    assert retrieval(images, classes, texts, owners) == pytest.approx((float(sum(top1)) / 6, float(sum(ap50)) / 6))


def test_memory_stays_small_with_many_classes_of_one_picture(monkeypatch):
    """As in MS-COCO: there must be no table of all pictures by all classes."""
    monkeypatch.setattr("t2i.metrics.retrieval.BLOCK_SIZE", 16)
    row_counts, multiply = [], torch.Tensor.__matmul__

    def record_rows(a, b):
        product = multiply(a, b)
        row_counts.append(len(product))
        return product

    monkeypatch.setattr(torch.Tensor, "__matmul__", record_rows)
    images = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    assert retrieval(images, torch.arange(200), images, torch.arange(200)) == (1.0, 1.0)
    assert max(row_counts) == 16 and len(row_counts) == 2 * 13


def test_centring_removes_what_all_embeddings_share():
    common, classes = torch.tensor([0.0, 9.0]), torch.tensor([1, 1, 2, 2])
    images = torch.eye(2).repeat_interleave(2, 0) + common
    texts, counts = torch.eye(2).repeat_interleave(torch.tensor([3, 5]), 0), [1, 2, 2, 3]
    training = torch.full((3, 2), 0.5) + common, torch.full((7, 2), 0.5)
    assert caption_retrieval(images, classes, texts, counts).keys() == {"top1", "ap50"}
    scores = caption_retrieval(images, classes, texts, counts, training)
    assert scores["top1"] < 1 and (scores["top1_centred"], scores["ap50_centred"]) == (1, 1)
