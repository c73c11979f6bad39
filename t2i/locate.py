"""From a name to a folder, and from a folder to its networks: its own, and those it shares with another model."""

import os
import re
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from . import registry, store
from .errors import InputError
from .models import Networks
from .registry import MODELS
from .store import AttributeSlider

HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
SHARED_ROLES = ("text_encoder", "image_encoder", "image_projection")  # they have one embedding space in common


def resolve(name: str | Path) -> Path:
    """The folder of a model: a registered name, a local folder, or a Hub id `owner/repo`, `owner/repo@revision`.

    The weights of a registered model are in `weights/`, or else on the Hub at the revision that its `model.json` pins.
    `InputError` if there is no such model or it is not available.
    """
    name = str(name)
    if spec := MODELS.get(name):
        folder = registry.WEIGHTS / name
        if (folder / "config.json").is_file():
            return folder
        if spec.hub_id is None:
            raise store.file_error(folder / "config.json", "is missing")
        return _download(spec.hub_id, spec.revision)
    if os.path.isdir(name):
        return Path(name)
    if match := HUB_ID.fullmatch(name):
        return _download(*match.groups())
    known = ", ".join([*MODELS, "a folder, or a Hub id owner/repo[@revision]"])
    raise InputError(f"unknown model {name!r}; known: {known}")


def _download(hub_id: str, revision: str | None) -> Path:
    from .hub import fetch  # slow to import, and most models are local

    return fetch(hub_id, revision)


class Checkpoint:
    """The model of a name, a folder or a Hub id: `folder`, and `config`, its configuration, read once.

    In place of a text encoder's configuration there may be the name of a registered model, whose text encoder is then
    shared. A path or a Hub id is refused there, because a checkpoint may come from a stranger. The image encoder and
    the image projection of that model are shared too, unless the checkpoint has its own.
    """

    def __init__(self, name: str | Path):
        self.folder = resolve(name)
        self.config = store.read_config(self.folder)

    def read(self, *roles: str) -> Networks:
        """These networks, float32, on the CPU, in evaluation mode.

        `InputError` names the file that is missing, damaged or does not fit the others.
        """
        owners = {role: self.owner(role) for role in roles}
        networks = {role: store.read_network(owner.folder, owner.config, role) for role, owner in owners.items()}
        return cast(Networks, networks)

    def has(self, role: str) -> bool:
        """Whether the model has this network, its own or a shared one."""
        return role in self.owner(role).config

    def owner(self, role: str) -> "Checkpoint":
        """The checkpoint that holds a network: this one, or the one it shares that network with."""
        fields = self.config.get(role)
        if isinstance(fields, str) and role != "text_encoder":
            raise store.file_error(self.folder / "config.json", f"{role} must be described, not named {fields[:40]!r}")
        return self if isinstance(fields, dict) or role not in SHARED_ROLES else self._text_owner

    @cached_property
    def _text_owner(self) -> "Checkpoint":
        """The checkpoint that holds the text encoder.

        It must be the text encoder that this checkpoint was trained with: with another's embeddings, its generator
        draws nonsense.
        """
        path, name = self.folder / "config.json", self.config.get("text_encoder")
        if not isinstance(name, str):
            return self
        if name not in MODELS:
            raise store.file_error(
                path, f"text_encoder must be described, or be one of {', '.join(MODELS)}; not {name!r}"
            )
        owner = Checkpoint(name)
        if isinstance(owner.config.get("text_encoder"), str):
            raise store.file_error(path, f"shares the text encoder of {name!r}, which has none of its own")
        hashes = [checkpoint.config.get("sha256", {}).get("text_encoder") for checkpoint in (self, owner)]
        if hashes[0] not in (None, hashes[1]):
            raise store.file_error(path, f"was trained with another text encoder than that of {name!r} here")
        return owner

    def network_config(self, role: str) -> Any:
        """A network's own configuration, a frozen dataclass; `InputError` if it is missing or not valid."""
        owner = self.owner(role)
        return store.network_class_and_config(owner.folder, owner.config, role)[1]

    @property
    def attributes(self) -> tuple[AttributeSlider, ...]:
        """The sliders of z's first coordinates; empty if the generator was not trained with attributes."""
        return tuple(AttributeSlider(*row) for row in self.config.get("attributes", []))

    @property
    def words(self) -> frozenset[str]:
        """The words that were frequent in the text encoder's training; empty if they were not recorded."""
        return frozenset(self.owner("text_encoder").config.get("words", "").split())

    @property
    def caption_mean(self) -> Tensor | None:
        """The mean embedding (E,) of the training captions, if mixed captions are centred on it: see `mixing.mix`."""
        if "caption_mean" not in self.config:
            return None
        mean = store.text_to_vector(self.config["caption_mean"])
        size = self.network_config("text_encoder").embedding
        if len(mean) != size:
            raise store.file_error(
                self.folder / "config.json", f"caption_mean must have {size} numbers, not {len(mean)}"
            )
        return mean

    def training(self, network: str) -> dict:
        """What the configuration records about the training of a network; empty if it records nothing."""
        record = self.config.get("training", {}).get(network)
        return record if isinstance(record, dict) else {}


def shared_text_encoder(name: str) -> dict:
    """The fields of `config.json` that share the text encoder of a registered model."""
    checkpoint = Checkpoint(name)
    own = checkpoint.config.get("text_encoder")
    path = checkpoint.owner("text_encoder").folder / "text_encoder.safetensors"
    digest = sha256(store.read_bytes(path)).hexdigest()
    return {"text_encoder": own if isinstance(own, str) else name, "sha256": {"text_encoder": digest}}
