"""Whatever a stranger sends: requests, captions, numbers and files of any kind, by hypothesis.

Fifty cases of each kind; `python -m pytest tests/web/test_hostile.py --hypothesis-profile long` tries 2,000.
"""

import base64
import io
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

import t2i
from t2i import locate, registry, store
from t2i.media.photo import open_photo, prepare
from t2i.models import (
    NETWORKS,
    CBNGeneratorConfig,
    DCGANGeneratorConfig,
    ImageEncoderConfig,
    StyleEncoderConfig,
    TextEncoderConfig,
)
from t2i.web.schemas import MAX_BLEND_POINTS, MAX_COMPARED_MODELS, PICTURES_PER_PAGE
from t2i.web.service import SERVER_ERROR, Service, errors_as_json
from tests.weights import weights_folder

HONEST = {"caption": "a red flower", "seeds": [7], "model": "flowers"}

dear = settings(max_examples=settings.default.max_examples // 5)

numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, 1, -1, 0.5, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, -1e308, 5e-324, True, "12", "1e5"]),
)
texts = st.one_of(
    st.text(),
    st.text(st.characters(exclude_categories=())),  # lone surrogates too
    st.sampled_from(["a red flower", "a blue bird", "", " \n", "\0", "\ud800", "İ" * 201, "${alert(1)}", "<b>", "🌸"]),
    st.integers(0, 12_000).map(lambda n: "red " * n),
)
junk = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(texts, inner, max_size=5)),
    max_leaves=20,
)
points = st.one_of(numbers, st.lists(numbers, max_size=4), junk)
kinds = st.sampled_from(["gif", "webp", "png", "exe", "GIF", None])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small networks on a busy machine wait longer for a second thread than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tiny_networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    store.save(folder, tiny_networks, {name: asdict(n.config) for name, n in tiny_networks.items()})
    return folder


@pytest.fixture(scope="module")
def service(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "WEIGHTS", weights_folder(folder.parent / "weights", {"flowers": folder}))
        yield Service("flowers")


@pytest.fixture(scope="module")
def studio(folder):
    return t2i.load(folder)


def request(**fields):
    """Requests that have these fields or not, as they ought to be or not, and sometimes none at all."""
    models = st.sampled_from(["roses", "../tiny", ["flowers"]])
    mixed = {name: st.one_of(good, junk) for name, good in (fields | {"model": models}).items()}
    return st.one_of(st.fixed_dictionaries(fields), st.fixed_dictionaries({}, optional=mixed), junk)


captions = st.one_of(st.lists(texts, max_size=10), *(st.lists(texts, min_size=n, max_size=n) for n in (2, 4)))
likes = st.one_of(st.text("aZ9-_=é\n", min_size=132, max_size=137), st.sampled_from(["", "A" * 134, "_" * 134]))
drawings = request(
    caption=texts,
    seeds=st.lists(numbers, max_size=20),
    attributes=st.lists(numbers, max_size=20),
    at=st.lists(points, max_size=20),
    like=likes,
    scale=numbers,
)
models = st.lists(st.just("flowers"), max_size=6)
blends = request(captions=captions, at=st.lists(points, max_size=MAX_BLEND_POINTS + 9), seed=numbers, kind=kinds)


def answered(service, verb, asked) -> dict:
    """The answer, after a look at what every answer must be; the next honest request is answered as ever."""
    answer = errors_as_json(lambda: getattr(service, verb)(asked))
    event("refused" if "error" in answer else "answered")
    if "error" in answer:
        assert set(answer) == {"error"}
        assert answer["error"] != SERVER_ERROR
        assert "/" not in answer["error"].replace("../tiny", "") and "\n" not in answer["error"]
    again = service.draw(HONEST, kind="PNG")["pictures"]
    assert again == answered.honest.setdefault(id(service), again)
    return answer


answered.honest = {}


def picture(uri: str) -> Image.Image:
    start, _, data = uri.partition(",")
    assert re.fullmatch("data:image/[a-z]+;base64", start)
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


@given(asked=drawings)
def test_any_request_to_draw(service, asked):
    answer = answered(service, "draw", asked)
    if "error" not in answer:
        assert 1 <= len(answer["pictures"]) == len(answer["seeds"]) <= PICTURES_PER_PAGE
        assert all(type(seed) is int and 0 <= seed <= 999_999 for seed in answer["seeds"])
        assert {picture(uri).size for uri in answer["pictures"]} == {(64, 64)}


@given(asked=request(caption=texts, seeds=st.lists(numbers, max_size=20), models=models))
def test_any_request_to_compare(service, asked):
    answer = answered(service, "compare", asked)
    if "error" not in answer:
        drawn = [row["pictures"] for row in answer["compared"]]
        assert 1 <= len(drawn) <= MAX_COMPARED_MODELS and {*map(len, drawn)} == {len(answer["seeds"])}


@given(asked=drawings)
def test_any_request_for_a_png(service, asked):
    answer = answered(service, "png", asked)
    if "error" not in answer:
        assert picture(answer["file"]).size in ((64, 64), (256, 256))
        assert re.fullmatch(r"flowers-\d+-[a-z0-9-]*\.png", answer["name"])


@dear
@given(asked=request(pictures=st.lists(drawings, max_size=4)))
def test_any_request_for_a_sheet(service, asked):
    answer = answered(service, "sheet", asked)
    if "error" not in answer:
        assert picture(answer["file"]).format == "PNG"


@given(asked=blends)
def test_any_request_to_blend(service, asked):
    answer = answered(service, "blend", asked)
    if "error" not in answer:
        assert 1 <= len(answer["pictures"]) <= MAX_BLEND_POINTS


@dear
@given(asked=blends)
def test_any_request_for_a_film(service, asked):
    answer = answered(service, "film", asked)
    if "error" not in answer:
        assert picture(answer["file"]).format.lower() == asked["kind"]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return start + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # says when it was made


@st.composite
def encoded(draw) -> bytes:
    """A picture of some format and mode, with metadata that may be hostile."""
    kind = draw(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"]))
    mode = draw(st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "F", "YCbCr"]))
    size = draw(st.tuples(st.integers(1, 90), st.integers(1, 90)))
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    image = image.convert("L").convert(mode) if mode == "I;16" else image.convert("L" if mode == "F" else mode)
    exif = Image.Exif()
    exif[0x0112] = draw(st.sampled_from([1, 3, 6, 8, 9, 65535]))
    options = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "exif": st.one_of(st.just(exif.tobytes()), st.binary(max_size=60).map(lambda b: b"Exif\0\0" + b)),
                "icc_profile": st.one_of(st.just(PROFILE), st.just(PROFILE[:70]), st.binary(max_size=200)),
                "save_all": st.just(True),
            },
        )
    )
    if "save_all" in options:
        options["append_images"] = [image.rotate(90), image.rotate(180)]
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **options)
    except Exception:  # not every format takes every mode and every junk
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, kind)
    return buffer.getvalue()


@st.composite
def damaged(draw) -> bytes:
    """Files as they come: whole, cut, with other bytes inside, behind another header, with more behind."""
    data = bytearray(draw(encoded()))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=8)):
        data[place] = byte
    first = draw(st.integers(0, min(len(data), 40)))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, first), st.integers(0, 255)), max_size=4)):
        data[place % len(data)] = byte  # the headers are where it hurts
    before = draw(st.sampled_from([b"", b"", b"", b"GIF89a", b"%PDF-1.7\n", b"<svg onload=alert(1)>", b"\xff\xd8\xff"]))
    behind = draw(st.sampled_from([b"", b"", b"PK\x03\x04", b"<script>alert(1)</script>", bytes(5000)]))
    end = draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))
    return before + bytes(data[:end]) + behind


def whole(side: int, *before: bytes, depth: int = 8, colour: int = 2, pixels: bytes) -> bytes:
    """A PNG of one compressed stream, with other chunks before it."""
    start = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    chunks = (chunk(b"IHDR", start), *before, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def moving(kind: str) -> bytes:
    first, *others = [Image.new("RGB", (1024, 1024), (i, i, i)) for i in range(30)]
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=others)
    return buffer.getvalue()


def bombs() -> dict[str, bytes]:
    """Files of a few kilobytes, and at most 2 MB, that want to be hundreds of megabytes."""
    long, small, black = (zlib.compress(bytes(size), 9) for size in (300_000_000, 1_000_000, 193 * 64))
    return {
        "a header of 30,000 pixels a side": header(30_000, 30_000),
        "a header of 2^31 pixels a side": header(2**31 - 1, 2**31 - 1),
        "the most pixels, of 16 bits": whole(1024, depth=16, colour=6, pixels=zlib.compress(bytes((8192 + 1) * 1024))),
        "more pixels than its header says": whole(64, pixels=long),
        "a colour profile": whole(64, chunk(b"iCCP", b"x\0\0" + long), pixels=black),
        "a text": whole(64, chunk(b"zTXt", b"x\0\0" + long), pixels=black),
        "a thousand texts": whole(64, *[chunk(b"zTXt", b"x\0\0" + small)] * 1000, pixels=black),
        "a moving PNG": moving("PNG"),
        "a moving WebP": moving("WEBP"),
    }


TAKE = r"""
import re
import sys
from pathlib import Path
from t2i.errors import InputError
from t2i.web.schemas import read_photo

for file in sys.argv[1:]:
    try:
        read_photo({"photo": Path(file).read_text()})
    except InputError:
        pass
    print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the most memory of a process is Linux's to tell")
def test_bombs_take_little_memory(tmp_path):
    """The most memory that a process of its own ever held, after each of them, beside that after an honest photo."""
    small, large = {"an honest photo": whole(64, pixels=zlib.compress(bytes(193 * 64)))}, bombs()
    for number, data in enumerate((small | large).values()):
        (tmp_path / f"{number:02}").write_text("data:image/png;base64," + base64.b64encode(data).decode())
    told = subprocess.run([sys.executable, "-c", TAKE, *sorted(tmp_path.iterdir())], capture_output=True, check=True)
    most = [int(kilobytes) // 1000 for kilobytes in told.stdout.split()]
    assert len(most) == 1 + len(large)
    assert most[-1] - most[0] < 64, dict(zip(large, most[1:]))


sides = st.sampled_from([0, 1, 64, 1024, 1025, 7_000, 30_000, 65_535, 2**31 - 1, 2**32 - 1])
pngs = st.builds(header, sides, sides, st.sampled_from([1, 8, 16, 255]), st.sampled_from([0, 2, 3, 4, 6, 9]))
files = st.one_of(encoded(), damaged(), pngs, st.binary(max_size=300))


@given(data=files)
def test_any_file_as_a_photo(data):
    pixels = only_input_errors(lambda: prepare(open_photo(io.BytesIO(data))))
    assert pixels is None or pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8


@given(
    photo=st.one_of(
        files.map(lambda data: "data:image/png;base64," + base64.b64encode(data).decode()),
        st.builds("data:image/{};base64,{}".format, st.sampled_from(["png", "jpeg", "webp", "svg+xml"]), texts),
        junk,
    ),
    words=st.one_of(st.just([HONEST["caption"]]), captions, junk),
)
def test_any_photo_to_restyle(service, photo, words):
    answer = answered(service, "restyle", {"photo": photo, "captions": words})
    if "error" not in answer:
        assert 1 <= len(answer["pictures"]) <= 8


uris = files.map(lambda data: "data:image/png;base64," + base64.b64encode(data).decode())
sights = request(
    caption=texts,
    captions=st.one_of(st.just([HONEST["caption"]]), captions),
    like=likes,
    photo=uris,
    photos=st.lists(uris, max_size=3),
    seeds=st.lists(numbers, max_size=20),
    attributes=st.lists(numbers, max_size=20),
)


@given(
    verb=st.sampled_from(["search", "describe", "embed_photos", "embed_captions", "match", "gallery", "style"]),
    asked=sights,
)
def test_any_request_with_photos_or_captions(service, verb, asked):
    answered(service, verb, asked)


def only_input_errors(verb, *arguments):
    """What a verb returns, or None if it refuses in a line."""
    try:
        answer = verb(*arguments)
    except t2i.InputError as error:
        event("refused")
        assert "\n" not in str(error)
    else:
        event("answered")
        return answer


integers = st.one_of(st.integers(), st.integers(0, 300), st.sampled_from([2**31, 2**32, 2**63 - 1, 2**63, 10**400]))
floats = st.one_of(st.floats(), st.floats(-1, 1))
few = st.lists(texts, max_size=4)


seeds = st.one_of(integers, st.lists(integers, max_size=5))


@given(seeds=seeds)
def test_any_noise(seeds):
    z = only_input_errors(t2i.noise, seeds)
    assert z is None or z.shape[1:] == (100,)


spots = st.one_of(st.just([]), st.lists(st.lists(floats, max_size=3), max_size=5))


@given(
    words=st.one_of(texts, few),
    seeds=seeds,
    attributes=st.lists(floats, max_size=6),
    at=spots,
    like=st.one_of(st.just([]), floats.map(lambda number: [number] * 100), st.lists(floats, max_size=101)),
)
def test_any_drawing(studio, words, seeds, attributes, at, like):
    drawn = only_input_errors(studio.draw_array, words, seeds, attributes, at, like)
    assert drawn is None or drawn.shape[1:] == (64, 64, 3) and 1 <= len(drawn) <= 5


@given(one=texts, other=texts, steps=st.one_of(st.integers(), st.integers(0, 9)), seed=integers, to=integers)
def test_any_way(studio, one, other, steps, seed, to):
    for verb, arguments in ((studio.blend, (one, other, steps, seed)), (studio.wander, (one, seed, to, steps))):
        way = only_input_errors(verb, *arguments)
        assert way is None or len(way) == steps


shares = st.floats(0, 1).map(lambda share: [share, 1 - share])
mixtures = st.lists(st.one_of(shares, st.lists(floats, max_size=4)), max_size=4)


@given(words=st.one_of(st.just(["a red flower", "a blue bird"]), few), weights=mixtures, seed=integers)
def test_any_mixture(studio, words, weights, seed):
    mixed = only_input_errors(studio.mix_array, words, weights, seed)
    assert mixed is None or mixed.shape == (len(weights), 64, 64, 3)


modes = st.sampled_from(["RGB", "RGBA", "P", "I;16", "CMYK", "F"])
photos = st.builds(Image.new, modes, st.tuples(st.integers(0, 90), st.integers(0, 90)))


@given(photo=photos, words=few, count=integers)
def test_any_photo_and_captions(studio, photo, words, count):
    index = only_input_errors(studio.index, [photo] * len(words))
    for caption in words:
        found = None if index is None else only_input_errors(studio.search, caption, index, count)
        assert found is None or len(found) == min(count, len(words))
    told = only_input_errors(studio.describe, photo, words)
    assert told is None or len(told) == len(words) and all(-1.001 <= score <= 1.001 for _, score in told)
    z = only_input_errors(studio.style, photo)
    assert z is None or z.shape == (100,)
    matched = only_input_errors(studio.match, [photo] * (count % 4), words)
    assert matched is None or all(0 <= one <= 1 for one in matched)
    painted = only_input_errors(studio.restyle, photo, words)
    assert painted is None or len(painted) == len(words)


@given(name=st.one_of(texts, st.sampled_from(["flowers@main", "./..", "~", "owner/", "/dev/null"])))
def test_any_name_of_a_model(name):
    def refuse(*_):
        raise t2i.InputError("no network here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("t2i.hub.fetch", refuse)
        only_input_errors(locate.resolve, name)


@given(name=st.sampled_from(sorted(NETWORKS)), described=junk, data=st.data())
def test_any_configuration(folder, name, described, data):
    """A configuration in which one thing, of any depth, is another than it was."""
    config = store.read_config(folder)
    fields = config.get(name, {})  # the tiny model does without some networks
    place = data.draw(st.sampled_from([name, "attributes", "training", "sha256", "more", *fields]))
    (fields if place in fields else config)[place] = described
    with tempfile.TemporaryDirectory() as other:
        for path in folder.glob("*.safetensors"):
            os.symlink(path, Path(other) / path.name)
        (Path(other) / "config.json").write_text(json.dumps(config))
        loaded = only_input_errors(t2i.load, other)
        assert loaded is None or loaded.draw_array("a red flower").shape == (1, 64, 64, 3)


sizes = st.integers(1, 9)


def made(role, config):
    """The network that a configuration is of."""
    return next(network for network, described in NETWORKS[role].values() if type(config) is described)(config)


@dear
@given(
    noise=st.sampled_from([100, 100, 100, 7]),
    embedding=st.one_of(st.just(8), sizes),
    text=st.builds(TextEncoderConfig, st.integers(66, 90), st.tuples(sizes, sizes, sizes), sizes, st.just(8)),
    projected=sizes,
    width=sizes,
    channels=st.none() | st.tuples(*[sizes] * 4),
    eyes=st.tuples(sizes, sizes, st.sampled_from([100, 100, 7])),
)
def test_any_sizes_whose_weights_fit(noise, embedding, text, projected, width, channels, eyes):
    """What a stranger may well have trained draws and sees, or is refused when it is loaded."""
    configs = {
        "text_encoder": text,
        "generator": CBNGeneratorConfig(noise, embedding, projected, 32, width, channels)
        if channels
        else DCGANGeneratorConfig(noise, embedding, projected, width),
        "image_encoder": ImageEncoderConfig(embedding, eyes[0]),
        "style_encoder": StyleEncoderConfig(eyes[2], eyes[1]),
    }
    try:
        networks = {name: made(name, config).eval() for name, config in configs.items()}
    except ValueError as error:
        return event(str(error))
    with tempfile.TemporaryDirectory() as folder:
        store.save(folder, networks, {name: asdict(config) for name, config in configs.items()})
        studio = only_input_errors(t2i.load, folder)
    if studio:
        assert len(studio.restyle(Image.new("RGB", (64, 64)), ["a red flower"])) == 1
        assert len(studio.describe(Image.new("RGB", (64, 64)), ["a red flower"])) == 1
