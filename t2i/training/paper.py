"""Train generator and discriminator on captioned pictures (section 4, Algorithm 1, section 5)."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import batch_norm
from tqdm import tqdm

from .. import store
from ..data import imagefolder
from ..data.cache import digest
from ..data.corpus import SCALED_SIZE, held_out_captions, load_corpus
from ..device import best_device, half_precision
from ..errors import InputError
from ..locate import Checkpoint
from ..models import (
    DCGANGenerator,
    DCGANGeneratorConfig,
    Discriminator,
    DiscriminatorConfig,
    StyleEncoder,
    StyleEncoderConfig,
    TextEncoder,
)
from .attributes import STYLES, attribute_loss, attribute_spread
from .checkpoints import cost, sample_sheet, save_checkpoint
from .fit import Average, State, keep_memory, log, random, shown
from .objectives import OBJECTIVES, mix, sameness
from .widen import fits, widen

SAVE_EVERY = 5  # epochs
PUSH, TEACH, TELL = 5.0, 4.0, 20.0  # weights of `sameness`, `attribute_loss` and of unread noise in G's loss
READ_RATE = 1e-3  # of the reader, which must follow what G does
TINY = 1e-12  # under a root, whose slope at 0 is infinite
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
    diversity: float = 0.7  # least difference of two seeds, as a share of that of two photos of one class; paper: 0
    information: float = 1.0  # how strongly G is held to noise that can be read from its pictures; paper: 0
    styles: float = 0.0  # how strongly the first coordinates of z are taught their names; paper: 0
    decay: float = 0.999  # of the averaged weights, which are those that are kept; paper: none
    seed: int = 0

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            raise InputError(f"unknown objective {self.objective!r}; allowed: {', '.join(OBJECTIVES)}")


class Trainer:
    """Both networks, their optimizers and the averaged generator; one `step` is one turn of Algorithm 1's loop."""

    def __init__(self, config: GanTraining, embedding: int, device: str, pairs: tuple[Tensor, Tensor]):
        self.config, self.device, self.objective = config, device, OBJECTIVES[config.objective]
        layout = {"device": device, "memory_format": torch.channels_last}
        self.least = config.diversity * pair_distance(torch.cat(pairs)).mean().item()
        self.scale = attribute_spread(*pairs)
        generator, discriminator = _first(config, embedding)
        self.generator = generator.to(**layout).train()
        self.discriminator = discriminator.to(**layout).train()
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
            "same": (sameness(pair_distance(pictures), self.least), PUSH),
            "unread": ((READ - self._heard(pictures, z)).relu(), TELL * config.information),
            "attributes": (attribute_loss(pictures, z, self.scale), TEACH * config.styles),
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

    def averaged(self) -> DCGANGenerator:
        """The averaged generator, in evaluation mode."""
        generator = DCGANGenerator(self.generator.config).to(self.device, memory_format=torch.channels_last)
        generator.load_state_dict(self.average.state)
        return generator.eval()


def pair_distance(x: Tensor) -> Tensor:
    """Root mean square differences (B,) of the first half of pictures (2 B, 3, S, S) from the second."""
    one, other = x.float().chunk(2)
    return (one - other).square().mean((1, 2, 3)).add(TINY).sqrt()


def train(config: GanTraining) -> Path:
    """Train, resuming what `config.out` holds; returns that folder, a checkpoint that `t2i.load` takes."""
    out = Path(config.out)
    device = best_device()
    keep_memory()
    text = Checkpoint(config.text).read("text_encoder")["text_encoder"].to(device)
    captioned = imagefolder.read(config.data, SCALED_SIZE)
    sources = {"data": captioned.digest(), "text": digest(text)}
    free = ("data", "text", "out", "epochs", *TUNED, *([] if config.start else ["start"]))  # known, if it is not named
    state = State(out / "state.pt", asdict(config), sources, free)
    if state.parts:
        config = replace(config, start=state.old["start"])
        state.config = asdict(config)
    corpus = load_corpus(captioned, text, DCGANGeneratorConfig().size, config.batch, device)
    held_out = held_out_captions(captioned, text, device)
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
        torch.manual_seed(int(torch.randint(2**31, (), generator=g)))  # the noise over what Q reads is drawn globally
        losses = trainer.step(x, h, wrong, z, step // per_epoch)
        trainer.average.update(trainer.generator, step)
        bar.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items()})
        if (step + 1) % per_epoch == 0:
            epoch = (step + 1) // per_epoch
            log(out, epoch=epoch, **losses)
            if epoch % SAVE_EVERY == 0 or epoch == config.epochs:
                record = history | cost(state.parts, since)
                _export(out, config, trainer, text, epoch, record)
                sheet = sample_sheet(trainer.averaged(), held_out)
                store.write(out / f"samples-{epoch:04}.png", lambda p: sheet.save(p, "PNG"))
                state.save(step + 1, trainer.state() | record)
    return out


def _history(config: GanTraining, state: State, epoch: int) -> dict[str, object]:
    """What went before this epoch, where anything did.

    `before`: how the weights were trained that the run began with. `earlier`: what settings of this run were until
    which epoch, those alone that were changed then.
    """
    before = state.parts.get("before") if state.parts else config.start and Checkpoint(config.start).training("gan")
    now, earlier = asdict(config), state.parts.get("earlier", [])
    if changed := {name: state.old[name] for name in TUNED if state.old.get(name, now[name]) != now[name]}:
        earlier = [*earlier, {"until_epoch": epoch} | changed]
    return {name: told for name, told in (("before", before), ("earlier", earlier)) if told}


def _export(out: Path, config: GanTraining, trainer: Trainer, text: TextEncoder, epoch: int, record: dict) -> None:
    """Write the checkpoint; `record` goes beside the run's configuration."""
    networks = {"generator": trainer.averaged(), "discriminator": trainer.discriminator}
    described = {"attributes": STYLES} if config.styles else {}
    save_checkpoint(out, networks, config.text, text, described, shown(config) | {"epochs_done": epoch} | record)


def _first(config: GanTraining, embedding: int) -> tuple[DCGANGenerator, Discriminator]:
    """The networks that training begins with: new ones, or those of `start`, widened where they are narrower."""
    torch.manual_seed(config.seed)
    sizes = {"width": config.width, "embedding": embedding}
    networks = ((DCGANGenerator, DCGANGeneratorConfig), (Discriminator, DiscriminatorConfig))
    wanted = tuple(network(described(**sizes)).apply(_initialise) for network, described in networks)
    if not config.start:
        return wanted
    checkpoint = Checkpoint(config.start)
    if not isinstance(checkpoint.read("generator")["generator"], DCGANGenerator):
        raise InputError(f"--start {config.start}: holds a generator of `train projected`; not of this trainer")
    found = checkpoint.read("generator", "discriminator").values()
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
