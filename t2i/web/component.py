"""A tab's part of the page: markup, style and behaviour in three files of the same name."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import InputError
from ..locate import is_available
from ..registry import ModelSpec
from ..studio import UNNAMED_ATTRIBUTES
from .service import Service

STATIC = Path(__file__).parent / "static"
SHARED_SCRIPTS = "common.js", "share.js", "album.js"


def add_panel(name: str, functions: list[Callable], service: Service, **properties: Any) -> gr.HTML:
    """Add `<name>.html`, `.css` and `.js`, after what all panels share (`common.css` and `SHARED_SCRIPTS`).

    The template is constant: text of visitors reaches the page only through the script. The script may call
    `functions` on the server, and gets `properties`.
    """

    def read(*files: str) -> str:
        return "\n".join((STATIC / file).read_text("utf-8") for file in files)

    return gr.HTML(
        html_template=read(f"{name}.html"),
        css_template=read("common.css", f"{name}.css"),
        js_on_load=read(*SHARED_SCRIPTS, f"{name}.js"),
        apply_default_css=False,
        server_functions=functions,
        model=service.default,
        models=[describe(service, spec) for spec in service.models.values() if is_offered(spec)],
        **properties,
    )


def add_api_event(function: Callable, name: str) -> None:
    """Add a function to the HTTP API and to the MCP tools, with this name and the function's docstring."""
    function.__name__ = name  # MCP uses it
    gr.api(function, api_name=name)


def is_offered(spec: ModelSpec) -> bool:
    """Whether the page's menus offer a model: the paper's networks only if their weights are here."""
    return not spec.paper or is_available(spec.name)


def describe(service: Service, spec: ModelSpec) -> dict[str, Any]:
    """What the page needs to know of a model, without loading it."""
    try:
        checkpoint = service.checkpoint(spec.name)
        attributes, has_image_encoder = checkpoint.attributes, checkpoint.has("image_encoder")
    except InputError:  # not available: the page says so when somebody chooses it
        attributes, has_image_encoder = (), False
    sliders = [asdict(slider) for slider in attributes or UNNAMED_ATTRIBUTES]
    return asdict(spec) | {"attributes": sliders, "has_image_encoder": has_image_encoder}
