"""Train the paper's generator and discriminator on captioned pictures (section 4, Algorithm 1, section 5)."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..data import imagefolder
from ..data.cache import digest
from ..data.corpus import held_out_embeddings, load_corpus, photo_size
from ..device import best_device, half_precision, to_channels_last
from ..errors import InputError
from ..locate import Checkpoint
from ..models import (
    DCGANGenerator,
    DCGANGeneratorConfig,
    Discriminator,
    DiscriminatorConfig,
    StyleEncoder,
    StyleEncoderConfig,
)
from ..registry import OBJECTIVES, check_objective
from .attributes import attribute_loss, attribute_scale
from .fit import (
    EMA,
    RunState,
    keep_freed_memory,
    public_config,
    run_steps,
    save_checkpoint,
    save_samples,
    training_before,
)
from .objectives import LOSSES, Q_INPUT_NOISE, Q_LR, diversity_loss, interpolate, mutual_information_loss
from .widen import can_widen, widen

SAVE_EVERY = 5  # epochs
DIVERSITY_WEIGHT, INFORMATION_WEIGHT, ATTRIBUTE_WEIGHT = 5.0, 20.0, 4.0  # of these losses in G's
TARGET_CORRELATION = 0.7  # of noise with Q's estimate of it, from which on the mutual-information loss is 0
EPSILON = 1e-12  # under a root, whose slope at 0 is infinite
TUNABLE = ("diversity", "information", "attributes", "lr", "lr_halve_every")  # may change when a run is resumed


@dataclass(frozen=True)
class GanTraining:
    """The configuration of `train gan`. Where a default is not the paper's, its comment says so."""

    data: str
    text: str  # a folder with a trained text encoder, which is copied; or a registered model, whose own is shared
    out: str
    start: str = ""  # a checkpoint whose G and D to start from, widened if they are narrower; none: random weights
    objective: str = "gan-int-cls"
    epochs: int = 600
    batch: int = 64
    lr: float = 2e-4
    lr_halve_every: int = 100  # epochs
    captions: int = 4  # h is the mean of one to so many captions of the picture (released code: always 4)
    width: int = 64  # n of both networks (released code: 128 of G)
    diversity: float = 0.7  # least distance of a caption's pictures, as a share of that of a class's photos; paper: 0
    information: float = 1.0  # weight of the mutual-information loss of noise and picture (InfoGAN); paper: 0
    attributes: float = 0.0  # weight of the loss that teaches the first coordinates of z the attributes; paper: 0
    ema_decay: float = 0.999  # of the averaged weights of G, which are those that are saved; paper: none
    seed: int = 0

    def __post_init__(self):
        check_objective(self.objective)


class Trainer:
    """Both networks, the Q network, their optimizers, and G's EMA; `step` is one iteration of Algorithm 1's loop.

    `photo_pairs`: two batches (N, 3, 64, 64) of photos in -1…1; photo i of both is of one class.
    """

    def __init__(self, config: GanTraining, embedding: int, device: str, photo_pairs: tuple[Tensor, Tensor]):
        self.config, self.device, self.losses = config, device, LOSSES[config.objective]
        self.min_distance = config.diversity * pair_distance(torch.cat(photo_pairs)).mean().item()
        self.attribute_scale = attribute_scale(*photo_pairs)
        generator, discriminator = _initial_networks(config, embedding)
        self.generator = to_channels_last(generator, device).train()
        self.discriminator = to_channels_last(discriminator, device).train()
        self.q_network = to_channels_last(StyleEncoder(StyleEncoderConfig(generator.config.noise, 16)), device).train()
        self.ema = EMA(self.generator, config.ema_decay)
        networks = (self.discriminator, self.generator)
        self.optimizers = [torch.optim.Adam(n.parameters(), config.lr, (0.5, 0.999), fused=True) for n in networks]
        self.optimizers[1].add_param_group({"params": self.q_network.parameters(), "lr": Q_LR})

    def step(self, x: Tensor, h: Tensor, wrong: Tensor, z: Tensor, epoch: int) -> dict[str, float]:
        """Update D, then G and Q, on one batch: see `objectives`. Returns the losses by name."""
        losses = self.losses(self.generator, self.discriminator, x, h, wrong, z)
        values = {}
        for name, optimizer in zip("DG", self.optimizers):
            self.discriminator.requires_grad_(name == "D")  # G's turn needs no gradient of D's weights
            optimizer.param_groups[0]["lr"] = self.config.lr * 0.5 ** (epoch // self.config.lr_halve_every)
            optimizer.zero_grad()
            with half_precision(self.device):
                loss = next(losses)
                values[name] = loss.item()
                if name == "G":
                    additional = self._noise_losses(z, h)
                    values |= {name: part.item() for name, (part, _) in additional.items()}
                    loss = loss + sum(part * weight for part, weight in additional.values())
            loss.backward()
            optimizer.step()
        return values

    def _noise_losses(self, z: Tensor, h: Tensor) -> dict[str, tuple[Tensor, float]]:
        """Losses, with their weights, that make G use its noise: of two pictures of every eighth caption, or of eight.

        Interpolated captions are among them: without these, noise changed nothing in their pictures.
        """
        config = self.config
        if not (config.diversity or config.information or config.attributes):
            return {}
        if OBJECTIVES[config.objective].interpolated:
            h = torch.cat([h, interpolate(h)])
        every = min(8, max(1, len(h) // 8))  # a correlation over fewer pictures would be chance
        h = h[::every][: len(z) // 2].repeat(2, 1)
        z = z[: len(h)]
        pictures = self.generator(z, h)
        distance = pair_distance(pictures)
        estimate = self.q_network(pictures + Q_INPUT_NOISE * torch.randn(pictures.shape, device=pictures.device))
        information = mutual_information_loss(estimate, z, TARGET_CORRELATION)
        return {
            "diversity": (diversity_loss(distance, self.min_distance), DIVERSITY_WEIGHT),
            "information": (information, INFORMATION_WEIGHT * config.information),
            "attributes": (
                attribute_loss(pictures, z, self.attribute_scale),
                ATTRIBUTE_WEIGHT * config.attributes,
            ),
        }

    def state_dict(self) -> dict[str, dict]:
        return {name: part.state_dict() for name, part in self._parts().items()} | {"ema": self.ema.state}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.ema.load(state["ema"])

    def _parts(self) -> dict[str, torch.nn.Module | torch.optim.Optimizer]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "q_network": self.q_network,
            "adam_d": self.optimizers[0],
            "adam_g": self.optimizers[1],
        }

    def averaged(self) -> DCGANGenerator:
        """The generator with its averaged weights, in evaluation mode."""
        generator = to_channels_last(DCGANGenerator(self.generator.config), self.device)
        generator.load_state_dict(self.ema.state)
        return generator.eval()


def pair_distance(x: Tensor) -> Tensor:
    """Root mean square differences (B,) of the first half of pictures (2 B, 3, S, S) from the second."""
    first, second = x.float().chunk(2)
    return (first - second).square().mean((1, 2, 3)).add(EPSILON).sqrt()


def train(config: GanTraining) -> Path:
    """Train, or resume the run in `config.out`; returns that folder, a checkpoint that `t2i.load` takes."""
    out, device = Path(config.out), best_device()
    keep_freed_memory()
    text = Checkpoint(config.text).read("text_encoder")["text_encoder"].to(device)
    dataset = imagefolder.read(config.data, photo_size(DCGANGeneratorConfig().size))
    sources = {"data": dataset.digest(), "text": digest(text)}
    # A resumed run need not name its start again: its state has all that it began with.
    changeable = ("data", "text", "out", "epochs", *TUNABLE, *([] if config.start else ["start"]))
    state = RunState(out / "state.pt", asdict(config), sources, changeable)
    if state.parts:
        config = replace(config, start=state.saved_config["start"])
        state.config = asdict(config)
    corpus = load_corpus(dataset, text, DCGANGeneratorConfig().size, config.batch, device)
    held_out = held_out_embeddings(dataset, text, device)
    per_epoch = len(corpus) // config.batch
    history = _history(config, state, state.step // per_epoch)
    start = "" if state.parts else config.start
    trainer = Trainer(replace(config, start=start), text.config.embedding, device, corpus.pairs())
    if state.parts:
        trainer.load_state_dict(state.parts)

    def step(i: int, g: torch.Generator) -> dict[str, float]:
        x, h, wrong = corpus.batch(config.batch, config.captions, g)
        z = torch.randn(config.batch + config.batch // 2, trainer.generator.config.noise, generator=g).to(device)
        torch.manual_seed(int(torch.randint(2**31, (), generator=g)))  # Q's input noise is drawn globally
        losses = trainer.step(x, h, wrong, z, i // per_epoch)
        trainer.ema.update(trainer.generator, i)
        return losses

    def export(done: int, cost: dict) -> dict[str, float]:
        epoch, generator = done // per_epoch, trainer.averaged()
        networks = {"generator": generator, "discriminator": trainer.discriminator}
        run = public_config(config) | {"epochs_done": epoch} | history | cost
        save_checkpoint(out, networks, config.text, text, run, dataset.examples(), bool(config.attributes))
        save_samples(out / f"samples-{epoch:04}.png", generator, held_out)
        return {}

    total, save_every = config.epochs * per_epoch, SAVE_EVERY * per_epoch
    run_steps(
        state, config.objective, total, save_every, step, export, lambda: trainer.state_dict() | history, per_epoch
    )
    return out


def _history(config: GanTraining, state: RunState, epoch: int) -> dict[str, object]:
    """The record of what came before this epoch, empty if nothing did.

    `before`: the training of the checkpoint that the run started from. `earlier`: the tunable settings of this run
    that were changed, with the epoch until which they were used.
    """
    before = training_before(state, config.start)
    new, old, earlier = asdict(config), state.saved_config, state.parts.get("earlier", [])
    if changed := {name: old[name] for name in TUNABLE if old and old[name] != new[name]}:
        earlier = [*earlier, {"until_epoch": epoch} | changed]
    return {name: value for name, value in (("before", before), ("earlier", earlier)) if value}


def _initial_networks(config: GanTraining, embedding: int) -> tuple[DCGANGenerator, Discriminator]:
    """G and D with random weights, or with those of `start`, widened where they are narrower."""
    torch.manual_seed(config.seed)
    sizes = {"width": config.width, "embedding": embedding}
    generator = DCGANGenerator(DCGANGeneratorConfig(**sizes)).apply(_init_weights)
    discriminator = Discriminator(DiscriminatorConfig(**sizes)).apply(_init_weights)
    if not config.start:
        return generator, discriminator
    checkpoint = Checkpoint(config.start)
    old_generator = checkpoint.read("generator")["generator"]
    if not isinstance(old_generator, DCGANGenerator):
        raise InputError(f"--start {config.start}: holds a generator of `train projected`; not of this trainer")
    old_discriminator = checkpoint.read("discriminator")["discriminator"]
    if can_widen(old_generator, generator) and can_widen(old_discriminator, discriminator):
        seed = config.seed
        return widen(old_generator, generator, seed), widen(old_discriminator, discriminator, seed)
    old_sizes, new_sizes = (old_generator.config, old_discriminator.config), (generator.config, discriminator.config)
    raise InputError(
        f"--start {config.start}: holds {old_sizes}, but --width and --text ask for {new_sizes}; "
        "width may double at most"
    )


def _init_weights(module: torch.nn.Module) -> None:
    """DC-GAN's initialisation: convolutions from N(0, 0.02²), batch norm's scales from N(1, 0.02²)."""
    if isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
        torch.nn.init.normal_(module.weight, 0, 0.02)
    elif isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(module.weight, 1, 0.02)
