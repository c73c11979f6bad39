"""Train generator and discriminator on captioned pictures (section 4, Algorithm 1, section 5)."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import batch_norm
from tqdm import tqdm

from .. import checkpoint
from ..errors import InputError
from ..machine import best_device, hardware
from ..models import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    StyleEncoder,
    StyleEncoderConfig,
    TextEncoder,
    encode,
)
from . import data
from .losses import OBJECTIVES, mix, sameness
from .perception import Discriminators, Perception, apart
from .run import Average, State, digest, half_precision, keep_memory, kept, log, random, shown
from .styles import STYLES, disobedience, spread
from .text_encoder import embed, read_projection
from .widen import fits, widen

SCALED, SIZE = 76, 64  # pictures are scaled to 76, then cropped to 64 at random
SAVE_EVERY = 5  # epochs
PUSH, TEACH, TELL = 5.0, 4.0, 20.0  # weights of `sameness`, `disobedience` and of unread noise in G's loss
READ_RATE = 1e-3  # of the reader, which must follow what G does
TUNED = ("diversity", "information", "styles", "rate", "halve")  # what may change in the midst of a run
READ, BLUR = 0.7, 0.1  # correlation at which read noise is left alone; deviation of what is laid over the picture


@dataclass(frozen=True)
class GanTraining:
    """Everything that decides a run of `train gan`; where a default is not the paper's, its comment says so."""

    data: str
    text: str  # a folder with a trained text encoder, which is copied; or a registered model, whose own is shared
    out: str
    start: str = ""  # a checkpoint whose G and D training begins with, widened if narrower; none: random weights
    objective: str = "gan-int-cls"
    epochs: int = 600
    batch: int = 64
    rate: float = 2e-4
    halve: int = 100  # the rate is halved every so many epochs
    captions: int = 4  # h is the mean of one to so many captions of the picture (released code: always 4)
    width: int = 64  # n of both networks (released code: 128 of G)
    perception: bool = True  # whether frozen ImageNet features are judged too, beside the paper's D; paper: no
    diversity: float = 0.7  # least difference of two seeds, as a share of that of two photos of one class; paper: 0
    information: float = 1.0  # how strongly G is held to noise that can be read from its pictures; paper: 0
    styles: float = 0.0  # how strongly the first coordinates of z are taught their names; paper: 0
    decay: float = 0.999  # of the averaged weights, which are those that are kept; paper: none
    seed: int = 0

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise InputError(f"unknown objective {self.objective!r}; allowed: {', '.join(OBJECTIVES)}")


@dataclass(frozen=True)
class Corpus:
    """The training pictures with the embeddings of their captions, on the training device."""

    images: Tensor  # (N, 76, 76, 3) uint8
    embeddings: Tensor  # (N, C, 1024) float16, C the most captions of one picture
    counts: Tensor  # (N,) captions of each picture, on the CPU
    classes: Tensor  # (N,), on the CPU

    def pairs(self, count: int = 1000) -> tuple[Tensor, Tensor]:
        """Photos (count, 3, 64, 64) in -1…1, and as many others of their classes (any, if no class has two)."""
        g = torch.Generator().manual_seed(0)
        one = torch.randint(len(self.images), (count,), generator=g)
        other = torch.stack([self._mate(int(i), g) for i in one])
        return crops(self.images, one, g), crops(self.images, other, g)

    def _mate(self, row: int, g: torch.Generator) -> Tensor:
        mates = (self.classes == self.classes[row]).nonzero()[:, 0]
        mates = mates[mates != row] if len(mates) > 1 else torch.arange(len(self.classes))
        return mates[torch.randint(len(mates), (), generator=g)]

    def batch(self, size: int, captions: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, 64, 64) in -1…1, embeddings h (B, 1024) and mismatching ones (B, 1024)."""
        rows = torch.randperm(len(self.images), generator=g)[:size]
        wrong = torch.randint(len(self.images), (size,), generator=g)
        while (same := self.classes[wrong] == self.classes[rows]).any():
            wrong[same] = torch.randint(len(self.images), (int(same.sum()),), generator=g)
        h, other = (mean_captions(self.embeddings, self.counts, part, captions, g) for part in (rows, wrong))
        return crops(self.images, rows, g), h, other


def crops(images: Tensor, rows: Tensor, g: torch.Generator) -> Tensor:
    """Random windows of pictures `rows` (B,), half of them mirrored: (B, 3, 64, 64) in -1…1."""
    shift = torch.randint(SCALED - SIZE + 1, (2, len(rows), 1), generator=g)
    y, x = shift + torch.arange(SIZE)
    x = torch.where(torch.rand(len(rows), 1, generator=g) < 0.5, x, x.flip(1))
    pixels = images[rows[:, None, None], y[:, :, None], x[:, None, :]]
    return (pixels.float() / 127.5 - 1).permute(0, 3, 1, 2)  # channels-last without a copy


@torch.inference_mode()
def load_corpus(
    config: GanTraining, captioned: data.Captioned, text: TextEncoder, device: str
) -> tuple[Corpus, Tensor]:
    """The training part of the data set, and embeddings (8, 1024) of captions held out for the sample grid."""
    rows = captioned.training(least=config.batch)
    classes = torch.from_numpy(captioned.classes[rows])
    if len(classes.unique()) < 2:
        raise InputError(f"{config.data}: needs training pictures of at least two classes for mismatching captions")
    counts = torch.tensor([len(captioned.captions[i]) for i in rows])
    embeddings = embed_all(text, [captioned.captions[i] for i in rows], device)
    shown = captioned.rows("test") if len(captioned.rows("test")) else rows
    shown = shown[np.linspace(0, len(shown) - 1, 8).astype(int)]
    held_out = embed(text, encode([captioned.captions[i][0] for i in shown], text.config.length).to(device))
    images = torch.from_numpy(captioned.images[rows])
    return Corpus(images.to(device), embeddings.to(device), counts, classes), held_out.cpu()


def embed_all(text: TextEncoder, captions: list[tuple[str, ...]], device: str) -> Tensor:
    """Embeddings (N, C, 1024) float16 of each picture's captions, zero where it has fewer; kept for all trainings."""

    def made() -> Tensor:
        found = torch.zeros(len(captions), max(map(len, captions)), text.config.embedding, dtype=torch.float16)
        for start in tqdm(range(0, len(captions), 32), desc="captions", unit="batch"):
            part = captions[start : start + 32]
            codes = encode([c for one in part for c in one], text.config.length)
            rows = embed(text, codes.to(device)).half().cpu().split([len(one) for one in part])
            for place, row in enumerate(rows, start):
                found[place, : len(row)] = row
        return found

    return kept("embeddings", digest(captions, text), made)


def mean_captions(embeddings: Tensor, counts: Tensor, rows: Tensor, most: int, g: torch.Generator) -> Tensor:
    """Embeddings h (B, 1024) of pictures `rows` (B,), each the mean of one to `most` of its captions.

    Of `embed_all`'s embeddings (N, C, 1024), a picture has the first `counts` (N,).
    """
    picked = (torch.rand(most, len(rows), generator=g) * counts[rows]).long()
    used = (torch.arange(most)[:, None] < torch.randint(1, most + 1, (len(rows),), generator=g)).float()
    share = (used / used.sum(0)).to(embeddings.device)
    return (embeddings[rows, picked].float() * share[..., None]).sum(0)


class Trainer:
    """Both networks, their optimizers and the averaged generator; one `step` is one turn of Algorithm 1's loop."""

    def __init__(self, config: GanTraining, embedding: int, device: str, pairs: tuple[Tensor, Tensor]):
        self.config, self.device, self.objective = config, device, OBJECTIVES[config.objective]
        layout = {"device": device, "memory_format": torch.channels_last}
        photos = torch.cat(pairs).to(**layout)
        self.scale = spread(*pairs)
        self.see = Perception(photos) if config.perception else lambda x: [x]
        with torch.no_grad():
            halves = zip(*(part.split(64) for part in photos.chunk(2)))
            differences = torch.cat([apart(self.see(torch.cat(both))) for both in halves])
        self.least = config.diversity * differences.mean().item()
        generator, discriminator = _first(config, embedding)
        self.generator = generator.to(**layout).train()
        self.discriminator = Discriminators(discriminator, self.see if config.perception else None)
        self.discriminator.to(**layout).train()
        self.reader = StyleEncoder(StyleEncoderConfig(generator.config.noise, 16)).to(**layout).train()
        self.average = Average(self.generator, config.decay)
        networks = (self.discriminator, self.generator)
        self.optimizers = [torch.optim.Adam(n.parameters(), config.rate, (0.5, 0.999), fused=True) for n in networks]
        self.optimizers[1].add_param_group({"params": self.reader.parameters(), "lr": READ_RATE})

    def step(self, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor, epoch: int) -> dict[str, float]:
        """Update D, then G, on one batch; returns their losses, D and G, and those that G's has beside."""
        turns = self.objective(self.generator, self.discriminator, x, h, wrong, z)
        found = {}
        for name, optimizer, learning in zip("DG", self.optimizers, (True, False)):
            self.discriminator.requires_grad_(learning)  # G's turn needs no gradient of D's weights
            optimizer.param_groups[0]["lr"] = self.config.rate * 0.5 ** (epoch // self.config.halve)
            optimizer.zero_grad()
            with half_precision(self.device):
                loss = next(turns)
                found[name] = loss.item()
                if not learning:
                    beside = self._style(z, h)
                    found |= {name: part.item() for name, (part, _) in beside.items()}
                    loss = loss + sum(part * weight for part, weight in beside.values())
            loss.backward()
            optimizer.step()
        return found

    def _style(self, z: Tensor, h: Tensor) -> dict[str, tuple[Tensor, float]]:
        """What noise has to do, on two pictures of every eighth caption, or of eight: losses and their weights."""
        config = self.config
        if not (config.diversity or config.information or config.styles):
            return {}
        if "int" in config.objective:  # taught at people's captions alone, noise did nothing halfway
            h = torch.cat([h, mix(h)])
        every = min(8, max(1, len(h) // 8))  # of few pictures a correlation would be chance
        twice = h[::every][: len(z) // 2].repeat(2, 1)
        z = z[: len(twice)]
        pictures = self.generator(z, twice)
        return {
            "same": (sameness(apart(self.see(pictures)), self.least), PUSH),
            "unread": ((READ - self._heard(pictures, z)).relu(), TELL * config.information),
            "disobedience": (disobedience(pictures, z, self.scale), TEACH * config.styles),
        }

    def _heard(self, pictures: Tensor, z: Tensor) -> Tensor:
        """Correlation of the noise z (B, 100) with what the reader reads of it in pictures (B, 3, 64, 64).

        A correlation, not an error: of a G that is deaf to z, the least error has a reader that says nothing, and of
        that no gradient is left that could teach G to hear.
        """
        read = self.reader(pictures + BLUR * torch.randn(pictures.shape, device=pictures.device)).float()
        return (batch_norm(read, None, None, training=True) * z).mean()

    def state(self) -> dict[str, dict]:
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "reader": self.reader.state_dict(),
            "average": self.average.state,
            "adam_d": self.optimizers[0].state_dict(),
            "adam_g": self.optimizers[1].state_dict(),
        }

    def load(self, state: dict[str, dict]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.reader.load_state_dict(state["reader"])
        self.average.load(state["average"])
        self.optimizers[0].load_state_dict(state["adam_d"])
        self.optimizers[1].load_state_dict(state["adam_g"])

    def averaged(self) -> Generator:
        """The averaged generator, in evaluation mode."""
        generator = Generator(self.generator.config).to(self.device, memory_format=torch.channels_last)
        generator.load_state_dict(self.average.state)
        return generator.eval()


def train(config: GanTraining) -> Path:
    """Train, resuming what `config.out` holds; returns that folder, a checkpoint that `t2i.load` takes."""
    out = Path(config.out)
    device = best_device()
    keep_memory()
    text = checkpoint.read(checkpoint.resolve(config.text), "text_encoder")["text_encoder"].to(device)
    captioned = data.read(config.data, SCALED)
    sources = {"data": captioned.digest(), "text": digest(text)}
    free = ("data", "text", "out", "epochs", *TUNED, *([] if config.start else ["start"]))  # known, if it is not named
    state = State(out / "state.pt", asdict(config), sources, free)
    if state.parts:
        config = replace(config, start=state.old["start"])
        state.config = asdict(config)
    corpus, held_out = load_corpus(config, captioned, text, device)
    per_epoch = len(corpus.images) // config.batch
    first, total = state.step, config.epochs * per_epoch
    history = _history(config, state, first // per_epoch)
    start = "" if state.parts else config.start  # a state has all that the run began with, wherever that is now
    trainer = Trainer(replace(config, start=start), text.config.embedding, device, corpus.pairs())
    if state.parts:
        trainer.load(state.parts)

    since = time.perf_counter()
    bar = tqdm(range(first, total), desc=config.objective, unit="step", initial=first, total=total)
    for step in bar:
        g = random(config.seed, step)
        x, h, wrong = corpus.batch(config.batch, config.captions, g)
        z = torch.randn(config.batch + config.batch // 2, trainer.generator.config.noise, generator=g).to(device)
        torch.manual_seed(int(torch.randint(2**31, (), generator=g)))  # what disturbs pictures is drawn globally
        losses = trainer.step(x, h, wrong, z, step // per_epoch)
        trainer.average.update(trainer.generator, step)
        bar.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items()})
        if (step + 1) % per_epoch == 0:
            epoch = (step + 1) // per_epoch
            log(out, epoch=epoch, **losses)
            if epoch % SAVE_EVERY == 0 or epoch == config.epochs:
                record = history | _cost(state.parts, since)
                _export(out, config, trainer, text, epoch, record)
                sheet = _sheet(trainer.averaged(), held_out)
                checkpoint.write(out / f"samples-{epoch:04}.png", lambda p: sheet.save(p, "PNG"))
                state.save(step + 1, trainer.state() | record)
    return out


def _history(config: GanTraining, state: State, epoch: int) -> dict[str, object]:
    """What went before this epoch, where anything did.

    `before`: how the weights were trained that the run began with. `earlier`: what settings of this run were until
    which epoch, those alone that were changed then.
    """
    before = state.parts.get("before") if state.parts else config.start and _record(config.start, "gan")
    now, earlier = asdict(config), state.parts.get("earlier", [])
    if changed := {name: state.old[name] for name in TUNED if state.old.get(name, now[name]) != now[name]}:
        earlier = [*earlier, {"until_epoch": epoch} | changed]
    return {name: told for name, told in (("before", before), ("earlier", earlier)) if told}


def _cost(before: dict, since: float) -> dict[str, object]:
    """Seconds and hardware of a run, all its resumptions together; nothing if those before did not keep them."""
    if before and "seconds" not in before:
        return {}
    places = dict.fromkeys([*before.get("hardware", "").split("; "), hardware()])
    seconds = before.get("seconds", 0) + round(time.perf_counter() - since)
    return {"seconds": seconds, "hardware": "; ".join(filter(None, places))}


def _export(
    out: Path, config: GanTraining, trainer: Trainer, text: TextEncoder, epoch: int, record: dict[str, object]
) -> None:
    """Write the checkpoint; `record` goes beside the run's configuration."""
    networks = {"generator": trainer.averaged(), "discriminator": trainer.discriminator.paper}
    shared, beside = {}, {}
    if config.text in checkpoint.MODELS:
        shared = checkpoint.shared(config.text)
    else:
        networks["text_encoder"] = text
        folder = checkpoint.home(checkpoint.resolve(config.text), "text_encoder")
        shared = {"words": " ".join(sorted(checkpoint.read_words(folder)))}
        if (folder / "image_projection.safetensors").exists():  # by which `evaluate` measures retrieval
            beside = {"image_projection": read_projection(folder)}
    described = shared | {name: asdict(network.config) for name, network in networks.items()}
    if config.styles:
        described["styles"] = STYLES
    run = shown(config) | {"epochs_done": epoch} | record
    training = {"text_encoder": _record(config.text, "text_encoder"), "gan": run}
    checkpoint.save(out, networks | beside, described | {"training": training})


def _record(model: str, training: str) -> dict | None:
    return checkpoint.read_config(checkpoint.resolve(model)).get("training", {}).get(training)


@torch.inference_mode()
def _sheet(generator: Generator, h: Tensor, seeds: int = 8) -> Image.Image:
    """A row a caption, a column a seed."""
    device = next(generator.parameters()).device
    z = torch.randn(seeds, generator.config.noise, generator=torch.Generator().manual_seed(0))
    rows: Iterator[Tensor] = (generator(z.to(device), row.expand(seeds, -1).to(device)) for row in h)
    pixels = torch.cat([torch.cat(list(row), 2) for row in rows], 1)
    return Image.fromarray((pixels * 127.5 + 128).clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy())


def _first(config: GanTraining, embedding: int) -> tuple[Generator, Discriminator]:
    """The networks that training begins with: new ones, or those of `start`, widened where they are narrower."""
    torch.manual_seed(config.seed)
    sizes = {"width": config.width, "embedding": embedding}
    networks = ((Generator, GeneratorConfig), (Discriminator, DiscriminatorConfig))
    wanted = tuple(network(described(**sizes)).apply(_initialise) for network, described in networks)
    if not config.start:
        return wanted
    found = checkpoint.read(checkpoint.resolve(config.start), "generator", "discriminator").values()
    if all(fits(*both) for both in zip(found, wanted)):
        return tuple(widen(old, new, config.seed) for old, new in zip(found, wanted))
    held, asked = (tuple(network.config for network in both) for both in (found, wanted))
    raise InputError(
        f"--start {config.start}: holds {held}, but --width and --text ask for {asked}; width may double at most"
    )


def _initialise(module: torch.nn.Module) -> None:
    """DC-GAN's start: convolutions from N(0, 0.02²), batch norm gains from N(1, 0.02²)."""
    if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
        torch.nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(module.weight, 1, 0.02)
