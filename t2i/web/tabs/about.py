"""The tab "About": how it works, with the chosen model's networks, what the chosen model fails on, and its card."""

import re
from pathlib import Path
from typing import Any

import gradio as gr

from ...errors import InputError
from ...models import CBNGeneratorConfig, DCGANGeneratorConfig
from ..component import add_panel, is_offered
from ..schemas import read_model
from ..service import Service

NO_CARD = "This model has no card here."
MAX_CARD_LENGTH = 100_000  # characters


def about_tab(service: Service) -> None:
    """Build the tab inside the surrounding Blocks."""

    def show_card(event: gr.EventData) -> str:
        try:
            return read_card(service.documents(read_model({"model": event.model}, service.models)))
        except InputError:
            return NO_CARD

    networks = {name: _networks(service, name) for name, spec in service.models.items() if is_offered(service, spec)}
    panel = add_panel("about", [service.draw], networks=networks)
    with gr.Accordion("The model card", open=False, elem_classes="t2i-card"):
        card = gr.Markdown(latex_delimiters=[])
    panel.select(show_card, None, card, show_progress="hidden", api_visibility="private")


def _networks(service: Service, model: str) -> dict[str, Any]:
    """What the figure shows of a model's networks; as in the paper if its configuration does not say."""
    try:
        checkpoint = service.checkpoint(model)
        generator, training = checkpoint.network_config("generator"), checkpoint.training("gan")
    except InputError:
        generator, training = DCGANGeneratorConfig(), {}
    sizes = {name: getattr(generator, name) for name in ("size", "noise", "embedding")}
    is_conditional = isinstance(generator, CBNGeneratorConfig)
    return sizes | {"isConditional": is_conditional, "isProjected": training.get("trainer") == "projected"}


def read_card(folder: Path) -> str:
    """The model card in a folder as Markdown, made safe because the folder may be a stranger's.

    It contains no HTML, no pictures, and only links to https addresses.
    """
    try:
        with open(folder / "README.md", encoding="utf-8") as file:
            text = file.read(MAX_CARD_LENGTH)
    except (OSError, ValueError):
        return NO_CARD
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # the front matter
    text = re.sub(r"<!--[^<>]{0,300}-->\n?", "", text)  # marks for programs
    text = re.sub(r"!\[([^][]*)\]\([^)]{0,300}\)", r"*Picture, not shown here: \1*", text)
    text = text.replace("![", "[").replace("<", "&lt;")
    return re.sub(r"\[([^][]*)\]\((?!https://)[^)]{0,300}\)", r"\1", text)
