"""The page around the tabs."""

import html

import gradio as gr

from .browser import BrowserModels, runtime_version
from .component import STATIC, shared_head
from .preview import LinkCards
from .service import Service
from .tabs.about import about_tab
from .tabs.blend import blend_tab
from .tabs.compare import compare_tab
from .tabs.draw import draw_tab
from .tabs.field import field_tab
from .tabs.search import search_tab
from .tabs.style import style_tab

MAX_QUEUE_SIZE = 64  # API calls that may wait; the page itself bypasses the queue
QUEUE_INTERVAL = 0.02  # seconds after which Gradio looks at the queue again; its own 0.001 keep a core busy by 5 %
TABS = {
    "Field": field_tab,
    "Draw": draw_tab,
    "Blend": blend_tab,
    "Style": style_tab,
    "Compare": compare_tab,
    "Search": search_tab,
    "About": about_tab,
}

# Fonts of the visitor's own machine: nothing is fetched from elsewhere.
SANS_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif"]

# Gradio takes these at launch, not when the Blocks are built.
LAUNCH_LOOK = {
    "theme": gr.themes.Base(font=SANS_FONTS, font_mono=["ui-monospace", "monospace"]),
    "css_paths": STATIC / "page.css",
    "favicon_path": STATIC / "icon.png",
    "footer_links": ["api"],
    "ssr_mode": False,  # Node would answer before the limits and without a link's preview
}


class Page(gr.Blocks):
    """Blocks that pass values on unchanged.

    Gradio's own would fetch the files and addresses in values, and keep the last request and answer of each session.
    """

    cards: LinkCards
    browser_models: BrowserModels

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        return inputs

    async def postprocess_data(self, block_fn, predictions, state):
        return [predictions]


def create_demo(model: str = "flowers") -> gr.Blocks:
    """Build the page without launching it; `model`, a name, a folder or a Hub id, is loaded and warmed up first."""
    service = Service(model)
    placeholder = service.models[service.default].placeholder
    invitation = html.escape(placeholder.rstrip("\u00a0…"))  # page.js changes it with the model
    with Page(title="t2i · text to image", analytics_enabled=False) as demo:
        gr.HTML(
            f'<h1>t2i</h1><p class="what"><span>{invitation}</span>. Pictures redraw with every keystroke.</p>'
            '<p class="where"><span class="why" role="status"></span><button class="draws-on" hidden></button></p>',
            elem_classes="t2i-head",
            apply_default_css=False,
            head=shared_head(service, runtime_version()),
        )
        with gr.Tabs():
            for name, build in TABS.items():
                with gr.Tab(name):
                    build(service)
    demo.cards = LinkCards(service)
    demo.browser_models = BrowserModels(service)
    demo.queue(max_size=MAX_QUEUE_SIZE)
    demo._queue.sleep_when_free = demo._queue.progress_update_sleep_when_free = QUEUE_INTERVAL
    return demo
