"""The tab "About": the paper in one screen, what the chosen model fails on, and its card."""

import re
from pathlib import Path

import gradio as gr

from ...errors import InputError
from ..component import panel
from ..schemas import read_model
from ..service import Desk, in_words

NO_CARD = "This model has no card here."
LONGEST = 100_000  # characters of a card


def about_tab(desk: Desk) -> None:
    """Build the tab inside the surrounding Blocks."""

    # A plain function, because Gradio marks what it may call with an attribute.
    def draw(request):
        return in_words(lambda: desk.draw(request))

    def show(event: gr.EventData) -> str:
        try:
            return card(desk.checkpoint(read_model({"model": event.model}, desk.models)).folder)
        except InputError:
            return NO_CARD

    about = panel("about", [draw], desk)
    with gr.Accordion("The model card", open=False, elem_classes="t2i-card"):
        shown = gr.Markdown(latex_delimiters=[])
    about.select(show, None, shown, show_progress="hidden", api_visibility="private")


def card(folder: Path) -> str:
    """The card beside a model's weights, as Markdown of words alone, for it may be a stranger's.

    No markup of its own, no pictures, no links but to the web.
    """
    try:
        with open(folder / "README.md", encoding="utf-8") as file:
            text = file.read(LONGEST)
    except (OSError, ValueError):
        return NO_CARD
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # the front matter
    text = re.sub(r"<!--[^<>]{0,300}-->\n?", "", text)  # marks for programs
    text = re.sub(r"!\[([^][]*)\]\([^)]{0,300}\)", r"*Picture, not shown here: \1*", text)
    text = text.replace("![", "[").replace("<", "&lt;")
    return re.sub(r"\[([^][]*)\]\((?!https://)[^)]{0,300}\)", r"\1", text)
