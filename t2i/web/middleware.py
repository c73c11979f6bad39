"""Limits in front of Gradio's server: open routes, bounded requests, and headers for every answer."""

import json
import logging
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

from gradio import Blocks
from gradio.queueing import Queue
from starlette._utils import get_route_path  # what the routes of Gradio match, wherever the page is mounted
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .browser import BrowserFiles
from .preview import LinkPreview
from .schemas import MAX_PHOTOS_BYTES, is_number_in

MAX_BODY_BYTES = 2 * MAX_PHOTOS_BYTES  # if photos exceed their limit by less than this, the service says so in words
MAX_TOTAL_BODY_BYTES = 16 * MAX_BODY_BYTES  # of all requests in progress, whose bodies stay in memory
MAX_WAITING_REQUESTS = 256  # if all want 16 pictures, the last waits two seconds on two cores
MAX_THREADS = 16  # that answer requests
MAX_BODY_VALUES = 100_000  # an empty list has two bytes as JSON and a hundred as a Python object
MAX_SESSION_NAME_LENGTH = 64  # Gradio stores the name
MAX_SESSIONS = 500  # Gradio stores 42 kB of components for each, and makes them again for a page that comes back
MAX_UNREAD_RESULTS = 128  # of API calls whose client does not fetch them; more than may wait in the queue
API_PREFIX = "/gradio_api/"
POST_ROUTES = ("component_server", "queue/join", "call/v2/", "cancel", "reset", "mcp")  # all others are closed
# Routes of Gradio that this page does not need: the server's files, a proxy, records of runs.
CLOSED_ROUTES = ("file", "proxy=", "stream/", "upload", "monitoring", "profiling", "run", "deep_link", "dev/")
FRAME_POLICY = "Content-Security-Policy"
HEADERS = {
    # Only a Space's own page and the owner's other sites may frame this page. Gradio decides which scripts it may run.
    FRAME_POLICY: "frame-ancestors 'self' https://huggingface.co; object-src 'none'; base-uri 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
# Without what other sites may do with it, a page may have several threads. No other site can then show it in a frame.
ISOLATION_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
MALFORMED_REQUEST_ERRORS = (LookupError, TypeError, ValueError)  # what Gradio raises on a malformed request
LOG = logging.getLogger(__name__)


class RequestLimits:
    """ASGI middleware that refuses, in words, what the page never requests, and adds headers to every answer.

    `frame_ancestors`: the sites that may show the page in a frame, besides those of `HEADERS`. `isolated`: whether the
    page may use threads, which costs the frames.
    """

    def __init__(self, app: ASGIApp, frame_ancestors: Sequence[str] = (), isolated: bool = False) -> None:
        self.app = app
        policy, rest = HEADERS[FRAME_POLICY].split(";", 1)
        self.headers = HEADERS | {FRAME_POLICY: f"{' '.join([policy, *frame_ancestors])};{rest}"}
        self.headers |= ISOLATION_HEADERS if isolated else {}
        self.body_bytes = 0  # of all requests in progress
        self.waiting = 0  # requests that are read and not yet answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        # GRADIO_ROOT_PATH may be a whole address, of which the routes know the path alone.
        scope["root_path"] = urlsplit(scope.get("root_path", "")).path.rstrip("/")
        refusal, body = _refuse_by_headers(scope), bytearray()  # a bytearray grows without a copy for each part
        try:
            if not refusal and scope["method"] == "POST":
                async for part in _parts(receive):  # counted as they come: Content-Length may be wrong
                    body += part
                    self.body_bytes += len(part)
                    if self.body_bytes > MAX_TOTAL_BODY_BYTES:
                        refusal = _busy()
                        break
                else:
                    refusal, receive = await _refuse_by_body(scope, body), _replay(bytes(body), receive)
            await self._answer(scope, receive, send, refusal)
        finally:
            self.body_bytes -= len(body)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, refusal: PlainTextResponse | None) -> None:
        has_begun, is_waiting = False, not refusal and scope["method"] == "POST"
        if is_waiting and self.waiting >= MAX_WAITING_REQUESTS:
            refusal, is_waiting = _busy(), False
        self.waiting += is_waiting

        def leave() -> None:  # when the answer begins: a client that reads it slowly must not count as waiting
            nonlocal is_waiting
            self.waiting -= is_waiting
            is_waiting = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                leave()
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        try:
            await (refusal or self.app)(scope, receive, send_with_headers)
        except MALFORMED_REQUEST_ERRORS as error:  # raised by Gradio: the service logs and answers our own errors
            if has_begun or scope["method"] != "POST":
                raise
            LOG.warning("refused at %r: %.200r", scope["path"], error)
            refusal = PlainTextResponse("The server can make no sense of this request.", 400)
            await refusal(scope, receive, send_with_headers)
        except RuntimeError as error:
            if not isinstance(error.__cause__, HTTPException):
                raise
            await send({"type": "http.response.body"})  # raised in an event stream, which has told the client
        finally:
            leave()


def _refuse_by_headers(scope: Scope) -> PlainTextResponse | None:
    """The answer to a request that is refused before its body is read; None if it may pass."""
    path = get_route_path(scope)
    route = path.removeprefix(API_PREFIX)
    is_read = scope["method"] in ("GET", "HEAD", "OPTIONS")
    is_post = scope["method"] == "POST" and path.startswith(API_PREFIX) and route.startswith(POST_ROUTES)
    if route.startswith(CLOSED_ROUTES) or not (is_read or is_post):
        return PlainTextResponse("There is nothing here.", 404)
    headers = Headers(scope=scope)
    length = headers.get("Content-Length", "0" if is_read else "")
    if not length.isdecimal():
        return PlainTextResponse("Say how long the request is.", 411)
    if not is_number_in(length, range(MAX_BODY_BYTES + 1)):
        return PlainTextResponse(f"The request is longer than {MAX_BODY_BYTES:,} bytes, the most allowed.", 413)
    if is_post and not headers.get("Content-Type", "").startswith("application/json"):
        return PlainTextResponse("Send JSON: Content-Type: application/json.", 415)
    return None


def _busy() -> PlainTextResponse:
    return PlainTextResponse("The server is busy. Try again in a moment.", 503)


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    """The parts of a body; uvicorn keeps them within its Content-Length."""
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)  # False too if the client has disconnected


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that begins with a body that has been read."""
    bodies = [body]

    async def receive_again() -> Message:
        return {"type": "http.request", "body": bodies.pop()} if bodies else await receive()

    return receive_again


async def _refuse_by_body(scope: Scope, body: bytearray) -> PlainTextResponse | None:
    """The answer to a body that is too large or malformed; None if it may pass."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_BODY_VALUES:
        return PlainTextResponse(f"The request holds more than {MAX_BODY_VALUES:,} values, the most allowed.", 413)
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return PlainTextResponse("The request must be JSON.", 400)
    if not isinstance(request, dict):
        return PlainTextResponse("The request must be a JSON object.", 422)
    session, blocks = request.get("session_hash"), scope["app"].get_blocks()
    if isinstance(session, str) and len(session) > MAX_SESSION_NAME_LENGTH:
        return PlainTextResponse(f"The session's name is longer than {MAX_SESSION_NAME_LENGTH} characters.", 422)
    if get_route_path(scope).startswith(API_PREFIX + "queue/"):
        if not _has_function(blocks, request.get("fn_index"), request.get("data")):
            return PlainTextResponse("There is no such function, or it takes other data.", 422)
    await _forget_unread(blocks._queue, session)
    return None


def _has_function(blocks: Blocks, index: object, data: object) -> bool:
    """Whether there is a function of this index, and `data` has a value for each of its inputs."""
    num_inputs = [len(function.inputs) for key, function in blocks.fns.items() if key == index]
    return isinstance(data, list) and num_inputs == [len(data)]


async def _forget_unread(queue: Queue, session: object) -> None:
    """Forget the oldest unread results, as Gradio does when a client disconnects."""
    events = queue.pending_event_ids_session
    if isinstance(session, str) and session in events:
        events[session] = events.pop(session)  # now the newest
    while sum(max(1, len(ids)) for ids in events.values()) > MAX_UNREAD_RESULTS:
        oldest = next(iter(events))
        queue.pending_messages_per_session.pop(oldest, None)
        await queue.clean_events(session_hash=oldest)
        events.pop(oldest, None)


class PageCompression(GZipMiddleware):
    """ASGI middleware that compresses the page and its configuration, to a quarter. Gradio compresses its own files."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and get_route_path(scope) in ("", "/", "/config")
        await (super().__call__ if is_page else self.app)(scope, receive, send)


def middleware(frame_ancestors: Sequence[str] = (), isolated: bool = False) -> list[Middleware]:
    """What stands in front of Gradio's server, the outermost first."""
    return [
        Middleware(RequestLimits, frame_ancestors, isolated),
        Middleware(BrowserFiles),
        Middleware(PageCompression, compresslevel=4),
        Middleware(LinkPreview),
    ]


LAUNCH_LIMITS = {
    "app_kwargs": {"middleware": middleware()},
    "enable_monitoring": False,
    "max_threads": MAX_THREADS,
    "state_session_capacity": MAX_SESSIONS,
}
