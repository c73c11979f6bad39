"""All the measures of a model on the zero-shot test split, and the table of those that were measured."""

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
from ..data.augment import to_view
from ..data.features import VIEWS
from ..device import best_device, computes_bfloat16, hardware
from ..engine.engine import Engine
from ..errors import InputError
from ..locate import Checkpoint
from ..metrics import disentangling, quality
from ..metrics.retrieval import by_captions
from ..models import TextEncoder, encode
from ..models.text_encoder import embed
from . import classifier

SIZE = 64  # pixels along a side of photos and pictures that are compared, whatever the model draws
PICTURES = 1155  # at most, of the test split, evenly spread; retrieval takes all photos
PHOTO = 144  # of the photos in retrieval, unless `train text` saw others
KNOWN = 1000  # training photos whose mean centres retrieval
VARIED, SEEDS = 32, 16  # captions and seeds of diversity
PAIRS, PAIR_SEEDS = 256, 4  # captions, and middles of two of them, and the seeds of each
ALIKE = 0.5  # seeds of a caption hardly differ if their feature distance is below this share of that of photos
REDRAWN = 256  # pictures that are drawn again from what S reads of them


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measures: a model, the data set whose test split it is measured on, and a judge."""

    model: str
    data: str
    judge: str = ""  # a text encoder trained with another seed; none: the model's own folder `judge`
    seed: int = 0


class _Bench:
    """A model, the test split, and the model's picture of each test photo's first caption, drawn once.

    `photos` and `pictures` are (N, 64, 64, 3), `drawn` the same pictures at the model's own size.
    """

    def __init__(self, config: Evaluation):
        self.config, self.checkpoint = config, Checkpoint(config.model)
        judges = [n for n in ("discriminator", "style_encoder", "image_encoder") if self.checkpoint.has(n)]
        self.networks = self.checkpoint.read("text_encoder", "generator", *judges)
        self.engine = Engine(self.networks, num_attributes=len(self.checkpoint.attributes))
        self.set = imagefolder.read(config.data, SIZE)
        self.rows = _evenly(self.set.rows("test"), PICTURES)
        if len(self.rows) < 4:
            raise InputError(f"{config.data}: has {len(self.rows)} test pictures, and 4 are the fewest")
        self.half, self.other = torch.randperm(len(self.rows), generator=self.random()).chunk(2)
        self.known = _evenly(self.set.rows("train", "val"), len(self.other))
        self.photos = self.set.images[self.rows]
        self.classes = torch.from_numpy(self.set.classes[self.rows])
        self.captions = [self.set.captions[i][0] for i in self.rows]
        self.z = torch.randn(len(self.rows), 100, generator=self.random())
        self.h = self.engine.embed(self.captions)
        self.drawn = self.engine.render(self.z, self.h)
        self.pictures = _at_64(self.drawn)
        self.photo_features = features.photo_features(self.photos)
        self.picture_features = features.features(self.pictures)

    def draw(self, z: Tensor, h: Tensor) -> np.ndarray:
        """Noise z (B, 100) and embeddings h (B, 1024) to pictures (B, 64, 64, 3) uint8."""
        return _at_64(self.engine.render(z, h))

    def photo_distance(self) -> float:
        """Mean feature distance of two photos of a class; of any two, where none has two."""
        if not self.classed():
            return quality.spread(self.photo_features)
        groups = [self.photo_features[c] for c in self.photos_by_class()]
        return float(np.mean([quality.spread(group) for group in groups]))

    def photos_by_class(self) -> list[Tensor]:
        """Rows of the photos of each class, 16 at most, of classes that have two or more."""
        classes = [(self.classes == c).nonzero()[:SEEDS, 0] for c in self.classes.unique()]
        return [rows for rows in classes if len(rows) > 1]

    def random(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.config.seed)

    def classed(self) -> bool:
        """Whether photos share classes, which retrieval and diversity need."""
        return 1 < len(self.classes.unique()) < len(self.classes)


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """Of these rows so many at most, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]


def _at_64(pictures: np.ndarray) -> np.ndarray:
    """Pictures (B, S, S, 3) uint8 at 64×64: larger ones by the means of their pixels."""
    if pictures.shape[1] == SIZE:
        return pictures
    parts = torch.from_numpy(pictures).permute(0, 3, 1, 2).split(256)
    small = torch.cat([to_view(part.float()).round().byte() for part in parts])
    return small.permute(0, 2, 3, 1).contiguous().numpy()


def evaluate(config: Evaluation) -> dict:
    """Every measure of a model that its folder and the data allow, by name; those left out say why in `left_out`."""
    start, bench = time.perf_counter(), _Bench(config)
    measures: dict[str, Callable[[_Bench], dict]] = {
        "retrieval": _retrieval, "fidelity": _fidelity, "scratch": _scratch, "agreement": _agreement,
        "diversity": _diversity, "halfway": _halfway, "match": _match, "style": _style,
    }  # fmt: skip
    found, left_out = {}, {}
    for name, measure in tqdm(measures.items(), desc="measures", unit="measure"):
        try:
            found[name] = measure(bench)
        except _LeftOut as reason:
            left_out[name] = str(reason)
    gan = bench.checkpoint.training("gan")
    return {
        "model": Path(config.model).name, "data": Path(config.data).name, "pictures": len(bench.rows),
        "objective": gan.get("objective"), "width": gan.get("width"), "size": bench.drawn.shape[1],
        "seed": config.seed, **_length(gan), **_trained(gan), "hardware": hardware(), "precision": _precision(),
        "seconds": round(time.perf_counter() - start), **found, "left_out": left_out,
    }  # fmt: skip


class _LeftOut(Exception):
    """A measure that this model or this data set does not allow."""


def _runs(gan: dict | None) -> Iterator[dict]:
    """A training and those before it, the last first."""
    while gan:
        yield gan
        gan = gan.get("before")


def _length(gan: dict) -> dict:
    """Epochs, or steps where the trainer counts those, on a training's own data; and before, by other data set."""
    unit = "steps" if "steps_done" in gan else "epochs"
    found: dict[str, int] = {}
    for run in _runs(gan):
        found[run.get("data")] = found.get(run.get("data"), 0) + run.get(f"{unit}_done", 0)
    return {unit: found.pop(gan.get("data"), 0), f"{unit}_before": found}


def _trained(gan: dict) -> dict:
    """How long, and on what, a training and those before it ran; nothing unless all of them recorded it."""
    runs = list(_runs(gan))
    if not runs or not all("seconds" in run and "hardware" in run for run in runs):
        return {}
    places = dict.fromkeys(run["hardware"] for run in runs)
    return {"trained": {"seconds": sum(run["seconds"] for run in runs), "hardware": "; ".join(places)}}


def _precision() -> str:
    """In what features are computed."""
    device = torch.device(best_device())
    return "bfloat16" if computes_bfloat16(device) else "float32"


@torch.inference_mode()
def _joint(text: TextEncoder, captions: list[str]) -> Tensor:
    device = next(text.parameters()).device
    parts = (captions[i : i + 256] for i in range(0, len(captions), 256))
    return torch.cat([embed(text, encode(part, text.config.length).to(device)).cpu() for part in parts])


def _retrieval(bench: _Bench) -> dict:
    """Top-1 and AP@50 of real photos by all their captions: cosine, and centred as `train text` reports it."""
    if not bench.classed():
        raise _LeftOut("needs test pictures of at least two classes")
    if not bench.checkpoint.has("image_projection"):
        raise _LeftOut("the model has no image projection")
    projection = bench.checkpoint.read("image_projection")["image_projection"]
    text = bench.networks["text_encoder"]
    large = imagefolder.read(bench.config.data, _photo_size(bench.checkpoint.owner("text_encoder")))
    known = large.rows("train", "val")
    known = known[:: max(1, len(known) // KNOWN)][:KNOWN]
    test = large.rows("test")
    rows = np.concatenate([test, known])
    with torch.inference_mode():
        images = torch.stack([projection(features.photo_features(large.images[rows], view)) for view in VIEWS]).mean(0)
    images, others = images[: len(test)], images[len(test) :]
    captions = [c for i in test for c in large.captions[i]]
    counts = [len(large.captions[i]) for i in test]
    known = (others, _joint(text, [large.captions[i][0] for i in known])) if len(known) else None
    return by_captions(images, torch.from_numpy(large.classes[test]), _joint(text, captions), counts, known)


def _photo_size(checkpoint: Checkpoint) -> int:
    """Pixels along a side of the photos that this text encoder was trained with."""
    size = checkpoint.training("text_encoder").get("size", PHOTO)
    if type(size) is not int or not 0 < size <= store.MAX_NETWORK_SIZE:
        told = f"must be a whole number from 1 to {store.MAX_NETWORK_SIZE}, not {str(size)[:40]}"
        raise InputError(f"{checkpoint.folder / 'config.json'}: training.text_encoder.size {told}")
    return size


def _fidelity(bench: _Bench) -> dict:
    """KID and Fréchet distance, in ImageNet features, to half of the test photos, of as many others.

    Of pictures, photos of the other half, the mean picture, and photos of the training classes: the floor, which no
    model that never saw a test class can be expected to beat. `at_size`: the same at the size of the model's pictures.
    """
    mean = features.features(bench.pictures.mean(0, keepdims=True).round().astype(np.uint8))
    wanted, found = bench.photo_features[bench.half], {"samples": len(bench.other)}
    found |= _distances(bench, wanted, {
        "pictures": bench.picture_features[bench.other],
        "photos": bench.photo_features[bench.other],
        "mean_picture": mean.expand(len(bench.other), -1),
        **_floor(bench, lambda rows: features.photo_features(bench.set.images[rows])),
    })  # fmt: skip
    size = bench.drawn.shape[1]
    if size > SIZE:
        images = imagefolder.read(bench.config.data, size).images
        photos = features.photo_features(images[bench.rows])
        found["at_size"] = {"size": size} | _distances(bench, photos[bench.half], {
            "pictures": features.features(bench.drawn[bench.other]),
            "photos": photos[bench.other],
            **_floor(bench, lambda rows: features.photo_features(images[rows])),
        })  # fmt: skip
    return found


def _distances(bench: _Bench, wanted: Tensor, compared: dict[str, Tensor], frechet: bool = True) -> dict:
    """KID, and Fréchet distance, of each of these features (N, D) to those that are wanted (M, D)."""
    found = {}
    for name, seen in compared.items():
        kid, deviation = quality.kid(seen, wanted, seed=bench.config.seed)
        found[name] = {"kid": kid, "kid_deviation": deviation}
        if frechet:
            found[name]["frechet"] = quality.frechet(seen, wanted)
    return found


def _floor(bench: _Bench, see: Callable[[np.ndarray], Tensor]) -> dict[str, Tensor]:
    """Features of photos of the training classes, as many as of pictures; none of a data set without a training split.

    `see`: rows of the data set to features of their photos.
    """
    return {"floor": see(bench.known)} if len(bench.known) > 1 else {}


def _scratch(bench: _Bench) -> dict:
    """KID by a classifier that has never seen ImageNet, and the share of pictures that it gives to their species.

    To that among the species of the test split: a picture resembles those of the training split most. Of photos, the
    share is that of those held out from the classifier's training; `accuracy` is that of all species among all.
    """
    if not bench.classed():
        raise _LeftOut("needs photos with classes, to train a classifier on")
    trained, species = classifier.trained_on(bench.config.data), bench.classes.unique()
    photos, _ = trained.see(bench.photos)
    pictures, guessed = trained.see(bench.pictures, species)
    found = {"accuracy": trained.accuracy} | _distances(bench, photos[bench.half], {
        "pictures": pictures[bench.other],
        "photos": photos[bench.other],
        **_floor(bench, lambda rows: trained.see(bench.set.images[rows])[0]),
    }, frechet=False)  # fmt: skip
    unseen = trained.held_out[np.isin(trained.held_out, bench.set.rows("test"))].numpy()
    found["pictures"]["class"] = (guessed == bench.classes).float().mean().item()
    if len(unseen):
        _, guessed = trained.see(bench.set.images[unseen], species)
        found["photos"]["class"] = float(np.mean(guessed.numpy() == bench.set.classes[unseen]))
    return found


def _agreement(bench: _Bench) -> dict:
    """R-precision, and zero-shot class by captions, as a judge sees pictures, photos, and pictures shuffled."""
    folder = Path(bench.config.judge) if bench.config.judge else bench.checkpoint.owner("text_encoder").folder / "judge"
    if not bench.config.judge and not folder.is_dir():
        raise _LeftOut("needs a judge: a text encoder trained with another seed, in the model's folder `judge`")
    checkpoint = Checkpoint(folder)
    judge, projection = checkpoint.read("text_encoder", "image_projection").values()
    seed, own_seed = (c.training("text_encoder").get("seed") for c in (checkpoint, bench.checkpoint))
    if seed == own_seed:
        raise InputError(f"{folder}: was trained with the model's own seed, {seed}: no judge of it")
    own = _joint(judge, bench.captions)
    captions = [c for i in bench.rows for c in bench.set.captions[i]]
    counts = [len(bench.set.captions[i]) for i in bench.rows]
    every, found = _joint(judge, captions) if bench.classed() else None, {}
    order = torch.randperm(len(own), generator=bench.random())
    with torch.inference_mode():
        pictures, photos = projection(bench.picture_features), projection(bench.photo_features)
    for name, seen in (("pictures", pictures), ("photos", photos), ("shuffled", pictures[order])):
        found[name] = {"r_precision": quality.precision(seen, own, seed=bench.config.seed)}
        if every is not None:
            found[name]["class_top1"] = by_captions(seen, bench.classes, every, counts)["top1"]
    return found


def _diversity(bench: _Bench) -> dict:
    """Mean distance of 16 seeds of a caption, beside photos of one class and captions of several under one seed."""
    if not bench.classed():
        raise _LeftOut("needs test pictures of at least two classes")
    some = _evenly(np.arange(len(bench.rows)), VARIED)
    z = torch.randn(SEEDS, 100, generator=bench.random())
    drawn = np.stack([bench.draw(z, bench.h[i].expand(SEEDS, -1)) for i in some])  # (V, 16, 64, 64, 3)
    seen = features.features(drawn.reshape(-1, SIZE, SIZE, 3)).unflatten(0, (len(some), SEEDS))

    def distances(groups: list[tuple[Tensor, np.ndarray]]) -> dict:
        pixels = [torch.from_numpy(p.reshape(len(p), -1)).float() / 127.5 for _, p in groups]
        absolute = [torch.pdist(p, 1).mean() / p.shape[1] for p in pixels]
        return {"features": float(np.mean([quality.spread(f) for f, _ in groups])), "pixels": float(np.mean(absolute))}

    return {
        "seeds_of_a_caption": distances(list(zip(seen, drawn))),
        "photos_of_a_class": distances([(bench.photo_features[c], bench.photos[c]) for c in bench.photos_by_class()]),
        "captions_under_a_seed": distances([(seen[:, i], drawn[:, i]) for i in range(SEEDS)]),
    }


def _halfway(bench: _Bench) -> dict:
    """KID, feature distance of seeds, and the share of those whose seeds hardly differ, at real captions and halfway.

    Halfway: the mean of the embeddings of two captions of different classes. Seeds hardly differ if their distance is
    below half of that of two photos of a class.
    """
    g = bench.random()
    one = torch.randperm(len(bench.rows), generator=g)[:PAIRS]
    other = torch.randperm(len(bench.rows), generator=g)[: len(one)]
    apart = bench.classes[one] != bench.classes[other]
    one, other = one[apart], other[apart]
    if not len(one):
        raise _LeftOut("needs test pictures of at least two classes")
    photos, found = bench.photo_distance(), {"pairs": len(one), "seeds_of_each": PAIR_SEEDS}
    z = torch.randn(len(one) * PAIR_SEEDS, 100, generator=g)
    for name, h in (("captions", bench.h[one]), ("halfway", (bench.h[one] + bench.h[other]) / 2)):
        seen = features.features(bench.draw(z, h.repeat_interleave(PAIR_SEEDS, 0)))
        distances = np.array([quality.spread(seeds) for seeds in seen.split(PAIR_SEEDS)])
        found |= _distances(bench, bench.photo_features[bench.half], {name: seen}, frechet=False)
        found[name] |= {"seeds": float(distances.mean()), "alike": float((distances < ALIKE * photos).mean())}
    return found | {"photos_of_a_class": photos}


@torch.inference_mode()
def _match(bench: _Bench) -> dict:
    """How well D, and the image encoder, tell a picture's caption from one of another class: areas under the ROC."""
    other = torch.arange(len(bench.rows)).roll(len(bench.rows) // 2)
    rows = (bench.classes != bench.classes[other]).nonzero()[:, 0]
    if not len(rows):
        raise _LeftOut("needs test pictures of at least two classes")
    judges = {}
    if "discriminator" in bench.networks:
        judges["discriminator"] = bench.networks["discriminator"]
    if "image_encoder" in bench.networks:
        judges["image_encoder"] = lambda x, h: torch.cosine_similarity(bench.networks["image_encoder"](x), h)
    if not judges:
        raise _LeftOut("the model has neither a discriminator nor an image encoder")

    def scores(judge: Callable[[Tensor, Tensor], Tensor], pixels: np.ndarray, captions: Tensor) -> Tensor:
        parts = ((torch.from_numpy(pixels[i.numpy()]), captions[i]) for i in rows.split(256))
        return torch.cat([judge(x.permute(0, 3, 1, 2) / 127.5 - 1, h) for x, h in parts])

    return {
        kind: {
            name: quality.area(scores(judge, pixels, bench.h), scores(judge, pixels, bench.h[other]))
            for name, judge in judges.items()
        }
        for kind, pixels in (("pictures", bench.pictures), ("photos", bench.photos))
    }


def _style(bench: _Bench) -> dict:
    """Cycle error of S, and how well S, and captions alone, tell pairs of photos of one style (Figure 5)."""
    if "style_encoder" not in bench.networks:
        raise _LeftOut("the model has no style encoder")
    style_encoder, generator = bench.networks["style_encoder"], bench.networks["generator"]
    seen = (style_encoder, generator, bench.z, bench.h)
    found = {
        "cycle_error": quality.cycle_error(*seen),
        "cycle_error_of_directions": quality.cycle_error(*seen, along=bench.engine.directions),
    }
    found["redrawn"] = _redrawn(bench)
    codes, captions = bench.engine.invert(bench.photos).numpy(), bench.h.numpy()
    colours = [disentangling.background(photo, bench.set.boxes[i]) for photo, i in zip(bench.photos, bench.rows)]
    traits = {"background": (np.arange(len(colours)), colours)}
    parts = [bench.set.parts[i] or {} for i in bench.rows]
    whole = np.array([i for i, part in enumerate(parts) if part.keys() >= set(disentangling.KEY_POINTS)], int)
    if len(whole) > 8:
        traits["pose"] = whole, [np.ravel([parts[i][k] for k in disentangling.KEY_POINTS]) for i in whole]
    for name, (rows, values) in traits.items():
        clusters = disentangling.styles(np.array(values), bench.config.seed)
        area, curve = disentangling.roc(codes[rows], clusters, seed=bench.config.seed)
        words, _ = disentangling.roc(captions[rows], clusters, seed=bench.config.seed)
        compared = min(len(rows), disentangling.MOST)
        found[name] = {"roc": area, "roc_of_captions": words, "pairs_of": compared, "curve": curve}
    return found


def _redrawn(bench: _Bench) -> dict:
    """Feature distance of pictures G(z, h) and G(S(G(z, h)), h), and of two seeds of the same captions."""
    some = _evenly(np.arange(len(bench.rows)), REDRAWN)
    first, h = bench.picture_features[some], bench.h[some]
    again = features.features(bench.draw(bench.engine.invert(bench.pictures[some]), h))
    z = torch.randn(len(some), 100, generator=torch.Generator().manual_seed(bench.config.seed + 1))
    redrawn, seeds = quality.distance(first, again), quality.distance(first, features.features(bench.draw(z, h)))
    return {"features": redrawn, "seeds": seeds, "share": redrawn / seeds}
