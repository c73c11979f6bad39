"""A part of the page: markup, look and behaviour in three files of one name."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import gradio as gr

from ..errors import InputError
from ..locate import is_available
from ..registry import ModelSpec
from ..studio import UNNAMED_ATTRIBUTES
from .service import Desk

STATIC = Path(__file__).parent / "static"
SCRIPTS = "common.js", "share.js", "album.js"


def panel(name: str, verbs: list[Callable], desk: Desk, **properties) -> gr.HTML:
    """`<name>.html` with `.css` and `.js` behind what all panels share (`common.css`, and SCRIPTS).

    The template is constant: text from people reaches the page through the script alone, which may call `verbs`
    and sees `properties`.
    """

    def read(*files: str) -> str:
        return "\n".join((STATIC / file).read_text("utf-8") for file in files)

    return gr.HTML(
        html_template=read(f"{name}.html"),
        css_template=read("common.css", f"{name}.css"),
        js_on_load=read(*SCRIPTS, f"{name}.js") if (STATIC / f"{name}.js").exists() else None,
        apply_default_css=False,
        server_functions=verbs,
        model=desk.default,
        models=[asdict(spec) | _known(desk, spec.name) for spec in desk.models.values() if _is_offered(spec)],
        **properties,
    )


def event(function: Callable, name: str) -> None:
    """A verb for programs, of this name in the HTTP API and among the MCP tools."""
    function.__name__ = name  # what MCP goes by
    gr.api(function, api_name=name)


def _is_offered(spec: ModelSpec) -> bool:
    """Whether a menu offers a model: a main one always, one of the paper's networks if its weights are here."""
    return not spec.paper or is_available(spec.name)


def _known(desk: Desk, model: str) -> dict:
    """A model's style sliders, and whether it sees pictures, known without loading it."""
    try:
        checkpoint = desk.checkpoint(model)
        attributes, sees = checkpoint.attributes, checkpoint.has("image_encoder")
    except InputError:  # a main model that is not to be had is told when somebody chooses it
        attributes, sees = (), False
    return {"attributes": [asdict(slider) for slider in attributes or UNNAMED_ATTRIBUTES], "sees": sees}
