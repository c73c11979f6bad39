"""Train the 128-pixel generator against heads on frozen features: a text-conditional Projected GAN.

The paper's objectives (section 4: real or drawn, right or wrong captions, interpolated captions), against a projected
discriminator (Sauer et al. 2021) in place of the paper's. What else carries it, each by what happened without it:

- Heads see two views of a picture: of the whole alone they judge shape, and detail is never asked for.
- A quarter of the pictures is drawn without a caption, and each caption is drawn twice with a least distance between
  its two pictures (mode seeking, Mao et al. 2019): without both, noise is ignored within 400 steps.
- Attributes and readable noise (InfoGAN, Chen et al. 2016) are asked for late, on a 16×16 version of the picture:
  earlier or stronger they win over the picture, which comes out embossed.
- Features of drawn pictures are computed once a step: D's turn takes them detached, G's turn differentiates them
  after D's step, for the feature network itself does not change.
- Batch norm's statistics are measured for the averaged weights themselves; those of the weights in training differ.
"""

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, batch_norm, interpolate, relu
from tqdm import tqdm

from .. import store
from ..data import imagefolder
from ..data.augment import to_view, views
from ..data.cache import digest
from ..data.corpus import Corpus, held_out_captions, load_corpus
from ..device import best_device, computes_bfloat16, half_precision
from ..errors import InputError
from ..locate import Checkpoint
from ..models import StyleEncoder, StyleEncoderConfig
from ..models.cbn_generator import CBNGenerator, CBNGeneratorConfig
from ..models.projected_discriminator import PixelDiscriminator, ProjectedDiscriminator
from .attributes import STYLES, attribute_loss, attribute_spread
from .checkpoints import cost, sample_sheet, save_checkpoint
from .feature_network import CHANNELS, FeatureNetwork
from .fit import State, keep_memory, log, random, shown
from .objectives import OBJECTIVES

SAVE_EVERY = 200  # steps
UNCAPTIONED = 0.25  # share of the drawn pictures that have no caption
INTERPOLATED = 0.25  # share of the captions that are interpolated between two
DIVERSITY, INFORMATION, PIXELS = 5.0, 4.0, 0.5  # weights of the diversity, information and pixel losses in G's loss
CORRELATION = 0.4  # of noise with what Q reads of it, at which noise is left alone
Q_LR = 1e-3  # Q must follow what G does
BLUR = 0.1  # deviation of the noise laid over the picture that Q reads
ATTRIBUTES_FROM, ATTRIBUTES_OVER = 1500, 1000  # steps: when attributes and readable noise begin, and how slowly
DECAY_FROM, DECAY_TO = 0.75, 0.1  # share of the steps after which the rates fall, and what of them is left at the end
STANDING_BATCHES = 24  # that batch norm's statistics are measured on
TINY = 1e-8  # under a root, whose slope at 0 is infinite
HEADS_FIRST = 200  # steps in which a G that begins with a checkpoint holds still, for D's heads are new
FREE = ("data", "text", "out", "steps")  # what may change when a run goes on


@dataclass(frozen=True)
class ProjectedTraining:
    """Everything that decides a run of `train projected`."""

    data: str
    text: str  # a folder with a trained text encoder, which is copied; or a registered model, whose own is shared
    out: str
    start: str = ""  # a model of this trainer whose G training begins with, as for data of one's own; none: random
    objective: str = "gan-int-cls"
    steps: int = 10_000
    batch: int = 64
    size: int = 128  # pixels along a side
    lr: float = 2e-4  # of G
    lr_d: float = 4e-4
    captions: int = 4  # h is the mean of one to so many captions of the picture
    diversity: float = 0.8  # least distance of two pictures of a caption, as a share of that of two photos of a class
    information: float = 1.0  # how strongly G is held to noise that can be read from its pictures
    attributes: float = 1.0  # how strongly the first coordinates of z are taught what they steer
    decay: float = 0.999  # of the averaged weights, which are those that are kept
    seed: int = 0

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise InputError(f"unknown objective {self.objective!r}; allowed: {', '.join(OBJECTIVES)}")
        try:
            CBNGeneratorConfig(size=self.size)
        except ValueError as error:
            raise InputError(str(error)) from None


@dataclass(frozen=True)
class Batch:
    """What one step learns from. Drawn are, in this order: pictures without a caption, then each caption twice."""

    photos: Tensor  # (B, 3, S, S) in -1…1
    right: Tensor  # (B, 1024) captions of the photos
    wrong: Tensor  # (B, 1024) captions of photos of other classes
    h: Tensor  # (B, 1024) captions to draw, zeros where there is none
    z: Tensor  # (B, noise)
    pairs: int  # captions that are drawn twice; the first `between` of them are interpolated
    between: int

    @classmethod
    def draw(cls, corpus: Corpus, config: ProjectedTraining, noise: int, g: torch.Generator) -> "Batch":
        rows, drawn = (torch.randint(len(corpus.images), (config.batch,), generator=g) for _ in range(2))
        pairs = int(config.batch * (1 - UNCAPTIONED) / 2)
        between = int(pairs * INTERPOLATED) if "int" in config.objective else 0
        h = corpus.captions(drawn[:pairs], config.captions, g)
        share = torch.rand(between, 1, generator=g).to(h.device)
        other = torch.randperm(pairs, generator=g)[:between]
        h = torch.cat([share * h[:between] + (1 - share) * h[other], h[between:]])
        return cls(
            photos=corpus.crops(rows, g),
            right=corpus.captions(rows, config.captions, g),
            wrong=corpus.captions(corpus.others(rows, g), config.captions, g),
            h=torch.cat([h.new_zeros(config.batch - 2 * pairs, h.shape[1]), h, h]),
            z=torch.randn(config.batch, noise, generator=g).to(h.device),
            pairs=pairs,
            between=between,
        )

    @property
    def uncaptioned(self) -> int:
        return len(self.h) - 2 * self.pairs

    def exact(self) -> Tensor:
        """Places of the drawn pictures whose caption is a photo's own: D has no photo for an interpolated one."""
        first = self.uncaptioned + self.between
        one = torch.arange(first, self.uncaptioned + self.pairs, device=self.h.device)
        return torch.cat([one, one + self.pairs])


class Trainer:
    """The networks, their optimizers and the averaged generator; one `step` is D's turn, then G's."""

    def __init__(self, config: ProjectedTraining, corpus: Corpus, device: str):
        self.config, self.device = config, device
        layout = {"device": device, "memory_format": torch.channels_last}
        embedding = corpus.embeddings.shape[2]
        torch.manual_seed(config.seed)
        self.generator = CBNGenerator(CBNGeneratorConfig(size=config.size, embedding=embedding)).to(**layout)
        self.ema = CBNGenerator(self.generator.config).to(**layout).requires_grad_(False)
        self.ema.load_state_dict(self.generator.state_dict())
        self.discriminator = ProjectedDiscriminator(CHANNELS, embedding).to(**layout)
        self.pixels = PixelDiscriminator().to(**layout)
        self.q = StyleEncoder(StyleEncoderConfig(self.generator.config.noise, 16)).to(**layout)
        heads = [*self.discriminator.heads.parameters(), *self.pixels.parameters()]
        self.optimizers = {
            "d": torch.optim.Adam(heads, config.lr_d, (0.0, 0.99), fused=True),
            "g": torch.optim.Adam(self.generator.parameters(), config.lr, (0.0, 0.99), fused=True),
            "q": torch.optim.Adam(self.q.parameters(), Q_LR, fused=True),
        }
        self.features = FeatureNetwork(torch.bfloat16 if computes_bfloat16(torch.device(device)) else torch.float32)
        self.features.to(device)
        self._calibrate(*(photos.to(device) for photos in corpus.pairs(512)))

    @torch.no_grad()
    def _calibrate(self, one: Tensor, other: Tensor) -> None:
        """Standardise the features on photos, and measure how far two photos (N, 3, S, S) of one class are."""
        self.features.standardise([views(photos)[0] for photos in one.split(64)])
        pairs = (torch.cat(both) for both in zip(one.split(32), other.split(32)))
        distances = [pair_distance(self.features(views(both, len(both) // 2)[0]), len(both) // 2) for both in pairs]
        self.least = self.config.diversity * torch.cat(distances).mean().item()
        self.attribute_scale = attribute_spread(to_view(one), to_view(other))

    def start(self, model: str) -> None:
        """Begin with the generator of a model; `InputError` if it is of another type or other sizes."""
        generator = Checkpoint(model).read("generator")["generator"]
        if type(generator) is not CBNGenerator:
            raise InputError(f"--start {model}: holds a generator of the paper's trainer, `train gan`; not of this one")
        if generator.config != self.generator.config:
            told = f"{generator.config}, but --size and --text ask for {self.generator.config}"
            raise InputError(f"--start {model}: holds {told}")
        for network in (self.generator, self.ema):
            network.load_state_dict(generator.state_dict())

    def step(self, batch: Batch, step: int) -> dict[str, float]:
        """Update D, then G and Q, on one batch; returns the losses. `InputError` if one is not finite."""
        lr = self.config.lr if step >= HEADS_FIRST or not self.config.start else 0.0
        for optimizer, own in zip(self.optimizers.values(), (self.config.lr_d, lr, Q_LR)):
            optimizer.param_groups[0]["lr"] = own * decayed(step / self.config.steps)
        with half_precision(self.device):
            with torch.no_grad():
                photo_views = views(batch.photos)
                photo_maps = self.discriminator.mix([self.features(view) for view in photo_views])
            drawn = self.generator(batch.z, batch.h).float()
            drawn_views = views(drawn, batch.pairs)
            features = [self.features(view) for view in drawn_views]  # once, for both turns
            drawn_maps = self.discriminator.mix(features)
            losses = {"D": self._d_loss(batch, photo_maps, photo_views, drawn_maps, drawn_views)}
        self._descend(losses["D"], "d")
        with half_precision(self.device):
            losses |= self._g_losses(batch, drawn, features[0], drawn_maps, drawn_views, step)
        self._descend(sum(loss for name, loss in losses.items() if name != "D"), "g", "q")
        self._average(step)
        found = {name: loss.item() for name, loss in losses.items()}
        if not all(map(math.isfinite, found.values())):
            raise InputError(
                f"step {step + 1}: a loss is no longer finite; what was saved last is kept: "
                "start again with a lower --lr and --lr_d, and the run goes on from there"
            )
        return found

    def _d_loss(
        self,
        batch: Batch,
        photo_maps: list[Tensor],
        photo_views: list[Tensor],
        drawn_maps: list[Tensor],
        drawn_views: list[Tensor],
    ) -> Tensor:
        """Hinge losses: photo or drawn, with and without captions, and (CLS) photos with wrong captions."""
        d, exact = self.discriminator, batch.exact()
        self._learns(True)
        photos, drawn = d.trunks(photo_maps), d.trunks([m.detach() for m in drawn_maps])
        loss = real(d.scores(photos)) + fake(d.scores(drawn)) + real(d.scores(photos, batch.right))
        false = fake(d.scores([x[exact] for x in drawn], batch.h[exact]))
        if "cls" in self.config.objective:
            false = (false + fake(d.scores(photos, batch.wrong))) / 2  # Algorithm 1, line 10
        for score in self.pixels(*photo_views):
            loss = loss + real(score)
        for score in self.pixels(*(view.detach() for view in drawn_views)):
            loss = loss + fake(score)
        return loss + false

    def _g_losses(
        self,
        batch: Batch,
        drawn: Tensor,
        features: list[Tensor],
        drawn_maps: list[Tensor],
        drawn_views: list[Tensor],
        step: int,
    ) -> dict[str, Tensor]:
        """G's losses by name, weighted; interpolated captions count as any other (INT, equation 5)."""
        d, config, captioned = self.discriminator, self.config, slice(batch.uncaptioned, None)
        self._learns(False)
        seen = d.trunks(drawn_maps)
        loss = -d.scores(seen).mean() - d.scores([x[captioned] for x in seen], batch.h[captioned]).mean()
        loss = loss - PIXELS * sum(score.mean() for score in self.pixels(*drawn_views))
        late = min(1.0, max(0.0, (step - ATTRIBUTES_FROM) / ATTRIBUTES_OVER))
        small = to_view(drawn)
        named = attribute_loss(small[captioned], batch.z[captioned], self.attribute_scale)
        unread = relu(CORRELATION - self._correlation(small, batch.z))
        return {
            "G": loss,
            "diversity": DIVERSITY * relu(self.least - pair_distance(features, batch.pairs)).mean(),
            "attributes": late * config.attributes * named,
            "information": (INFORMATION * late * config.information + 1e-3) * unread,  # Q learns from the beginning
        }

    def _correlation(self, pictures: Tensor, z: Tensor) -> Tensor:
        """Correlation of noise z (B, 100) with what Q reads of it in 16×16 versions of pictures (B, 3, 64, 64)."""
        coarse = interpolate(avg_pool2d(pictures, 4), scale_factor=4.0, mode="bilinear", align_corners=False)
        read = self.q(coarse + BLUR * torch.randn(coarse.shape).to(coarse)).float()
        return (batch_norm(read, None, None, training=True) * z).mean()

    def _learns(self, learns: bool) -> None:
        """G's turn needs no gradient of D's weights."""
        self.discriminator.heads.requires_grad_(learns)
        self.pixels.requires_grad_(learns)

    def _descend(self, loss: Tensor, *names: str) -> None:
        for name in names:
            self.optimizers[name].zero_grad()
        loss.backward()
        for name in names:
            self.optimizers[name].step()

    @torch.no_grad()
    def _average(self, step: int) -> None:
        decay = min(self.config.decay, 1 - 1 / (step / 10 + 2))  # early weights fade soon
        for average, new in zip(self.ema.parameters(), self.generator.parameters()):
            average.lerp_(new, 1 - decay)

    @torch.no_grad()
    def averaged(self, corpus: Corpus) -> CBNGenerator:
        """The averaged generator with batch norm's statistics of its own, in evaluation mode."""
        norms = [module for module in self.ema.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
        self.ema.train()
        g = random(self.config.seed, -1)
        with half_precision(self.device):
            for _ in range(STANDING_BATCHES):
                h = corpus.captions(torch.randint(len(corpus.images), (self.config.batch,), generator=g), 1, g)
                self.ema(torch.randn(len(h), self.ema.config.noise, generator=g).to(h.device), h)
        return self.ema.eval()

    def state(self) -> dict[str, dict[str, Tensor]]:
        """All weights in half precision, without Adam's moments: small enough to be kept.

        Adam here has no momentum, and forgets its squares within a hundred steps.
        """
        return {name: _halved(network.state_dict()) for name, network in self._networks().items()}

    def load(self, state: dict[str, dict[str, Tensor]]) -> None:
        for name, network in self._networks().items():
            network.load_state_dict(state[name])

    def _networks(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "ema": self.ema,
            "discriminator": self.discriminator,
            "pixels": self.pixels,
            "q": self.q,
        }


def real(score: Tensor) -> Tensor:
    """The hinge loss of what D should take for right."""
    return relu(1 - score).mean()


def fake(score: Tensor) -> Tensor:
    """The hinge loss of what D should take for wrong."""
    return relu(1 + score).mean()


def pair_distance(maps: list[Tensor], pairs: int) -> Tensor:
    """Distances (pairs,) of the last `pairs` pictures and those before them, in the three deepest maps."""
    differences = ((m[-pairs:] - m[-2 * pairs : -pairs]).float() for m in maps[-3:])
    return torch.stack([d.square().mean((1, 2, 3)).add(TINY).sqrt() for d in differences]).mean(0)


def decayed(done: float) -> float:
    """The share of a learning rate that is left when so much of a run is done: it falls over the last quarter."""
    return 1 - (1 - DECAY_TO) * max(0.0, min(1.0, (done - DECAY_FROM) / (1 - DECAY_FROM)))


def train(config: ProjectedTraining) -> Path:
    """Train, resuming what `config.out` holds; returns that folder, a checkpoint that `t2i.load` takes."""
    out, device = Path(config.out), best_device()
    keep_memory()
    text = Checkpoint(config.text).read("text_encoder")["text_encoder"].to(device)
    captioned = imagefolder.read(config.data, config.size * 9 // 8)  # photos are a ninth larger than the crops of them
    sources = {"data": captioned.digest(), "text": digest(text)}
    free = FREE if config.start else (*FREE, "start")  # a run that goes on need not name it again
    state = State(out / "state.pt", asdict(config), sources, free)
    if state.parts:
        config = replace(config, start=state.old["start"])
        state.config = asdict(config)
    corpus = load_corpus(captioned, text, config.size, config.batch, device)
    held_out = held_out_captions(captioned, text, device)
    trainer = Trainer(config, corpus, device)
    if state.parts:  # which has all that the run began with, wherever that is now
        trainer.load(state.parts)
    elif config.start:
        trainer.start(config.start)
    before = state.parts.get("before") if state.parts else config.start and Checkpoint(config.start).training("gan")
    history = {"before": before} if before else {}

    since, first = time.perf_counter(), state.step
    bar = tqdm(range(first, config.steps), desc="projected", unit="step", initial=first, total=config.steps)
    for step in bar:
        g = random(config.seed, step)
        batch = Batch.draw(corpus, config, trainer.generator.config.noise, g)
        torch.manual_seed(int(torch.randint(2**31, (), generator=g)))  # augmentation is drawn globally
        losses = trainer.step(batch, step)
        bar.set_postfix({name: f"{loss:.2f}" for name, loss in losses.items()})
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == config.steps:
            log(out, step=step + 1, **losses)
            generator, record = trainer.averaged(corpus), history | cost(state.parts, since)
            _export(config, generator, text, step + 1, record)
            sheet = sample_sheet(generator, held_out)
            store.write(out / f"samples-{step + 1:06}.png", lambda p: sheet.save(p, "PNG"))
            state.save(step + 1, trainer.state() | record)
    return out


def _export(config: ProjectedTraining, generator: CBNGenerator, text: nn.Module, steps: int, record: dict) -> None:
    described = {"attributes": STYLES} if config.attributes else {}
    run = {"trainer": "projected"} | shown(config) | {"steps_done": steps} | record
    save_checkpoint(Path(config.out), {"generator": generator}, config.text, text, described, run)


def _halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
