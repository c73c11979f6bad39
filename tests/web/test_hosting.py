"""The page under a sub-path, in another application, in frames, at any address, and with proxy variables set."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager

import gradio_client
import pytest
import uvicorn
from fastapi import FastAPI
from gradio import http_server
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from t2i.errors import InputError
from t2i.web import create_demo, mount
from t2i.web.component import STATIC
from t2i.web.hosting import launch_options, serve
from t2i.web.middleware import ISOLATION_HEADERS
from tests.screen import free_port, pixels, served, settle

NGINX = shutil.which("nginx")
DRAW = {"caption": "a red flower", "seeds": [7]}
CLOSED = ("file=app.py", "file/app.py", "proxy=http://127.0.0.1/", "stream/1", "upload", "run/draw", "monitoring")


def send(address: str, path: str, data: object = None) -> tuple[int, str]:
    """Status and body of a GET, or of a POST of JSON."""
    connection = http.client.HTTPConnection(address, timeout=60)
    body = None if data is None else json.dumps(data).encode()
    connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode("utf-8", "replace")


@contextmanager
def running(application):
    """Serve an ASGI application; yields host and port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def launched(root_path: str = "", host: str = "127.0.0.1", frame_ancestors: str = "", isolate: str = ""):
    """Launch the page; yields host and port."""
    demo, port = create_demo(), free_port()
    options = launch_options(host, str(port), frame_ancestors, isolate)
    demo.launch(prevent_thread_lock=True, quiet=True, root_path=root_path, **options)
    try:
        yield f"{host}:{port}"
    finally:
        demo.close()


def in_fastapi() -> FastAPI:
    application = FastAPI()
    mount(application, "/t2i")
    return application


def in_an_application_in_an_application() -> Starlette:
    inner = Starlette()
    mount(inner, "/t2i")
    return Starlette(routes=[Mount("/more", inner)], lifespan=inner.router.lifespan_context)


@pytest.mark.parametrize(
    "host, prefix",
    [
        (lambda: launched(""), ""),
        (lambda: launched("/t2i"), ""),  # the proxy strips the sub-path
        (lambda: launched("/t2i"), "/t2i"),  # the proxy keeps it
        (lambda: launched("/t2i/"), "/t2i"),
        (lambda: launched("https://example.org/t2i"), ""),
        (lambda: launched("https://example.org/t2i"), "/t2i"),
        (lambda: running(in_fastapi()), "/t2i"),
        (lambda: running(in_an_application_in_an_application()), "/more/t2i"),
    ],
)
def test_page_and_api_work_and_closed_routes_stay_closed_under_a_sub_path(model, use_models, host, prefix):
    use_models({"flowers": model})
    with host() as address:
        status, page = send(address, f"{prefix}/")
        assert status == 200 and 'property="og:image"' in page
        icon = send(address, re.search(r'<link rel="icon" href="([^"]+)" />', page)[1])
        assert icon == (200, (STATIC / "icon.png").read_bytes().decode("utf-8", "replace"))
        components = json.loads(send(address, f"{prefix}/config")[1])["components"]
        component = next(c["id"] for c in components if "draw" in c["props"].get("server_fns", []))
        call = {"data": DRAW, "component_id": component, "fn_name": "draw", "session_hash": "x"}
        assert len(json.loads(send(address, f"{prefix}/gradio_api/component_server/", call)[1])["pictures"]) == 1
        assert "event_id" in send(address, f"{prefix}/gradio_api/call/v2/draw", DRAW)[1]
        assert send(address, f"{prefix}/preview.jpg")[0] == 200
        for route in CLOSED:
            for path in (
                f"{prefix}/gradio_api/{route}",
                f"/gradio_api/{route}",
                f"{prefix}{prefix}/gradio_api/{route}",
            ):
                assert send(address, path)[0] == 404, path
                assert send(address, path, {"data": []})[0] in (404, 405), path
        wrong = {"data": [], "fn_index": 999, "session_hash": "x"}
        assert send(address, f"{prefix}/gradio_api/queue/join", wrong)[0] == 422
        assert send(address, f"{prefix}/gradio_api/component_server/", [])[0] == 422


NGINX_CONF = """
pid {folder}/pid; daemon off; events {{}}
http {{
    access_log off; {places}
    server {{
        listen {strips};
        location /t2i/ {{ proxy_pass http://127.0.0.1:{port}/; proxy_set_header Host $http_host; proxy_buffering off; }}
    }}
    server {{
        listen {keeps};
        location /t2i/ {{ proxy_pass http://127.0.0.1:{port}; proxy_set_header Host $http_host; proxy_buffering off; }}
    }}
}}
"""


@pytest.fixture
def addresses(model, tmp_path):
    """The page's addresses behind nginx, which strips the sub-path at one and keeps it at the other."""
    if not NGINX:
        pytest.skip("no nginx")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    ports = {name: free_port() for name in ("strips", "keeps", "port")}
    places = "".join(f"{kind}_temp_path {tmp_path}/{kind}; " for kind in kinds)
    (tmp_path / "nginx.conf").write_text(NGINX_CONF.format(folder=tmp_path, places=places, **ports))
    with ExitStack() as stack:
        stack.enter_context(served({"flowers": model}, ports["port"], GRADIO_ROOT_PATH="/t2i"))
        nginx = stack.enter_context(subprocess.Popen([NGINX, "-e", "stderr", "-c", str(tmp_path / "nginx.conf")]))
        stack.callback(nginx.terminate)
        addresses = [f"http://127.0.0.1:{ports[name]}/t2i/" for name in ("strips", "keeps")]
        for address in addresses:
            wait(address)
        yield addresses


def wait(address: str) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            return urllib.request.urlopen(address).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)


def assert_used(new_page, address: str) -> None:
    """That the page follows typing at this address, and programs draw there."""
    page = new_page(f"{address}?tab=draw")
    before = pixels(page)
    page.get_by_label("Caption", exact=True).fill("a dark blue flower")
    settle(page)
    assert (before != pixels(page)).any()
    assert page.evaluate("fetch(`${gradio_config.root}/browser/noise/100/0`).then(answer => answer.status)") == 200
    drawn = gradio_client.Client(address, verbose=False).predict(**DRAW, api_name="/draw")
    assert len(drawn["pictures"]) == 1
    tag = page.evaluate("document.querySelector('meta[property=\"og:image\"]').content")
    assert tag.startswith(f"{address}preview.jpg") and urllib.request.urlopen(tag).status == 200


def test_the_page_is_used_behind_proxies_that_strip_or_keep_a_sub_path(addresses, new_page):
    for address in addresses:
        assert_used(new_page, address)


def test_the_page_is_used_inside_another_application(model, use_models, new_page):
    use_models({"flowers": model})
    with running(in_fastapi()) as address:
        assert_used(new_page, f"http://{address}/t2i/")


@pytest.mark.parametrize("sites", ["https://example.org http://127.0.0.1:*", "https://example.org", ""])
def test_the_sites_that_an_owner_names_may_frame_the_page(browser, model, use_models, sites):
    use_models({"flowers": model})
    with launched(frame_ancestors=sites) as address:
        other = Starlette(routes=[Route("/", lambda _: HTMLResponse(f'<iframe src="http://{address}"></iframe>'))])
        with running(other) as framing:
            page = browser.new_page()
            page.goto(f"http://{framing}")
            title = page.frame_locator("iframe").locator("h1")
            if "127.0.0.1" in sites:
                title.wait_for(state="attached")
            else:
                page.wait_for_load_state("networkidle")
                assert title.count() == 0 and page.frames[1].url.startswith("chrome-error:")
            page.close()


@pytest.mark.parametrize("isolate", ["1", "0"])
def test_an_owner_may_isolate_the_page(model, use_models, isolate):
    use_models({"flowers": model})
    with launched(isolate=isolate) as address, urllib.request.urlopen(f"http://{address}/") as answer:
        own = {name: answer.headers[name] for name in ISOLATION_HEADERS}
    assert own == (ISOLATION_HEADERS if isolate == "1" else dict.fromkeys(ISOLATION_HEADERS))
    with pytest.raises(InputError, match="^T2I_ISOLATE must be 0 or 1, not 'yes'$"):
        launch_options(isolate="yes")


@pytest.mark.parametrize(
    "sites", ["example.org; script-src *", "https://a.example, https://b.example", "a 'none'", "a/b"]
)
def test_a_site_that_is_none_is_an_input_error(sites):
    with pytest.raises(InputError, match="^FRAME_ANCESTORS must be sites such as https://example.org, not "):
        launch_options(frame_ancestors=sites)


@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
def test_the_page_is_at_any_address_of_version_6(model, use_models, host):
    use_models({"flowers": model})
    with launched(host=host) as address:
        assert send(f"[::1]:{address.rpartition(':')[2]}", "/config")[0] == 200


PROXIES = {name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")}


def test_the_page_starts_with_proxy_variables_set(model):
    """Nobody listens at port 9, and httpx does not know SOCKS by itself."""
    with served({"flowers": model}, free_port(), ALL_PROXY="socks5://127.0.0.1:9", **PROXIES) as url:
        address = url.removeprefix("http://")
        assert send(address, "/config")[0] == 200


@pytest.mark.parametrize("name", ["127.0.0.1", "::1"])
def test_a_port_in_use_is_an_input_error_that_names_the_variable(name):
    with socket.create_server((name, 0), family=socket.AF_INET6 if ":" in name else socket.AF_INET) as used:
        port = used.getsockname()[1]
        with pytest.raises(InputError, match=f"^port {port} is in use: set PORT to another$"):
            serve(None, launch_options(name, str(port)))


def test_a_host_that_is_not_of_this_machine_is_an_input_error():
    with pytest.raises(InputError, match="^HOST must be an address of this machine, not '192.0.2.1' "):
        serve(None, launch_options("192.0.2.1", str(free_port())))


@pytest.mark.parametrize("host", ["::ffff:127.0.0.1", "[::ffff:7f00:1]", "127.0.0.1"])
def test_an_address_of_version_4_may_be_written_as_one_of_version_6(host):
    demo, port = Recorded(), free_port()
    serve(demo, launch_options(host, str(port)))
    assert (demo.options["server_name"], demo.options["server_port"]) == ("127.0.0.1", port)


def test_without_a_port_the_page_takes_the_next_one_that_is_free(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        monkeypatch.setattr(http_server, "INITIAL_PORT_VALUE", port)
        demo = Recorded()
        serve(demo, launch_options())
    assert port < demo.options["server_port"] < port + 100


class Recorded:
    """Blocks that only record how they are launched."""

    def launch(self, **options) -> None:
        self.options = options

    def block_thread(self) -> None:
        pass
