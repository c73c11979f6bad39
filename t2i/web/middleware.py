"""What stands before the server: only the doors that are used, requests of bounded size, headers for embedding."""

import json
import logging
from collections.abc import AsyncIterator

from gradio import Blocks
from gradio.queueing import Queue
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .schemas import PHOTOS_BYTES

MOST_BYTES = 2 * PHOTOS_BYTES  # of a body; what is a little too much is told in words, by the desk
MOST_AT_ONCE = 16 * MOST_BYTES  # of all bodies under way: read, they lie in memory until they are answered
WAITING = 256  # requests to be answered, in turn; if all are for 16 pictures the last waits two seconds on two cores
THREADS = 16  # that answer them
MOST_VALUES = 100_000  # of a body: an empty list of two bytes takes a hundred once it is read
MOST_NAME = 64  # characters of a session's name, which Gradio keeps
SESSIONS = 500  # whose components Gradio keeps, 42 kB each; it makes them anew for a page that comes back
UNREAD = 128  # answers kept for programs that do not fetch them; more than may wait in the queue
API = "/gradio_api/"
POSTS = ("component_server", "queue/join", "call/v2/", "cancel", "reset", "mcp")  # all that a visitor may send to
# Doors of Gradio's that nobody here needs: the server's files, pages fetched for others, records of runs.
CLOSED = ("file", "proxy=", "stream/", "upload", "monitoring", "profiling", "run", "deep_link", "dev/")
HEADERS = {
    # The page may be framed by a Space's own page alone; what it must run inside is Gradio's to say.
    "Content-Security-Policy": "frame-ancestors 'self' https://huggingface.co; object-src 'none'; base-uri 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
NONSENSE = (LookupError, TypeError, ValueError)  # what Gradio breaks with on a malformed request
LOG = logging.getLogger(__name__)


class Guard:
    """ASGI middleware: refuses in words what the page never asks, and adds headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.held = 0  # bytes of the bodies under way
        self.waiting = 0  # requests read and not yet answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        refusal, body = _refusal(scope), bytearray()  # which grows without being copied for each part
        try:
            if not refusal and scope["method"] == "POST":
                async for part in _parts(receive):  # what a request says of its length may be idle talk
                    body += part
                    self.held += len(part)
                    if self.held > MOST_AT_ONCE:
                        refusal = _busy()
                        break
                else:
                    refusal, receive = await _admit(scope, body), _first(bytes(body), receive)
            await self._answer(scope, receive, send, refusal)
        finally:
            self.held -= len(body)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, refusal: PlainTextResponse | None) -> None:
        begun, waits = False, not refusal and scope["method"] == "POST"
        if waits and self.waiting >= WAITING:
            refusal, waits = _busy(), False
        self.waiting += waits

        def leave() -> None:  # once: a slow reader of the answer is nobody's matter
            nonlocal waits
            self.waiting -= waits
            waits = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                leave()
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            await (refusal or self.app)(scope, receive, send_with_headers)
        except NONSENSE as error:  # of Gradio's; what goes wrong in our own functions is logged and told by the desk
            if begun or scope["method"] != "POST":
                raise
            LOG.warning("refused at %r: %.200r", scope["path"], error)
            refusal = PlainTextResponse("The server can make no sense of this request.", 400)
            await refusal(scope, receive, send_with_headers)
        except RuntimeError as error:
            if not isinstance(error.__cause__, HTTPException):
                raise
            await send({"type": "http.response.body"})  # a stream for nobody, which says so before it breaks
        finally:
            leave()


def _refusal(scope: Scope) -> PlainTextResponse | None:
    """The answer to what is refused unread; None for what may pass."""
    door = scope["path"].removeprefix(API)
    reads = scope["method"] in ("GET", "HEAD", "OPTIONS")
    posts = scope["method"] == "POST" and scope["path"].startswith(API) and door.startswith(POSTS)
    if door.startswith(CLOSED) or not (reads or posts):
        return PlainTextResponse("There is nothing here.", 404)
    headers = Headers(scope=scope)
    length = headers.get("Content-Length", "0" if reads else "")
    if not length.isdecimal():
        return PlainTextResponse("Say how long the request is.", 411)
    if int(length) > MOST_BYTES:
        return PlainTextResponse(f"The request is longer than {MOST_BYTES:,} bytes, the most allowed.", 413)
    if posts and not headers.get("Content-Type", "").startswith("application/json"):
        return PlainTextResponse("Send JSON: Content-Type: application/json.", 415)
    return None


def _busy() -> PlainTextResponse:
    return PlainTextResponse("The server is busy. Try again in a moment.", 503)


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    """A body's parts, together no longer than its Content-Length."""
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)  # none follow where the sender has gone


def _first(body: bytes, receive: Receive) -> Receive:
    """`receive`, which begins with a body that was read already."""
    bodies = [body]

    async def receive_again() -> Message:
        return {"type": "http.request", "body": bodies.pop()} if bodies else await receive()

    return receive_again


async def _admit(scope: Scope, body: bytearray) -> PlainTextResponse | None:
    """The answer to a body that is too much or makes no sense; None for one that may pass."""
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        return PlainTextResponse(f"The request holds more than {MOST_VALUES:,} values, the most allowed.", 413)
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return PlainTextResponse("The request must be JSON.", 400)
    if not isinstance(asked, dict):
        return PlainTextResponse("The request must be a JSON object.", 422)
    session, blocks = asked.get("session_hash"), scope["app"].get_blocks()
    if isinstance(session, str) and len(session) > MOST_NAME:
        return PlainTextResponse(f"The session's name is longer than {MOST_NAME} characters.", 422)
    if scope["path"].startswith(API + "queue/") and not _fits(blocks, asked.get("fn_index"), asked.get("data")):
        return PlainTextResponse("There is no such function, or it takes other data.", 422)
    await _forget_unread(blocks._queue, session)
    return None


def _fits(blocks: Blocks, index: object, data: object) -> bool:
    """Whether there is such a function, and these are as many values as it takes."""
    takes = [len(function.inputs) for own, function in blocks.fns.items() if own == index]
    return isinstance(data, list) and takes == [len(data)]


async def _forget_unread(queue: Queue, session: object) -> None:
    """Forget the answers that have waited longest to be fetched, as Gradio does when their reader hangs up."""
    kept = queue.pending_event_ids_session
    if isinstance(session, str) and session in kept:
        kept[session] = kept.pop(session)
    while sum(max(1, len(answers)) for answers in kept.values()) > UNREAD:
        oldest = next(iter(kept))
        queue.pending_messages_per_session.pop(oldest, None)
        await queue.clean_events(session_hash=oldest)
        kept.pop(oldest, None)


GUARD = {
    "app_kwargs": {"middleware": [Middleware(Guard)]},
    "enable_monitoring": False,
    "max_threads": THREADS,
    "state_session_capacity": SESSIONS,
}
