"""A part of the page: markup, look and behaviour in three files of one name."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import gradio as gr

from t2i import checkpoint
from t2i.errors import InputError

HERE = Path(__file__).parent
SCRIPTS = "common.js", "share.js", "album.js"


def panel(name: str, verbs: list[Callable], **properties) -> gr.HTML:
    """`<name>.html` with `.css` and `.js` behind what all panels share (`common.css`, and SCRIPTS).

    The template is constant: text from people reaches the page through the script alone, which may call `verbs`
    and sees `properties`.
    """

    def read(*files: str) -> str:
        return "\n".join((HERE / file).read_text("utf-8") for file in files)

    return gr.HTML(
        html_template=read(f"{name}.html"),
        css_template=read("common.css", f"{name}.css"),
        js_on_load=read(*SCRIPTS, f"{name}.js") if (HERE / f"{name}.js").exists() else None,
        apply_default_css=False,
        server_functions=verbs,
        models=[asdict(spec) | {"styles": _styles(spec.name)} for spec in checkpoint.MODELS.values()],
        **properties,
    )


def _styles(model: str) -> list[dict[str, str]]:
    """A model's style sliders, known without loading it."""
    try:
        named = checkpoint.read_styles(checkpoint.resolve(model))
    except InputError:  # a model that is not to be had is told when somebody chooses it
        named = None
    return [asdict(style) for style in named or checkpoint.UNNAMED]
