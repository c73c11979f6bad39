"""The page on its host: at an address of its own, or inside another ASGI application."""

import errno
import os
import re
import socket
from ipaddress import ip_address
from typing import Any

import gradio as gr
from gradio import http_server
from starlette.applications import Starlette

from ..errors import InputError
from .app import LAUNCH_LOOK, create_demo
from .middleware import LAUNCH_LIMITS, MAX_SESSIONS, MAX_THREADS, middleware
from .proxies import without_proxies
from .schemas import is_number_in

SITE_PATTERN = re.compile(r"\*|(https?://)?(\*\.)?[\w.-]+(:(\d+|\*))?")  # of a Content-Security-Policy
MAX_PORT = 2**16 - 1


def launch_options(host: str = "", port: str = "", frame_ancestors: str = "", isolate: str = "") -> dict[str, Any]:
    """What `launch` needs to know of the page, from the values of HOST, PORT, FRAME_ANCESTORS and T2I_ISOLATE.

    `host`: a name, or an address of version 4 or 6. `frame_ancestors`: the sites that may show the page in a frame
    besides a Space's own page, with spaces between them. `isolate`: "1" lets the page draw with several threads in the
    browser (docs/browser.md), but then no other site can show it in a frame. `InputError` names the value that is not
    valid.
    """
    if port and not is_number_in(port, range(1, MAX_PORT + 1)):
        raise InputError(f"PORT must be a number from 1 to {MAX_PORT}, not {port!r}")
    if isolate not in ("", "0", "1"):
        raise InputError(f"T2I_ISOLATE must be 0 or 1, not {isolate!r}")
    bare_host = _without_mapping(host.removeprefix("[").removesuffix("]"))
    options = {
        "app_kwargs": {"middleware": middleware(_read_sites(frame_ancestors), isolate == "1")},
        "server_name": f"[{bare_host}]" if ":" in bare_host else bare_host or None,  # Gradio puts it into addresses
        "server_port": int(port) if port else None,
    }
    return LAUNCH_LOOK | LAUNCH_LIMITS | options


def serve(demo: gr.Blocks, options: dict[str, Any]) -> None:
    """Serve the page with its `launch_options` until Ctrl-C; `InputError` if its address is not to be had."""
    host = options["server_name"] or http_server.LOCALHOST_NAME
    port = options["server_port"]
    first, count = http_server.INITIAL_PORT_VALUE, http_server.TRY_NUM_PORTS
    free_port = _first_free(host.strip("[]"), [port] if port else range(first, first + count))
    with without_proxies():  # Gradio asks the page whether it is there, and no proxy can reach it
        demo.launch(prevent_thread_lock=True, **options | {"server_port": free_port})
    demo.block_thread()


def mount(app: Starlette, path: str, model: str = "flowers", frame_ancestors: str = "") -> None:
    """Build the page of a model and add it to another application, FastAPI's for example, at a path such as "/t2i".

    `frame_ancestors`: as for `launch_options`.
    """
    demo = create_demo(model)
    demo.max_threads = demo._queue.max_thread_count = MAX_THREADS
    demo.state_session_capacity = MAX_SESSIONS
    look: dict[str, Any] = dict(LAUNCH_LOOK)
    icon = look.pop("favicon_path")
    limits = {"middleware": middleware(_read_sites(frame_ancestors))}
    gr.mount_gradio_app(app, demo, path, app_kwargs=limits, enable_monitoring=False, **look)
    demo.favicon_path = icon  # Gradio's function takes one for "/" only, and its route serves it at every path


def _without_mapping(host: str) -> str:
    """An address of version 4 that is written as one of version 6 (`::ffff:127.0.0.1`) as itself; else the same."""
    try:
        return str(getattr(ip_address(host), "ipv4_mapped", None) or host)
    except ValueError:  # a name
        return host


def _read_sites(frame_ancestors: str) -> list[str]:
    sites = frame_ancestors.split()
    if wrong := [site for site in sites if not SITE_PATTERN.fullmatch(site)]:
        raise InputError(f"FRAME_ANCESTORS must be sites such as https://example.org, not {wrong[0]!r}")
    return sites


def _first_free(host: str, ports: range | list[int]) -> int:
    """The first port that is free at this host, and at the one where Gradio looks; `InputError` if there is none."""
    for port in ports:
        try:
            for name in (host, http_server.LOCALHOST_NAME):
                _bind(name, port)
            return port
        except PermissionError:
            raise InputError(f"port {port} needs the rights of an administrator: set PORT to another") from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = error.strerror or error
                raise InputError(f"HOST must be an address of this machine, not {host!r} ({reason})") from None
    used = f"port {ports[0]} is in use" if len(ports) == 1 else f"ports {ports[0]} to {ports[-1]} are in use"
    raise InputError(f"{used}: set PORT to another")


def _bind(host: str, port: int) -> None:
    """Bind the address and release it, as asyncio will bind it; `OSError` if that is not possible."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as bound:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
