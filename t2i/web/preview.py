"""What messengers and social networks show of a link to the page: the link's own pictures and words."""

import html
import io
import logging
import re
import threading
from urllib.parse import quote, urlsplit

import anyio
from gradio.route_utils import get_root_url
from PIL import Image
from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InputError
from ..media import poster
from .cache import Cache
from .links import Link, read_link
from .service import SERVER_ERROR, Service

PREVIEW_PATH = "/preview.jpg"
ICON_PATH = "/favicon.ico"  # of Gradio
MAX_CACHED_CARDS = 64  # of about 100 kB
MAX_WAITING_CARDS = 8  # that are drawn or wait for it, one at a time
CARD_QUALITY = 88
CARD_SECONDS = 86_400  # that others may keep a card; new weights draw it otherwise
TITLE = "t2i: type a sentence, see sixteen pictures"
DESCRIPTION = "Sixteen pictures redraw with every keystroke. Type your own words."
FOOTER = "Type your own words."
HEAD_START = b'<meta charset="utf-8" />'
META_PATTERN = re.compile(rb'\s*<meta\s[^>]*?(?:property="og:|name="twitter:)[^>]*>')  # Gradio's own
LOG = logging.getLogger(__name__)


class LinkCards:
    """The cards of links: JPEGs of 1200×630, of which the last used are kept."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._cards: Cache[bytes] = Cache(MAX_CACHED_CARDS)
        self._drawing = threading.Lock()
        self._waiting = 0

    def read(self, query: str) -> Link:
        """The link with this query; see `read_link`."""
        return read_link(query, self.service.models, self.service.is_available)

    async def answer(self, query: str) -> Response:
        """The card of the link with this query, or why there is none in words."""
        if self._waiting >= MAX_WAITING_CARDS:
            return PlainTextResponse("The server is busy. Try again in a moment.", 503)
        self._waiting += 1
        try:
            data = await anyio.to_thread.run_sync(self._card, query)
        except InputError as error:
            return PlainTextResponse(str(error), 400)
        except Exception:
            LOG.exception("a link's card failed")
            return PlainTextResponse(SERVER_ERROR, 500)
        finally:
            self._waiting -= 1
        return Response(data, media_type="image/jpeg", headers={"Cache-Control": f"public, max-age={CARD_SECONDS}"})

    def _card(self, query: str) -> bytes:
        link = self.read(query)
        with self._drawing:  # by the link: a query may name the same pictures in many ways
            return self._cards(link, lambda: _draw_card(self.service, link))


class LinkPreview:
    """ASGI middleware that answers with a link's card at `PREVIEW_PATH`, and names card, words and icon in the head.

    The app's Blocks have `cards`, a `LinkCards`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        query = scope["query_string"].decode("latin-1")
        cards: LinkCards = scope["app"].get_blocks().cards
        path = get_route_path(scope)
        if path == PREVIEW_PATH:
            answer = await cards.answer(query)
            return await answer(scope, receive, send)
        if path not in ("", "/"):
            return await self.app(scope, receive, send)
        await self._answer_with_tags(scope, receive, send, cards, query)

    async def _answer_with_tags(self, scope: Scope, receive: Receive, send: Send, cards: LinkCards, query: str) -> None:
        start: Message = {}
        body = bytearray()

        async def send_whole(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            tags = _tags(cards, query, _root_url(scope))
            page = META_PATTERN.sub(b"", bytes(body)).replace(HEAD_START, HEAD_START + tags.encode(), 1)
            MutableHeaders(scope=start)["Content-Length"] = str(len(page))
            await send(start)
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, send_whole)


def _draw_card(service: Service, link: Link) -> bytes:
    captions = [link.title] if link.captions else [DESCRIPTION]
    pixels = poster.card(service.link_pictures(link), captions, FOOTER if link.captions else "")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=CARD_QUALITY)
    return buffer.getvalue()


def _tags(cards: LinkCards, query: str, root: str) -> str:
    """The tags that tell others what a link brings; of a link that the page does not read, what the page is."""
    title, description = TITLE, DESCRIPTION
    try:
        link = cards.read(query)
    except InputError:
        query = ""
    else:
        if link.captions:
            title = link.title
            description = f"Drawn by t2i ({cards.service.models[link.model].title}). {DESCRIPTION}"
    width, height = poster.CARD_SIZE
    # Their readers want whole addresses.
    suffix = f"?{quote(query, safe='=&%+,.-_~')}" if query else ""
    image = f"{root}{PREVIEW_PATH}{suffix}"
    values = {
        "og:site_name": "t2i",
        "og:type": "website",
        "og:url": f"{root}/{suffix}",
        "og:title": title,
        "og:description": description,
        "og:image": image,
        "og:image:type": "image/jpeg",
        "og:image:width": width,
        "og:image:height": height,
        "og:image:alt": f"Sixteen pictures: {title}",
        "twitter:card": "summary_large_image",
        "twitter:title": title,
        "twitter:description": description,
        "twitter:image": image,
        "description": description,
    }
    lines = [
        f'<meta {"property" if name.startswith("og:") else "name"}="{name}" content="{html.escape(str(value))}" />'
        for name, value in values.items()
    ]
    icon = f'<link rel="icon" href="{html.escape(urlsplit(root).path)}{ICON_PATH}" />'  # browsers look at "/" only
    return "\n\t\t".join(["", f"<title>{html.escape(title)}</title>", icon, *lines])


def _root_url(scope: Scope) -> str:
    """The public address of the page, as Gradio finds it behind a proxy."""
    app = scope["app"]
    root_path = app.root_path or scope.get("root_path") or app.get_blocks().custom_mount_path
    return get_root_url(Request(scope), "/", root_path)
