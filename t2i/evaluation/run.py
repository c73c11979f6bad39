"""`evaluate`: every metric of a model on the zero-shot test split of a data set."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .. import store
from ..data import features, imagefolder
from ..data.augment import VIEW_SIZE, to_view
from ..data.features import VIEWS
from ..device import best_device, computes_bfloat16, hardware
from ..engine.engine import Engine
from ..engine.mixing import mix
from ..errors import InputError
from ..locate import Checkpoint
from ..metrics import disentangling, quality
from ..metrics.retrieval import caption_retrieval
from ..models import TextEncoder, encode
from ..models.text_encoder import embed
from . import classifier

MAX_PICTURES = 1155  # of the test split, evenly spaced; retrieval takes all photos
RETRIEVAL_PHOTO_SIZE = 144  # pixels along a side, unless the text encoder was trained with another size
MAX_CENTRING_PHOTOS = 1000  # training photos whose mean centres the embeddings in retrieval
DIVERSITY_CAPTIONS, DIVERSITY_SEEDS = 32, 16
HALFWAY_PAIRS, HALFWAY_SEEDS = 256, 4  # pairs of captions, and seeds of each
SAME_CLASS_CAPTIONS = 10  # that a picture's own caption is one of
LOW_DIVERSITY = 0.5  # seeds hardly differ if their feature distance is below this share of that of photos
MAX_RECONSTRUCTIONS = 256


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measures: a model, on the test split of a data set, with the help of a judge."""

    model: str
    data: str
    judge: str = ""  # a text encoder trained with another seed; if empty, the one in the model's folder `judge`
    seed: int = 0


class _Inputs:
    """What all metrics share: the model, the test split, and a picture for the first caption of each test photo.

    `photos` and `pictures` are (N, 64, 64, 3); `full_size` are the same pictures at the model's own size.
    """

    def __init__(self, config: Evaluation):
        self.config, self.checkpoint = config, Checkpoint(config.model)
        optional = [n for n in ("discriminator", "style_encoder", "image_encoder") if self.checkpoint.has(n)]
        self.networks = self.checkpoint.read("text_encoder", "generator", *optional)
        self.engine = Engine(self.networks, num_attributes=len(self.checkpoint.attributes))
        self.dataset = imagefolder.read(config.data, VIEW_SIZE)
        self.rows = _evenly_spaced(self.dataset.test_rows(min_count=4), MAX_PICTURES)
        # Distances compare pictures of one half of the captions with photos of the other half.
        self.reference_half, self.other_half = torch.randperm(len(self.rows), generator=self.new_generator()).chunk(2)
        self.training_rows = _evenly_spaced(self.dataset.rows("train", "val"), len(self.other_half))
        self.photos = self.dataset.images[self.rows]
        self.classes = torch.from_numpy(self.dataset.classes[self.rows])
        self.captions = [self.dataset.captions[i][0] for i in self.rows]
        self.z = self.noise(len(self.rows), self.new_generator())
        self.h = self.engine.embed(self.captions)
        self.full_size = self.engine.render(self.z, self.h)
        self.pictures = _at_view_size(self.full_size)
        self.photo_features = features.photo_features(self.photos)
        self.picture_features = features.features(self.pictures)

    def draw(self, z: Tensor, h: Tensor) -> np.ndarray:
        """Noise z (B, Z) and embeddings h (B, E) to pictures (B, 64, 64, 3) uint8."""
        return _at_view_size(self.engine.render(z, h))

    def noise(self, count: int, g: torch.Generator) -> Tensor:
        return torch.randn(count, self.networks["generator"].config.noise, generator=g)

    def new_generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.config.seed)

    def photo_distance(self) -> float:
        """Mean feature distance between photos of a class, or between any photos if no class has two."""
        if not self.has_classes():
            return quality.mean_pairwise_distance(self.photo_features)
        groups = [self.photo_features[rows] for rows in self.photos_by_class()]
        return float(np.mean([quality.mean_pairwise_distance(group) for group in groups]))

    def photos_by_class(self) -> list[Tensor]:
        """Rows of up to 16 photos of each class that has at least two."""
        classes = [(self.classes == c).nonzero()[:DIVERSITY_SEEDS, 0] for c in self.classes.unique()]
        return [rows for rows in classes if len(rows) > 1]

    def has_classes(self) -> bool:
        """Whether photos share classes, which retrieval and diversity need."""
        return 1 < len(self.classes.unique()) < len(self.classes)


def _evenly_spaced(rows: np.ndarray, max_count: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(max_count, len(rows))).astype(int)]


def _at_view_size(pictures: np.ndarray) -> np.ndarray:
    """Pictures (B, S, S, 3) uint8 at 64×64; larger ones are reduced to the means of their pixels."""
    if pictures.shape[1] == VIEW_SIZE:
        return pictures
    batches = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(256)
    small = torch.cat([to_view(batch.float()).round().byte() for batch in batches])
    return small.permute(0, 2, 3, 1).contiguous().numpy()


def evaluate(config: Evaluation) -> dict:
    """Every metric that the model and the data allow, by name; `left_out` says why the others are missing."""
    start, inputs = time.perf_counter(), _Inputs(config)
    measures: dict[str, Callable[[_Inputs], dict]] = {
        "retrieval": _retrieval, "fidelity": _fidelity, "scratch": _by_classifier, "agreement": _agreement,
        "diversity": _diversity, "halfway": _halfway, "match": _match, "style": _style,
    }  # fmt: skip
    results, left_out = {}, {}
    for name, measure in tqdm(measures.items(), desc="metrics", unit="metric"):
        try:
            results[name] = measure(inputs)
        except _NotMeasurable as reason:
            left_out[name] = str(reason)
    gan = inputs.checkpoint.training("gan")
    return {
        "model": Path(config.model).name, "data": Path(config.data).name, "pictures": len(inputs.rows),
        "objective": gan.get("objective"), "width": gan.get("width"), "size": inputs.full_size.shape[1],
        "seed": config.seed, "training_seed": gan.get("seed"), **_training_length(gan), **_training_cost(gan),
        "hardware": hardware(), "precision": _precision(), "seconds": round(time.perf_counter() - start),
        **results, "left_out": left_out,
    }  # fmt: skip


class _NotMeasurable(Exception):
    """This model or this data set does not allow a measurement; the message says why."""


def _runs(gan: dict | None) -> Iterator[dict]:
    """A training run and those before it, the last first."""
    while gan:
        yield gan
        gan = gan.get("before")


def _training_length(gan: dict) -> dict:
    """Epochs (or steps, if the trainer counts those) on the data of the last run, and on other data before."""
    unit = "steps" if "steps_done" in gan else "epochs"
    lengths: dict[str | None, int] = {}
    for run in _runs(gan):
        lengths[run.get("data")] = lengths.get(run.get("data"), 0) + run.get(f"{unit}_done", 0)
    return {unit: lengths.pop(gan.get("data"), 0), f"{unit}_before": lengths}


def _training_cost(gan: dict) -> dict:
    """Time and hardware of a training run and those before it; empty unless all of them recorded both."""
    runs = list(_runs(gan))
    if not runs or not all("seconds" in run and "hardware" in run for run in runs):
        return {}
    machines = dict.fromkeys(run["hardware"] for run in runs)
    return {"trained": {"seconds": sum(run["seconds"] for run in runs), "hardware": "; ".join(machines)}}


def _precision() -> str:
    """The number format in which features are computed."""
    return "bfloat16" if computes_bfloat16(torch.device(best_device())) else "float32"


@torch.inference_mode()
def _embed(text: TextEncoder, captions: list[str]) -> Tensor:
    """Embeddings (N, E) of captions, float32, by the plain network."""
    device = next(text.parameters()).device
    batches = (captions[i : i + 256] for i in range(0, len(captions), 256))
    return torch.cat([embed(text, encode(batch, text.config.length).to(device)).cpu() for batch in batches])


def _retrieval(inputs: _Inputs) -> dict:
    """Top-1 and AP@50 of real photos by all their captions, by the cosine of plain and of centred embeddings."""
    if not inputs.has_classes():
        raise _NotMeasurable("needs test pictures of at least two classes")
    if not inputs.checkpoint.has("image_projection"):
        raise _NotMeasurable("the model has no image projection")
    projection = inputs.checkpoint.read("image_projection")["image_projection"]
    text = inputs.networks["text_encoder"]
    dataset = imagefolder.read(inputs.config.data, _photo_size(inputs.checkpoint.owner("text_encoder")))
    training_rows, test_rows = dataset.rows("train", "val"), dataset.rows("test")
    training_rows = training_rows[:: max(1, len(training_rows) // MAX_CENTRING_PHOTOS)][:MAX_CENTRING_PHOTOS]
    photos = dataset.images[np.concatenate([test_rows, training_rows])]
    with torch.inference_mode():
        views = [projection(features.photo_features(photos, view)) for view in VIEWS]
    test_images, training_images = torch.stack(views).mean(0).split([len(test_rows), len(training_rows)])
    captions = [caption for i in test_rows for caption in dataset.captions[i]]
    counts = [len(dataset.captions[i]) for i in test_rows]
    training = None
    if len(training_rows):
        training = training_images, _embed(text, [dataset.captions[i][0] for i in training_rows])
    classes = torch.from_numpy(dataset.classes[test_rows])
    return caption_retrieval(test_images, classes, _embed(text, captions), counts, training)


def _photo_size(checkpoint: Checkpoint) -> int:
    """Pixels along a side of the photos that this text encoder was trained with."""
    size = checkpoint.training("text_encoder").get("size", RETRIEVAL_PHOTO_SIZE)
    if type(size) is not int or not 0 < size <= store.MAX_NETWORK_SIZE:
        reason = f"must be a whole number from 1 to {store.MAX_NETWORK_SIZE}, not {str(size)[:40]}"
        raise InputError(f"{checkpoint.folder / 'config.json'}: training.text_encoder.size {reason}")
    return size


def _fidelity(inputs: _Inputs) -> dict:
    """KID and Fréchet distance to half of the test photos, in ImageNet features.

    They are measured for pictures, the other half of the photos, the mean picture, and photos of the training classes:
    the floor, which a model that never saw a test class cannot be expected to beat. `at_size` has the same at the
    size of the model's pictures, if it is larger than 64.
    """
    mean_picture = inputs.pictures.mean(0, keepdims=True).round().astype(np.uint8)
    result: dict = {"samples": len(inputs.other_half)}
    result |= _distances(inputs, inputs.photo_features[inputs.reference_half], {
        "pictures": inputs.picture_features[inputs.other_half],
        "photos": inputs.photo_features[inputs.other_half],
        "mean_picture": features.features(mean_picture).expand(len(inputs.other_half), -1),
        **_floor(inputs, lambda rows: features.photo_features(inputs.dataset.images[rows])),
    })  # fmt: skip
    size = inputs.full_size.shape[1]
    if size > VIEW_SIZE:
        images = imagefolder.read(inputs.config.data, size).images
        photo_features = features.photo_features(images[inputs.rows])
        result["at_size"] = {"size": size} | _distances(inputs, photo_features[inputs.reference_half], {
            "pictures": features.features(inputs.full_size[inputs.other_half]),
            "photos": photo_features[inputs.other_half],
            **_floor(inputs, lambda rows: features.photo_features(images[rows])),
        })  # fmt: skip
    return result


def _distances(inputs: _Inputs, reference: Tensor, compared: dict[str, Tensor], frechet: bool = True) -> dict:
    """KID, and the Fréchet distance, of each of `compared`, features (N, D), to the reference features (M, D)."""
    result = {}
    for name, x in compared.items():
        kid, deviation = quality.kid(x, reference, seed=inputs.config.seed)
        result[name] = {"kid": kid, "kid_deviation": deviation}
        if frechet:
            result[name]["frechet"] = quality.frechet_distance(x, reference)
    return result


def _floor(inputs: _Inputs, to_features: Callable[[np.ndarray], Tensor]) -> dict[str, Tensor]:
    """Features of photos of the training classes, as many as pictures are compared; empty without a training split.

    `to_features`: rows of the data set to features of their photos.
    """
    return {"floor": to_features(inputs.training_rows)} if len(inputs.training_rows) > 1 else {}


def _by_classifier(inputs: _Inputs) -> dict:
    """KID in the features of a classifier trained from scratch, and the share of pictures that it classifies correctly.

    It chooses among the classes of the test split, since generated pictures resemble the training classes most. For
    photos the share is that of photos held out from its training. `accuracy` is its accuracy on those among all
    classes.
    """
    if not inputs.has_classes():
        raise _NotMeasurable("needs photos with classes, to train a classifier on")
    trained, test_classes = classifier.load_or_train(inputs.config.data), inputs.classes.unique()
    photos, _ = trained.predict(inputs.photos)
    pictures, predictions = trained.predict(inputs.pictures, test_classes)
    result = {"accuracy": trained.accuracy} | _distances(inputs, photos[inputs.reference_half], {
        "pictures": pictures[inputs.other_half],
        "photos": photos[inputs.other_half],
        **_floor(inputs, lambda rows: trained.predict(inputs.dataset.images[rows])[0]),
    }, frechet=False)  # fmt: skip
    result["pictures"]["class"] = (predictions == inputs.classes).float().mean().item()
    held_out = trained.held_out[np.isin(trained.held_out, inputs.dataset.rows("test"))].numpy()
    if len(held_out):
        _, predictions = trained.predict(inputs.dataset.images[held_out], test_classes)
        result["photos"]["class"] = float(np.mean(predictions.numpy() == inputs.dataset.classes[held_out]))
    return result


def _agreement(inputs: _Inputs) -> dict:
    """R-precision and zero-shot classification by captions, by a judge, for pictures, photos and shuffled pictures."""
    config, owner = inputs.config, inputs.checkpoint.owner("text_encoder")
    folder = Path(config.judge) if config.judge else owner.folder / "judge"
    if not config.judge and not folder.is_dir():
        raise _NotMeasurable("needs a judge: a text encoder trained with another seed, in the model's folder `judge`")
    checkpoint = Checkpoint(folder)
    networks = checkpoint.read("text_encoder", "image_projection")
    judge, projection = networks["text_encoder"], networks["image_projection"]
    judge_seed, model_seed = (c.training("text_encoder").get("seed") for c in (checkpoint, inputs.checkpoint))
    if judge_seed == model_seed:
        raise InputError(f"{folder}: was trained with the model's own seed, {judge_seed}, and cannot judge it")
    own_captions = _embed(judge, inputs.captions)
    captions = [caption for i in inputs.rows for caption in inputs.dataset.captions[i]]
    counts = [len(inputs.dataset.captions[i]) for i in inputs.rows]
    all_captions = _embed(judge, captions) if inputs.has_classes() else None
    order = torch.randperm(len(own_captions), generator=inputs.new_generator())
    with torch.inference_mode():
        pictures, photos = projection(inputs.picture_features), projection(inputs.photo_features)
    result = {}
    for name, x in (("pictures", pictures), ("photos", photos), ("shuffled", pictures[order])):
        result[name] = {"r_precision": quality.r_precision(x, own_captions, seed=config.seed)}
        if all_captions is not None:
            result[name]["class_top1"] = caption_retrieval(x, inputs.classes, all_captions, counts)["top1"]
            within = quality.r_precision(x, own_captions, SAME_CLASS_CAPTIONS - 1, config.seed, inputs.classes)
            if not math.isnan(within):
                result[name]["r_precision_within_class"] = within
    return result


def _diversity(inputs: _Inputs) -> dict:
    """Mean distance between seeds of a caption, between photos of a class, and between captions under one seed."""
    if not inputs.has_classes():
        raise _NotMeasurable("needs test pictures of at least two classes")
    rows = _evenly_spaced(np.arange(len(inputs.rows)), DIVERSITY_CAPTIONS)
    z = inputs.noise(DIVERSITY_SEEDS, inputs.new_generator())
    pictures = np.stack([inputs.draw(z, inputs.h[i].expand(len(z), -1)) for i in rows])  # (C, 16, 64, 64, 3)
    x = features.features(pictures.reshape(-1, *pictures.shape[2:])).unflatten(0, (len(rows), len(z)))

    def distances(groups: list[tuple[Tensor, np.ndarray]]) -> dict:
        """Of groups of features (N, D) and pictures (N, 64, 64, 3)."""
        pixels = [torch.from_numpy(p.reshape(len(p), -1)).float() / 127.5 for _, p in groups]
        return {
            "features": float(np.mean([quality.mean_pairwise_distance(group) for group, _ in groups])),
            "pixels": float(np.mean([torch.pdist(p, 1).mean() / p.shape[1] for p in pixels])),
        }

    by_class = [(inputs.photo_features[rows], inputs.photos[rows]) for rows in inputs.photos_by_class()]
    return {
        "seeds_of_a_caption": distances(list(zip(x, pictures))),
        "photos_of_a_class": distances(by_class),
        "captions_under_a_seed": distances([(x[:, i], pictures[:, i]) for i in range(len(z))]),
    }


def _halfway(inputs: _Inputs) -> dict:
    """Pictures of captions, and halfway between two: KID, feature distance between seeds, and how often it is low.

    Halfway is what the model draws of two captions of different classes in equal parts: see `mixing.mix`. `plain`, for
    models with a mean caption, is the paper's way, the mean of their embeddings. The distance is low if it is below
    half of that between two photos of a class. KID takes one seed of each, so that it does not depend on how much the
    seeds differ.
    """
    g, rows = inputs.new_generator(), inputs.other_half
    first = rows[:HALFWAY_PAIRS]
    second = rows[torch.randperm(len(rows), generator=g)][: len(first)]
    differ = inputs.classes[first] != inputs.classes[second]
    first, second = first[differ], second[differ]
    if not len(first):
        raise _NotMeasurable("needs test pictures of at least two classes")
    photo_distance = inputs.photo_distance()
    result: dict = {"pairs": len(first), "seeds_of_each": HALFWAY_SEEDS}
    z = inputs.noise(len(first) * HALFWAY_SEEDS, g)
    half, mean = torch.full((1, 2), 0.5), inputs.checkpoint.caption_mean
    pairs = torch.stack([inputs.h[first], inputs.h[second]], 1)
    halfway = torch.cat([mix(pair, half, mean) for pair in pairs])
    plain = {} if mean is None else {"plain": pairs.mean(1)}
    for name, h in {"captions": inputs.h[first], "halfway": halfway, **plain}.items():
        x = features.features(inputs.draw(z, h.repeat_interleave(HALFWAY_SEEDS, 0)))
        distances = np.array([quality.mean_pairwise_distance(seeds) for seeds in x.split(HALFWAY_SEEDS)])
        one_seed = {name: x[::HALFWAY_SEEDS]}
        result |= _distances(inputs, inputs.photo_features[inputs.reference_half], one_seed, frechet=False)
        low = distances < LOW_DIVERSITY * photo_distance
        result[name] |= {"seeds": float(distances.mean()), "alike": float(low.mean())}
    return result | {"photos_of_a_class": photo_distance}


@torch.inference_mode()
def _match(inputs: _Inputs) -> dict:
    """Area under the ROC curve of the discriminator and of the image encoder, as scores of a picture with a caption.

    Positive pairs are a picture and its caption, negative ones a picture and a caption of another class.
    """
    wrong = torch.arange(len(inputs.rows)).roll(len(inputs.rows) // 2)
    rows = (inputs.classes != inputs.classes[wrong]).nonzero()[:, 0]
    if not len(rows):
        raise _NotMeasurable("needs test pictures of at least two classes")
    scorers: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    if "discriminator" in inputs.networks:
        scorers["discriminator"] = inputs.networks["discriminator"]
    if "image_encoder" in inputs.networks:
        scorers["image_encoder"] = lambda x, h: torch.cosine_similarity(inputs.networks["image_encoder"](x), h)
    if not scorers:
        raise _NotMeasurable("the model has neither a discriminator nor an image encoder")

    def scores(scorer: Callable[[Tensor, Tensor], Tensor], pixels: np.ndarray, h: Tensor) -> Tensor:
        batches = ((torch.from_numpy(pixels[i.numpy()]), h[i]) for i in rows.split(256))
        return torch.cat([scorer(x.permute(0, 3, 1, 2) / 127.5 - 1, captions) for x, captions in batches])

    return {
        kind: {
            name: quality.roc_auc(scores(scorer, pixels, inputs.h), scores(scorer, pixels, inputs.h[wrong]))
            for name, scorer in scorers.items()
        }
        for kind, pixels in (("pictures", inputs.pictures), ("photos", inputs.photos))
    }


def _style(inputs: _Inputs) -> dict:
    """Cycle error and reconstruction of the style encoder, and verification of pairs of photos of one style (Figure 5).

    Verification by embeddings of captions alone is measured for comparison.
    """
    if "style_encoder" not in inputs.networks:
        raise _NotMeasurable("the model has no style encoder")
    cycle = inputs.networks["style_encoder"], inputs.networks["generator"], inputs.z, inputs.h
    result: dict = {
        "cycle_error": quality.cycle_error(*cycle),
        "cycle_error_of_directions": quality.cycle_error(*cycle, directions=inputs.engine.directions),
        "redrawn": _reconstruction(inputs),
    }
    codes, captions = inputs.engine.invert(inputs.photos).numpy(), inputs.h.numpy()
    for name, (rows, measurements) in _style_measurements(inputs).items():
        clusters = disentangling.style_clusters(measurements, inputs.config.seed)
        area, curve = disentangling.verification_roc(codes[rows], clusters, seed=inputs.config.seed)
        caption_area, _ = disentangling.verification_roc(captions[rows], clusters, seed=inputs.config.seed)
        pairs_of = min(len(rows), disentangling.MAX_CODES)
        result[name] = {
            "roc": area,
            "roc_of_captions": caption_area,
            "explained": disentangling.explained_variance(codes[rows], measurements),
            "explained_by_captions": disentangling.explained_variance(captions[rows], measurements),
            "pairs_of": pairs_of,
            "curve": curve,
        }
    return result


def _style_measurements(inputs: _Inputs) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Background colours and, if enough photos have all key points, poses: rows (N,) and measurements (N, D)."""
    dataset, key_points = inputs.dataset, disentangling.KEY_POINTS
    colours = [disentangling.background_colour(p, dataset.boxes[i]) for p, i in zip(inputs.photos, inputs.rows)]
    result = {"background": (np.arange(len(colours)), np.array(colours))}
    parts = [dataset.parts[i] or {} for i in inputs.rows]
    complete = np.array([i for i, part in enumerate(parts) if part.keys() >= set(key_points)], int)
    if len(complete) > 8:
        result["pose"] = complete, np.array([np.ravel([parts[i][k] for k in key_points]) for i in complete])
    return result


def _reconstruction(inputs: _Inputs) -> dict:
    """Feature distance between pictures G(z, h) and G(S(G(z, h)), h), and between two seeds of the same captions."""
    rows = _evenly_spaced(np.arange(len(inputs.rows)), MAX_RECONSTRUCTIONS)
    x, h = inputs.picture_features[rows], inputs.h[rows]
    reconstructed = features.features(inputs.draw(inputs.engine.invert(inputs.pictures[rows]), h))
    z = inputs.noise(len(rows), torch.Generator().manual_seed(inputs.config.seed + 1))
    other_seeds = features.features(inputs.draw(z, h))
    distance, seeds = (quality.mean_paired_distance(x, y) for y in (reconstructed, other_seeds))
    return {"features": distance, "seeds": seeds, "share": distance / seeds}
