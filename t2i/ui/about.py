"""The tab "About": the paper in one screen, what the chosen model fails on, and its card."""

import re

import gradio as gr

from t2i import checkpoint
from t2i.errors import InputError

from .desk import Desk, in_words
from .panel import panel
from .request import read_model

LONGEST = 100_000  # characters of a card


def about_tab(desk: Desk) -> None:
    """Build the tab inside the surrounding Blocks."""

    # A plain function, because Gradio marks what it may call with an attribute.
    def draw(request):
        return in_words(lambda: desk.draw(request))

    def show(event: gr.EventData) -> str:
        return card(event.model)

    about = panel("about", [draw], model=desk.default)
    with gr.Accordion("The model card", open=False, elem_classes="t2i-card"):
        shown = gr.Markdown(latex_delimiters=[])
    about.select(show, None, shown, show_progress="hidden", api_visibility="private")


def card(model: object) -> str:
    """The card beside a registered model's weights, as Markdown of words alone, for it may be a stranger's.

    No markup of its own, no pictures, no links but to the web.
    """
    try:
        folder = checkpoint.resolve(read_model({"model": model}, ""))
        with open(folder / "README.md", encoding="utf-8") as file:
            text = file.read(LONGEST)
    except (InputError, OSError, ValueError):
        return "This model has no card here."
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)  # the front matter
    text = re.sub(r"<!--[^<>]{0,300}-->\n?", "", text)  # marks for programs
    text = re.sub(r"!\[([^][]*)\]\([^)]{0,300}\)", r"*Picture, not shown here: \1*", text)
    text = text.replace("![", "[").replace("<", "&lt;")
    return re.sub(r"\[([^][]*)\]\((?!https://)[^)]{0,300}\)", r"\1", text)
