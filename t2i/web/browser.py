"""What the page needs to draw in the visitor's own browser: the runtime, the networks, and the noise of seeds.

The runtime is onnxruntime-web, whose files are in `runtime/`; `tools/runtime.py` fetches them.
"""

import json
import threading
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
from starlette._utils import get_route_path
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..breeding import MAX_GENOME_CAPTIONS
from ..errors import InputError
from ..onnx import OnnxModel, onnx_model
from ..store import MAX_NETWORK_SIZE
from ..studio import noise
from .component import read_static
from .encoding import SMALL_SIZE
from .schemas import ENLARGED_SCALE, MAX_SEED, STYLE_STEP, is_number_in
from .service import Service

PREFIX = "/browser/"
RUNTIME = Path(__file__).parent / "runtime"
WORKER = "worker.js"
SCRIPT, WASM, ONNX = "text/javascript", "application/wasm", "application/octet-stream"
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}  # the path has a digest of what is there
ANEW = {"Cache-Control": "no-cache"}
ISOLATED = {"Cross-Origin-Embedder-Policy": "require-corp"}  # what an isolated page demands of its worker's script
SEEDS_PER_BLOCK = 128  # of noise, 51 kB of 100 numbers each
BLOCKS = range(MAX_SEED // SEEDS_PER_BLOCK + 2)  # a picture between two seeds needs the next one too
NOISE_SIZES = range(1, MAX_NETWORK_SIZE + 1)
SIZES = {
    "seeds_per_block": SEEDS_PER_BLOCK,
    "style_step": STYLE_STEP,
    "small_size": SMALL_SIZE,
    "max_captions": MAX_GENOME_CAPTIONS,
    "enlarged_scale": ENLARGED_SCALE,
}


class BrowserModels:
    """The page's models as ONNX; each is written when a browser first asks, in half a second, and kept: up to 16 MB."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._models: dict[str, OnnxModel] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> OnnxModel:
        """The model of this name; `InputError` if the page has none, or it has no form for ONNX."""
        if name not in self._service.models:
            raise InputError("There is no such model.")
        if name not in self._models:
            with self._lock:
                if name not in self._models:
                    self._models[name] = onnx_model(self._service.checkpoint(name))
        return self._models[name]


class BrowserFiles:
    """ASGI middleware that answers below `/browser/`:

    - `<version of the runtime>/`: `worker.js`, and `ort.mjs` and `ort.wasm`, which are stored compressed
    - `models/<name>/`: `manifest.json` and the files that it names
    - `noise/<Z>/<i>`: the noise of the i-th 128 seeds, (128, Z), float32, little-endian

    The app's Blocks have `browser_models`, a `BrowserModels`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = get_route_path(scope) if scope["type"] == "http" else ""
        if not path.startswith(PREFIX) or scope["method"] not in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        models: BrowserModels = scope["app"].get_blocks().browser_models
        answer = await anyio.to_thread.run_sync(_answer, models, path.removeprefix(PREFIX).split("/"))
        await answer(scope, receive, send)


def _answer(models: BrowserModels, path: list[str]) -> Response:
    missing = PlainTextResponse("There is nothing here.", 404)
    match path:
        case ["noise", size, block] if is_number_in(size, NOISE_SIZES) and is_number_in(block, BLOCKS):
            first = int(block) * SEEDS_PER_BLOCK
            rows = noise(range(first, first + SEEDS_PER_BLOCK), int(size)).numpy().astype("<f4")
            return Response(rows.tobytes(), media_type=ONNX, headers=FOREVER)
        case ["models", name, file]:
            try:
                model = models[name]
            except InputError:
                return missing
            if file == "manifest.json":
                manifest = model.manifest | SIZES | {"runtime": runtime_files()["ort.wasm"]}
                return JSONResponse(manifest, headers=ANEW)
            return Response(model.files[file], media_type=ONNX, headers=FOREVER) if file in model.files else missing
        case [version, file] if version == runtime_version():
            if file == WORKER:
                return Response(read_static(WORKER), media_type=SCRIPT, headers=FOREVER | ISOLATED)
            if file in runtime_files():
                kind = WASM if file.endswith(".wasm") else SCRIPT
                data = (RUNTIME / f"{file}.gz").read_bytes()  # every browser takes gzip
                return Response(data, media_type=kind, headers=FOREVER | ISOLATED | {"Content-Encoding": "gzip"})
    return missing


@cache
def runtime_files() -> dict[str, dict[str, Any]]:
    """The files of the runtime by name: their size and hash, and how many bytes are sent."""
    files = json.loads((RUNTIME / "source.json").read_text("utf-8"))["files"]
    return {name: entry | {"sent": (RUNTIME / f"{name}.gz").stat().st_size} for name, entry in files.items()}


@cache
def runtime_version() -> str:
    """A digest of the runtime and of the script that draws with it."""
    return sha256(json.dumps(runtime_files()).encode() + read_static(WORKER).encode()).hexdigest()[:16]
