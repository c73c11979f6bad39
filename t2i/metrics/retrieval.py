"""Zero-shot caption-based retrieval (arXiv 1605.05395, section 4): are unseen classes found by their captions?"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

BLOCK_SIZE = 256  # rows compared at a time, which bounds the memory if each picture is a class of its own


def retrieval(images: Tensor, classes: Tensor, texts: Tensor, text_classes: Tensor) -> tuple[float, float]:
    """Top-1 accuracy and AP@50, both 0…1 and averaged over classes.

    `images` (N, E) with `classes` (N,); `texts` (M, E), one row a caption, with `text_classes` (M,). Every class has
    both. A class is the mean of its captions; compatibility is the cosine. Top-1: each image goes to the class of
    highest compatibility. AP@50: the share of the 50 best images that belong to the class (if the class has fewer
    than 50 images, of as many as it has).
    """
    class_ids, text_labels = text_classes.unique(return_inverse=True)
    _, labels, counts = classes.unique(return_inverse=True, return_counts=True)
    sums = texts.new_zeros(len(class_ids), texts.shape[1]).index_add(0, text_labels, texts)
    images, prototypes = normalize(images), normalize(sums)  # a sum has the direction of the mean
    predictions = torch.cat([(block @ prototypes.T).argmax(1) for block in images.split(BLOCK_SIZE)])
    top1 = images.new_zeros(len(class_ids)).index_add(0, labels, (predictions == labels).float()) / counts
    ranks, k = counts.clamp(max=50), min(50, int(counts.max()))
    best = torch.cat([(block @ images.T).topk(k).indices for block in prototypes.split(BLOCK_SIZE)])
    hits = (labels[best] == torch.arange(len(class_ids))[:, None]) & (torch.arange(k) < ranks[:, None])
    return float(top1.mean()), float((hits.sum(1) / ranks).mean())


def caption_retrieval(
    images: Tensor, classes: Tensor, texts: Tensor, counts: list[int], training: tuple[Tensor, Tensor] | None = None
) -> dict[str, float]:
    """`retrieval` by all captions (M, E) of the images (N, E), of which each has `counts`.

    `training`: embeddings of images and of captions of the training split. If they are given, the result also has
    the figures of centred embeddings, from which the means of the training split are subtracted: the part that all
    embeddings share lets a few classes attract every picture.
    """
    text_classes, result = classes.repeat_interleave(torch.tensor(counts)), {}
    result["top1"], result["ap50"] = retrieval(images, classes, texts, text_classes)
    if training:
        images, texts = (x - known.mean(0) for x, known in zip((images, texts), training))
        result["top1_centred"], result["ap50_centred"] = retrieval(images, classes, texts, text_classes)
    return result
