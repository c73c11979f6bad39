"""What stands before the server: only the doors that the page uses, bodies of bounded size, headers for embedding."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .request import PHOTOS_BYTES

MOST_BYTES = 2 * PHOTOS_BYTES  # of a body; what is a little too much is told in words, by the desk
API = "/gradio_api/"
POSTS = ("component_server", "queue/", "call/", "run/", "api/", "cancel", "reset")  # all that a visitor may send to
# Doors of Gradio's that nobody here needs: the server's files, pages fetched for others, records of runs.
CLOSED = ("file", "proxy=", "stream/", "upload", "monitoring", "profiling", "run-history", "deep_link")
HEADERS = {
    # The page may be framed by a Space's own page alone; what it must run inside is Gradio's to say.
    "Content-Security-Policy": "frame-ancestors 'self' https://huggingface.co; object-src 'none'; base-uri 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Guard:
    """ASGI middleware: refuses in words what the page never asks, and adds headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await (_refusal(scope) or self.app)(scope, receive, send_with_headers)


def _refusal(scope: Scope) -> PlainTextResponse | None:
    """The answer to what is refused; None for what may pass."""
    door = scope["path"].removeprefix(API)
    reads = scope["method"] in ("GET", "HEAD", "OPTIONS")
    posts = scope["method"] == "POST" and scope["path"].startswith(API) and door.startswith(POSTS)
    if door.startswith(CLOSED) or not (reads or posts):
        return PlainTextResponse("There is nothing here.", 404)
    length = Headers(scope=scope).get("Content-Length", "0" if reads else "")
    if not length.isdecimal():
        return PlainTextResponse("Say how long the request is.", 411)
    if int(length) > MOST_BYTES:
        return PlainTextResponse(f"The request is longer than {MOST_BYTES:,} bytes, the most allowed.", 413)
    return None


GUARD = {"app_kwargs": {"middleware": [Middleware(Guard)]}, "enable_monitoring": False}
