"""Train the 128-pixel generator against heads on frozen features: a text-conditional Projected GAN.

The paper's objectives (section 4: real or fake, matching or mismatching captions, interpolated captions), with a
projected discriminator (Sauer et al. 2021) instead of the paper's. The other parts, each with what happens without it:

- The heads get two views of a picture. With the whole picture alone they judge its shape, and detail is never learned.
- A quarter of the fakes has no caption, and each caption is drawn twice, with a least distance between its two
  pictures (mode seeking, Mao et al. 2019). Without both, G ignores its noise within 400 steps.
- The attribute loss and the mutual-information loss (InfoGAN, Chen et al. 2016) begin late and take a 16×16 version of
  the picture. When they begin earlier or are stronger, they spoil the pictures, which look embossed.
- The features of the fakes are computed once a step: D's turn uses them detached, and G's turn differentiates them
  after D's update, since the feature network itself does not change.
- Batch norm's statistics are measured with the averaged weights; those of the weights in training differ.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from ..data import imagefolder
from ..data.augment import diff_augment, to_view
from ..data.cache import digest
from ..data.corpus import Corpus, held_out_embeddings, load_corpus
from ..device import best_device, computes_bfloat16, half_precision, to_channels_last
from ..errors import InputError
from ..locate import Checkpoint
from ..models import StyleEncoder, StyleEncoderConfig, TextEncoder
from ..models.cbn_generator import CBNGenerator, CBNGeneratorConfig
from ..models.projected_discriminator import PixelDiscriminator, ProjectedDiscriminator
from ..registry import OBJECTIVES, check_objective
from .attributes import attribute_loss, attribute_scale
from .distributed import Processes, process_group
from .feature_network import CHANNELS, FeatureNetwork
from .fit import (
    PATHS,
    RunState,
    keep_freed_memory,
    public_config,
    run_steps,
    save_checkpoint,
    save_samples,
    step_generator,
    training_before,
)
from .objectives import Q_INPUT_NOISE, Q_LR, diversity_loss, mutual_information_loss

SAVE_EVERY = 200  # steps
UNCAPTIONED_SHARE = 0.25  # of the fakes
INTERPOLATED_SHARE = 0.25  # of the captions
DIVERSITY_WEIGHT, INFORMATION_WEIGHT, PIXEL_WEIGHT = 5.0, 4.0, 0.5  # of these losses in G's
TARGET_CORRELATION = 0.4  # of noise with Q's estimate of it, from which on the mutual-information loss is 0
RAMP_START, RAMP_STEPS = 1500, 1000  # steps over which the attribute and mutual-information losses set in
LR_DECAY_START = 0.75  # share of the steps from which on the learning rates fall
LR_DECAY_TO = 0.1  # share of the learning rates that is left at the end
STATISTICS_BATCHES = 24  # on which batch norm's statistics are measured
EPSILON = 1e-8  # under a root, whose slope at 0 is infinite
FROZEN_STEPS = 200  # in which a G that starts from a checkpoint does not learn, because D's heads are new
MIN_SHARE = 4  # pictures of a batch for each process
CHANGEABLE = ("data", "text", "out", "steps")  # when a run is resumed


@dataclass(frozen=True)
class ProjectedTraining:
    """The configuration of `train projected`."""

    data: str
    text: str  # a folder with a trained text encoder, which is copied; or a registered model, whose own is shared
    out: str
    start: str = ""  # a model of this trainer whose G to start from, as for your own data; none: random weights
    objective: str = "gan-int-cls"
    steps: int = 10_000
    batch: int = 64
    size: int = 128  # pixels along a side
    lr: float = 2e-4  # of G
    lr_d: float = 4e-4
    captions: int = 4  # h is the mean of one to so many captions of the picture
    diversity: float = 0.8  # least distance of a caption's two pictures, as a share of that of a class's photos
    information: float = 1.0  # weight of the mutual-information loss of noise and picture (InfoGAN)
    attributes: float = 1.0  # weight of the loss that teaches the first coordinates of z the attributes
    ema_decay: float = 0.999  # of the averaged weights of G, which are those that are saved
    seed: int = 0

    def __post_init__(self):
        check_objective(self.objective)
        try:
            CBNGeneratorConfig(size=self.size)
        except ValueError as error:
            raise InputError(str(error)) from None


@dataclass(frozen=True)
class Batch:
    """The data of one step. The fakes are, in this order, of no caption, then of each caption, then of each again."""

    photos: Tensor  # (B, 3, S, S) in -1…1
    matching: Tensor  # (B, E) captions of the photos
    mismatching: Tensor  # (B, E) captions of photos of other classes
    h: Tensor  # (B, E) captions of the fakes, zeros where there is none
    z: Tensor  # (B, Z)
    pairs: int  # captions, each of two fakes; the first `interpolated` of them are interpolated
    interpolated: int

    @classmethod
    def sample(cls, corpus: Corpus, config: ProjectedTraining, noise: int, g: torch.Generator) -> "Batch":
        """A random batch for noise of size Z."""
        rows, fake_rows = (torch.randint(len(corpus), (config.batch,), generator=g) for _ in range(2))
        pairs = int(config.batch * (1 - UNCAPTIONED_SHARE) / 2)
        interpolated = 0
        if OBJECTIVES[config.objective].interpolated and pairs > 1:
            interpolated = max(1, int(pairs * INTERPOLATED_SHARE))
        h = corpus.captions(fake_rows[:pairs], config.captions, g)
        share = torch.rand(interpolated, 1, generator=g).to(h.device)
        second = h[torch.randperm(pairs, generator=g)[:interpolated]]
        h = torch.cat([share * h[:interpolated] + (1 - share) * second, h[interpolated:]])
        return cls(
            photos=corpus.crops(rows, g),
            matching=corpus.captions(rows, config.captions, g),
            mismatching=corpus.captions(corpus.mismatched(rows, g), config.captions, g),
            h=torch.cat([h.new_zeros(config.batch - 2 * pairs, h.shape[1]), h, h]),
            z=torch.randn(config.batch, noise, generator=g).to(h.device),
            pairs=pairs,
            interpolated=interpolated,
        )

    @property
    def uncaptioned(self) -> int:
        return len(self.h) - 2 * self.pairs

    def not_interpolated(self) -> Tensor:
        """Indices of the fakes with a photo's own caption. D has no photos to compare with for interpolated ones."""
        first = torch.arange(self.uncaptioned + self.interpolated, self.uncaptioned + self.pairs, device=self.h.device)
        return torch.cat([first, first + self.pairs])


class DiscriminatorLoss(nn.Module):
    """D's hinge losses: real or fake, with and without captions, and (CLS) photos with mismatching captions."""

    def __init__(self, discriminator: ProjectedDiscriminator, pixels: PixelDiscriminator, mismatching: bool):
        super().__init__()
        self.discriminator, self.pixels, self.mismatching = discriminator, pixels, mismatching

    def forward(
        self,
        batch: Batch,
        photo_maps: list[Tensor],
        photo_views: list[Tensor],
        fake_maps: list[Tensor],
        fake_views: list[Tensor],
    ) -> Tensor:
        d, rows = self.discriminator, batch.not_interpolated()
        photos, fakes = d.trunks(photo_maps), d.trunks(fake_maps)
        loss = hinge_real(d.scores(photos)) + hinge_fake(d.scores(fakes)) + hinge_real(d.scores(photos, batch.matching))
        mismatching = hinge_fake(d.scores([x[rows] for x in fakes], batch.h[rows]))
        if self.mismatching:
            mismatching = (mismatching + hinge_fake(d.scores(photos, batch.mismatching))) / 2  # Algorithm 1, line 10
        for score in self.pixels(*photo_views):
            loss = loss + hinge_real(score)
        for score in self.pixels(*fake_views):
            loss = loss + hinge_fake(score)
        return loss + mismatching


class Trainer:
    """The networks, their optimizers and the EMA of the generator; one `step` is D's turn, then G's."""

    def __init__(self, config: ProjectedTraining, corpus: Corpus, device: str, processes: Processes = Processes()):
        self.config, self.device = config, device
        embedding = corpus.embeddings.shape[2]
        torch.manual_seed(config.seed)
        sizes = CBNGeneratorConfig(size=config.size, embedding=embedding)
        self.generator = to_channels_last(CBNGenerator(sizes), device)
        self.ema = to_channels_last(CBNGenerator(sizes), device).requires_grad_(False)
        self.ema.load_state_dict(self.generator.state_dict())
        self.discriminator = to_channels_last(ProjectedDiscriminator(CHANNELS, embedding), device)
        self.pixels = to_channels_last(PixelDiscriminator(), device)
        self.q_network = to_channels_last(StyleEncoder(StyleEncoderConfig(sizes.noise, 16)), device)
        d_loss = DiscriminatorLoss(self.discriminator, self.pixels, OBJECTIVES[config.objective].mismatching)
        self.d_loss_parallel = processes.average_gradients(d_loss)
        self.g_parallel = processes.average_gradients(self.generator)
        self.q_parallel = processes.average_gradients(self.q_network)
        d_parameters = [*self.discriminator.heads.parameters(), *self.pixels.parameters()]
        self.optimizers = {
            "d": torch.optim.Adam(d_parameters, config.lr_d, (0.0, 0.99), fused=True),
            "g": torch.optim.Adam(self.generator.parameters(), config.lr, (0.0, 0.99), fused=True),
            "q": torch.optim.Adam(self.q_network.parameters(), Q_LR, fused=True),
        }
        self.features = FeatureNetwork(torch.bfloat16 if computes_bfloat16(torch.device(device)) else torch.float32)
        self.features.to(device)
        self._measure_photos(*(photos.to(device) for photos in corpus.pairs(512)))

    @torch.no_grad()
    def _measure_photos(self, first: Tensor, second: Tensor) -> None:
        """Standardise the features, and measure how much two photos (N, 3, S, S) of one class differ."""
        self.features.standardise([diff_augment(photos)[0] for photos in first.split(64)])
        distances = []
        for pair in zip(first.split(32), second.split(32)):
            count = len(pair[0])
            distances.append(pair_distance(self.features(diff_augment(torch.cat(pair), count)[0]), count))
        self.min_distance = self.config.diversity * torch.cat(distances).mean().item()
        self.attribute_scale = attribute_scale(to_view(first), to_view(second))

    def start(self, model: str) -> None:
        """Begin with the generator of a model; `InputError` if it is of another type or other sizes."""
        generator = Checkpoint(model).read("generator")["generator"]
        if type(generator) is not CBNGenerator:
            raise InputError(f"--start {model}: holds a generator of the paper's trainer, `train gan`; not of this one")
        if generator.config != self.generator.config:
            sizes = f"{generator.config}, but --size and --text ask for {self.generator.config}"
            raise InputError(f"--start {model}: holds {sizes}")
        for network in (self.generator, self.ema):
            network.load_state_dict(generator.state_dict())

    def step(self, batch: Batch, step: int) -> dict[str, float]:
        """Update D, then G and Q, on one batch; returns this process's losses by name."""
        lr = self.config.lr if step >= FROZEN_STEPS or not self.config.start else 0.0
        for optimizer, base_lr in zip(self.optimizers.values(), (self.config.lr_d, lr, Q_LR)):
            optimizer.param_groups[0]["lr"] = base_lr * lr_factor(step / self.config.steps)
        with half_precision(self.device):
            with torch.no_grad():
                photo_views = diff_augment(batch.photos)
                photo_maps = self.discriminator.mix([self.features(view) for view in photo_views])
            fakes = self.g_parallel(batch.z, batch.h).float()
            fake_views = diff_augment(fakes, batch.pairs)
            features = [self.features(view) for view in fake_views]  # once, for both turns
            fake_maps = self.discriminator.mix(features)
            self._set_d_trainable(True)
            detached = ([x.detach() for x in part] for part in (fake_maps, fake_views))
            d_loss = self.d_loss_parallel(batch, photo_maps, photo_views, *detached)
        self._update(d_loss, "d")
        with half_precision(self.device):
            g_losses = self._g_losses(batch, fakes, features[0], fake_maps, fake_views, step)
        first, *others = g_losses.values()
        self._update(sum(others, first), "g", "q")
        self._update_ema(step)
        return {name: loss.item() for name, loss in ({"D": d_loss} | g_losses).items()}

    def _g_losses(
        self,
        batch: Batch,
        fakes: Tensor,
        features: list[Tensor],
        fake_maps: list[Tensor],
        fake_views: list[Tensor],
        step: int,
    ) -> dict[str, Tensor]:
        """G's weighted losses by name. Interpolated captions are treated as any other (INT, equation 5)."""
        d, config, captioned = self.discriminator, self.config, slice(batch.uncaptioned, None)
        self._set_d_trainable(False)
        trunks = d.trunks(fake_maps)
        loss = -d.scores(trunks).mean() - d.scores([x[captioned] for x in trunks], batch.h[captioned]).mean()
        loss = loss - PIXEL_WEIGHT * sum(score.mean() for score in self.pixels(*fake_views))
        ramp = min(1.0, max(0.0, (step - RAMP_START) / RAMP_STEPS))
        small = to_view(fakes)
        attributes = attribute_loss(small[captioned], batch.z[captioned], self.attribute_scale)
        information = mutual_information_loss(self._estimate_noise(small), batch.z, TARGET_CORRELATION)
        distance = pair_distance(features, batch.pairs)
        return {
            "G": loss,
            "diversity": DIVERSITY_WEIGHT * diversity_loss(distance, self.min_distance),
            "attributes": ramp * config.attributes * attributes,
            # 1e-3, so that Q learns from the beginning
            "information": (INFORMATION_WEIGHT * ramp * config.information + 1e-3) * information,
        }

    def _estimate_noise(self, pictures: Tensor) -> Tensor:
        """Q's estimate of the noise (B, Z) from 16×16 versions of pictures (B, 3, 64, 64)."""
        coarse = interpolate(avg_pool2d(pictures, 4), scale_factor=4.0, mode="bilinear", align_corners=False)
        return self.q_parallel(coarse + Q_INPUT_NOISE * torch.randn(coarse.shape).to(coarse))

    def _set_d_trainable(self, trainable: bool) -> None:
        """Whether gradients of D's weights are computed: G's turn needs none."""
        self.discriminator.heads.requires_grad_(trainable)
        self.pixels.requires_grad_(trainable)

    def _update(self, loss: Tensor, *names: str) -> None:
        for name in names:
            self.optimizers[name].zero_grad()
        loss.backward()
        for name in names:
            self.optimizers[name].step()

    @torch.no_grad()
    def _update_ema(self, step: int) -> None:
        decay = min(self.config.ema_decay, 1 - 1 / (step / 10 + 2))  # early weights fade soon
        for average, new in zip(self.ema.parameters(), self.generator.parameters()):
            average.lerp_(new, 1 - decay)

    @torch.no_grad()
    def averaged(self, corpus: Corpus) -> CBNGenerator:
        """The generator with its averaged weights and batch norm's statistics of those, in evaluation mode."""
        for norm in self.ema.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.reset_running_stats()
                norm.momentum = None  # the plain mean over all batches
        self.ema.train()
        g = step_generator(self.config.seed, -1)
        with half_precision(self.device):
            for _ in range(STATISTICS_BATCHES):
                h = corpus.captions(torch.randint(len(corpus), (self.config.batch,), generator=g), 1, g)
                self.ema(torch.randn(len(h), self.ema.config.noise, generator=g).to(h.device), h)
        return self.ema.eval()

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """All weights in half precision, without Adam's moments: small enough to be published.

        A resumed run is therefore not exactly the uninterrupted one. D's and G's Adam has no first moment, and the
        second moments are measured anew within some hundred steps.
        """
        return {name: _to_half(network.state_dict()) for name, network in self._networks().items()}

    def load_state_dict(self, state: dict[str, dict[str, Tensor]]) -> None:
        for name, network in self._networks().items():
            network.load_state_dict(state[name])

    def _networks(self) -> dict[str, nn.Module]:
        return {
            "generator": self.generator,
            "ema": self.ema,
            "discriminator": self.discriminator,
            "pixels": self.pixels,
            "q": self.q_network,
        }


def hinge_real(score: Tensor) -> Tensor:
    """The hinge loss of D for "real" or "matching"."""
    return relu(1 - score).mean()


def hinge_fake(score: Tensor) -> Tensor:
    """The hinge loss of D for "fake" or "mismatching"."""
    return relu(1 + score).mean()


def pair_distance(maps: list[Tensor], pairs: int) -> Tensor:
    """Distances (pairs,) of the last `pairs` pictures from those before them, in the three deepest maps."""
    differences = ((m[-pairs:] - m[-2 * pairs : -pairs]).float() for m in maps[-3:])
    return torch.stack([d.square().mean((1, 2, 3)).add(EPSILON).sqrt() for d in differences]).mean(0)


def lr_factor(progress: float) -> float:
    """What a learning rate is multiplied by at a progress of 0…1: it falls linearly over the last quarter."""
    return 1 - (1 - LR_DECAY_TO) * max(0.0, min(1.0, (progress - LR_DECAY_START) / (1 - LR_DECAY_START)))


def train(config: ProjectedTraining) -> Path:
    """Train, or resume the run in `config.out`; returns that folder, a checkpoint that `t2i.load` takes.

    The processes that torchrun has started each take their share of every batch.
    """
    with process_group() as processes:
        return _train(config, processes)


def _train(config: ProjectedTraining, processes: Processes) -> Path:
    out, device = Path(config.out), best_device()
    keep_freed_memory()

    def prepare() -> tuple[TextEncoder, RunState, Corpus, Tensor, list[str]]:
        text = Checkpoint(config.text).read("text_encoder")["text_encoder"].to(device)
        dataset = imagefolder.read(config.data, config.size * 9 // 8)  # photos are an eighth larger than the crops
        sources = {"data": dataset.digest(), "text": digest(text)}
        # A resumed run need not name its start again: its state has all that it began with.
        changeable = CHANGEABLE if config.start else (*CHANGEABLE, "start")
        state = RunState(out / "state.pt", asdict(config), sources, changeable)
        corpus = load_corpus(dataset, text, config.size, 1, device)  # fewer photos than a batch will do
        if len(corpus) < processes.count:
            photos = f"{len(corpus)} training pictures"
            raise InputError(f"{dataset.name}: has {photos}, fewer than the {processes.count} processes: start fewer")
        return text, state, corpus, held_out_embeddings(dataset, text, device), dataset.examples()

    processes.check_alike({f"--{k}": v for k, v in asdict(config).items() if k not in PATHS})
    share = replace(config, batch=share_of(config.batch, processes.count))
    text, state, corpus, held_out, examples = processes.prepare(prepare)
    processes.check_alike({f"--{k}": digest for k, digest in state.sources.items()} | {"--out": state.step})
    if state.parts:
        config = replace(config, start=state.saved_config["start"])
        state.config = asdict(config)
    trainer = Trainer(config, corpus, device, processes)
    if state.parts:
        trainer.load_state_dict(state.parts)
    elif config.start:
        trainer.start(config.start)
    before = training_before(state, config.start)
    history = {"before": before} if before else {}

    def step(i: int, g: torch.Generator) -> dict[str, float]:
        g = processes.generator(g)
        batch = Batch.sample(corpus, share, trainer.generator.config.noise, g)
        torch.manual_seed(int(torch.randint(2**31, (), generator=g)))  # augmentation is drawn globally
        return trainer.step(batch, i)

    def export(done: int, cost: dict) -> dict[str, float]:
        generator = trainer.averaged(corpus)
        group = {"processes": processes.count} if processes.count > 1 else {}
        run = {"trainer": "projected"} | public_config(config) | {"steps_done": done} | group | history | cost
        has_attributes = bool(config.attributes) and (done > RAMP_START or bool(before.get("attributes")))
        mean = corpus.mean_caption()
        save_checkpoint(out, {"generator": generator}, config.text, text, run, examples, has_attributes, mean)
        save_samples(out / f"samples-{done:06}.png", generator, held_out)
        return {}

    def parts() -> dict:
        return trainer.state_dict() | history

    run_steps(state, "projected", config.steps, SAVE_EVERY, step, export, parts, processes=processes)
    return out


def share_of(batch: int, processes: int) -> int:
    """The pictures of a batch for each process; `InputError` if they are not as many for all, or fewer than four."""
    if batch % processes or batch < MIN_SHARE * processes:
        sizes = f"a multiple of their number, with at least {MIN_SHARE} for each"
        raise InputError(f"--batch {batch} cannot be divided among {processes} processes: it must be {sizes}")
    return batch // processes


def _to_half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
