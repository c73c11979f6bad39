"""Photos of every kind, and files that only look like photos."""

import io
import struct
import sys
import zlib
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from t2i.errors import InputError
from t2i.media.photo import is_picture_name, open_photo, picture_suffixes, prepare

RED, WHITE = (220, 30, 40), (255, 255, 255)


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return open_photo(tmp_path / name)


def colour(photo) -> list[int]:
    """The colour of the middle, after checking the shape."""
    pixels = prepare(photo)
    assert pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8
    return pixels[32, 32].tolist()


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (1, 10_000), (3000, 5)])
def test_a_photo_of_any_size_becomes_64_by_64(size):
    assert colour(Image.new("RGB", size, RED)) == list(RED)


def test_the_central_square_is_used():
    photo = Image.new("RGB", (300, 100), WHITE)
    photo.paste(RED, (100, 0, 200, 100))
    assert (prepare(photo)[4:-4, 4:-4] == RED).all()


@pytest.mark.parametrize(
    "mode, value, expected",
    [
        ("L", 77, [77] * 3),
        ("1", 1, [255] * 3),
        ("LA", (77, 0), [255] * 3),
        ("RGBA", (*RED, 255), [*RED]),
        ("RGBA", (*RED, 0), [255] * 3),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("I;16", 77, [77] * 3),
        ("I;16B", 77, [77] * 3),
        ("F", 77.0, [77] * 3),
        ("YCbCr", (255, 128, 128), [255] * 3),
    ],
)
def test_a_photo_of_any_mode_becomes_rgb(mode, value, expected):
    assert np.abs(np.subtract(colour(Image.new(mode, (80, 80), value)), expected)).max() <= 1


@pytest.mark.parametrize(
    "values, kind, ends",
    [
        ((0, 1), np.float32, (0, 255)),
        ((0.2, 0.8), np.float32, (51, 204)),
        ((0, 255), np.float32, (0, 255)),
        ((20, 200), np.float32, (20, 200)),
        ((-2, 7), np.float32, (0, 255)),
        ((1e3, 1e9), np.float32, (0, 255)),
        ((0, 1000), np.int32, (0, 255)),
        ((-70_000, 70_000), np.int32, (0, 255)),
        ((20, 200), np.int32, (20, 200)),
        ((0, 4095), np.uint16, (0, 255)),  # 12 bits, of a microscope
        ((1000, 60_000), np.uint16, (0, 255)),
        ((20, 200), np.uint16, (20, 200)),
    ],
)
def test_a_photo_of_16_or_32_bits_is_scaled_by_its_range(tmp_path, values, kind, ends):
    ramp = np.linspace(*values, 64).astype(kind)
    photo = saved(tmp_path, Image.fromarray(np.tile(ramp, (64, 1))), "ramp.png" if kind == np.uint16 else "ramp.tif")
    assert photo.mode in ("F", "I", "I;16")
    pixels = prepare(photo)[32, :, 0].astype(int)
    assert np.abs(pixels - np.linspace(*ends, 64)).max() <= 1.5


def test_values_of_a_photo_that_are_not_finite_do_no_harm():
    values = np.full((64, 64), 0.5, np.float32)
    values[:8], values[8:16], values[16:24] = np.nan, np.inf, -np.inf
    pixels = prepare(Image.fromarray(values))
    assert abs(int(pixels[40, 32, 0]) - 128) <= 1
    assert prepare(Image.fromarray(np.full((64, 64), np.nan, np.float32))).max() == 0


def test_avif_is_a_picture_and_a_film_is_not(tmp_path):
    assert np.abs(np.subtract(colour(saved(tmp_path, Image.new("RGB", (70, 70), RED), "x.avif")), RED)).max() <= 8
    assert all(map(is_picture_name, ("a.AVIF", "a.jpg", "a.jp2", "a.tga", "b/c.tiff")))
    assert not any(map(is_picture_name, ("a.mpg", "a.eps", "a.txt", "jpg", "a.heic")))


@pytest.mark.parametrize("brand", b"heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())
def test_heic_is_named_with_what_to_install(tmp_path, brand):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(99))
    with pytest.raises(InputError, match="a.heic: HEIC needs `pip install pillow-heif`"):
        open_photo(tmp_path / "a.heic")
    with pytest.raises(InputError, match="HEIC needs `pip install pillow-heif`"):
        open_photo(io.BytesIO((tmp_path / "a.heic").read_bytes()))


def test_heic_is_read_once_its_package_is_installed(tmp_path, monkeypatch):
    """With a stand-in for the package, which takes a PNG for a HEIC."""
    package = ModuleType("pillow_heif")
    package.register_heif_opener = lambda: monkeypatch.setitem(Image.EXTENSION, ".heic", "PNG")
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    picture_suffixes.cache_clear()
    try:
        assert is_picture_name("IMG_1.HEIC")
    finally:
        picture_suffixes.cache_clear()


def test_a_transparent_colour_of_a_palette_becomes_white(tmp_path):
    image = Image.new("P", (80, 80), 1)
    image.putpalette([0, 0, 0, *RED])
    assert colour(saved(tmp_path, image, "opaque.png")) == list(RED)
    assert colour(saved(tmp_path, image, "clear.png", transparency=1)) == list(WHITE)


def test_files_of_many_formats_are_read(tmp_path):
    frames = [Image.new("RGB", (70, 70), RED), Image.new("RGB", (70, 70), WHITE)]
    for name in ("a.gif", "a.webp", "a.png"):
        animation = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:])
        animation.seek(1)
        assert np.abs(np.subtract(colour(animation), RED)).max() <= 8, name  # the first frame
    assert np.abs(np.subtract(colour(saved(tmp_path, frames[0].convert("CMYK"), "c.jpg")), RED)).max() <= 8
    assert np.abs(np.subtract(colour(saved(tmp_path, frames[0], "t.tiff")), RED)).max() <= 1


def test_a_photo_is_turned_as_its_exif_says(tmp_path):
    photo = Image.new("RGB", (80, 80), WHITE)
    photo.paste(RED, (0, 0, 80, 40))  # red above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    pixels = prepare(saved(tmp_path, photo, "turned.png", exif=exif))
    assert pixels[32, 60].tolist() == list(RED) and pixels[32, 4].tolist() == list(WHITE)


@pytest.mark.parametrize("junk", [{"exif": b"Exif\0\0MM\0*" + b"\xff" * 40}, {"icc_profile": b"\xff" * 300}])
def test_hostile_metadata_does_no_harm(tmp_path, junk):
    photo = saved(tmp_path, Image.new("RGB", (70, 70), RED), "x.jpg", **junk)
    assert np.abs(np.subtract(colour(photo), RED)).max() <= 8


def test_a_photo_of_100_megapixels_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side, words in ((8_000, "8000×8000 pixels"), (10_000, "50 million"), (60_000, "50 million")):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(bomb)
        with pytest.raises(InputError, match=words):
            prepare(open_photo(tmp_path / "bomb.png"))


def test_a_file_that_is_not_a_photo_is_an_input_error(tmp_path):
    whole = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(whole, "PNG")
    for name, data, words in (
        ("text.jpg", b"not a picture", "is not a readable picture: save it anew as PNG or JPEG, or leave it out"),
        ("empty.png", b"", "is not a readable picture: save it anew"),
        ("cut.png", whole.getvalue()[:5000], "is damaged: save it anew as PNG or JPEG, or leave it out"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=words):
            prepare(open_photo(tmp_path / name))
    for path, words in ((tmp_path / "missing.png", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(InputError, match=words):
            open_photo(path)
