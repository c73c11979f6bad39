"""A tab's part of the page: markup, style and behaviour in three files of the same name."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import InputError
from ..registry import ModelSpec
from ..studio import PHOTO_ROLES, UNNAMED_ATTRIBUTES
from .encoding import style_length
from .service import Service, errors_as_json

STATIC = Path(__file__).parent / "static"
SHARED_SCRIPTS = "page.js", "local.js", "drawing.js", "tab.js", "share.js", "hand.js", "prefetch.js", "album.js"
MODEL_FIELDS = "name", "title", "subject", "placeholder", "examples", "short_examples", "failures", "group"


def add_panel(name: str, functions: list[Callable], **properties: Any) -> gr.HTML:
    """Add `<name>.html`, `.css` and `.js`, which need the `shared_head` in an earlier component.

    The template is constant: text of visitors reaches the page only through the script. The script may call
    `functions`, methods of the service, on the server, and gets `properties`. Their answers, unless they are errors,
    say how long the server took, `server_ms`: the rest of the time is the line's.
    """
    return gr.HTML(
        html_template=read_static(f"{name}.html"),
        css_template=read_static(f"{name}.css"),
        js_on_load=read_static(f"{name}.js"),
        elem_classes="t2i-panel",
        apply_default_css=False,
        server_functions=[_server_function(function) for function in functions],
        **properties,
    )


def _server_function(method: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """A plain function, because Gradio sets an attribute on it, of a request alone: a method may take more."""

    def answer_request(request):
        start = time.perf_counter()
        answer = errors_as_json(lambda: method(request))
        ms = round(1000 * (time.perf_counter() - start), 1)
        return answer if "error" in answer else answer | {"server_ms": ms}

    answer_request.__name__ = method.__name__  # by which the script calls it
    return answer_request


def shared_head(service: Service, runtime: str) -> str:
    """The style and the scripts that all panels share, and what they know of the models, for the page's head.

    `runtime`: the version of what draws in the browser.

    It must be the `head` of a component that is built before the panels: Gradio then inserts it before it runs their
    scripts, also if a server has rendered the page. The `head` of `launch` would come too late there.
    """
    known = {"models": describe_models(service), "defaultModel": service.default, "runtime": runtime}
    data = json.dumps(known, ensure_ascii=False)
    escaped = data.replace("<", "\\u003c")  # a title must not end the script
    scripts = "\n".join(map(read_static, SHARED_SCRIPTS))
    return (
        f"<style>{read_static('common.css')}</style>\n<script>window.t2i = {escaped};</script>\n"
        f"<script>(() => {{\n{scripts}}})();</script>"
    )


def describe_models(service: Service) -> list[dict[str, Any]]:
    """What the scripts need to know of each model that the page offers."""
    return [_describe(service, spec) for spec in service.models.values() if is_offered(service, spec)]


def add_api_event(function: Callable, name: str) -> None:
    """Add a function to the HTTP API and to the MCP tools, with this name and the function's docstring."""
    function.__name__ = name  # MCP uses it
    gr.api(function, api_name=name)


def is_offered(service: Service, spec: ModelSpec) -> bool:
    """Whether the page's menus offer a model: those for comparison only if their weights are here."""
    return not spec.group or service.is_available(spec.name)


def read_static(file: str) -> str:
    """A file of the page without comments and most white space, which visitors need not load."""
    text = (STATIC / file).read_text("utf-8")
    return COMPACT[file.rpartition(".")[2]](text)


def _compact_css(text: str) -> str:
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"\s*([{};,]|:(?= ))\s*", r"\1", " ".join(text.split()))


def _compact_html(text: str) -> str:
    """Attributes lose their quotation marks where HTML needs none, or get those that JSON need not escape."""
    text = re.sub(r'="([\w.:/*#-]*[\w*-])"', r"=\1", " ".join(text.split()))
    return re.sub(r"""="([^"']*)\"""", r"='\1'", text)


def _compact_js(text: str) -> str:
    """No string of our scripts holds a comment's sign between spaces, and none goes over several lines."""
    lines = [re.sub(r"(^|\s)// .*", "", line).strip() for line in text.splitlines()]
    text = "\n".join(filter(None, lines))
    text = re.sub(r"(?<=[{(\[,;])\n|\n(?=[})\],.?:])", "", text)  # where no line's end means a statement's end
    parts = JS_LITERAL.split(text)
    parts[::2] = [re.sub(r" ?(=>|[=!]==|&&|\|\||[{}(),;:?=]) ?", r"\1", part) for part in parts[::2]]
    parts[1::2] = [re.sub(r"""^"([^"'\\]*)"$""", r"'\1'", part) for part in parts[1::2]]  # which JSON need not escape
    return "".join(parts)


# A string, a template, or a regular expression: our scripts have a space after a sign of division.
JS_LITERAL = re.compile(
    r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`"""
    r"""|(?:(?<=[(=])|(?<== ))/(?![ *])(?:\\.|\[[^\]]*\]|[^/\\\n])+/)"""
)
COMPACT = {"css": _compact_css, "html": _compact_html, "js": _compact_js}


def _describe(service: Service, spec: ModelSpec) -> dict[str, Any]:
    """What the scripts need to know of a model, without loading it."""
    try:
        checkpoint = service.checkpoint(spec.name)
        attributes, encoders = checkpoint.attributes, {f"has_{role}": checkpoint.has(role) for role in PHOTO_ROLES}
        style = style_length(checkpoint.network_config("generator").noise)
    except InputError:  # not available: the page says so when somebody chooses it
        attributes, encoders, style = (), {f"has_{role}": False for role in PHOTO_ROLES}, 0
    fields = {field: getattr(spec, field) for field in MODEL_FIELDS}
    sliders = [asdict(slider) for slider in attributes or UNNAMED_ATTRIBUTES]
    return fields | {"attributes": sliders, "style_length": style} | encoders
