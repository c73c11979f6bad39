"""Photos of every kind, and files that only look like photos."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from t2i.errors import InputError
from t2i.media.photo import open_photo, prepare

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
        ("I;16", 0x4D00, [77] * 3),
        ("I;16B", 0x4D00, [77] * 3),
        ("F", 77.0, [77] * 3),
        ("YCbCr", (255, 128, 128), [255] * 3),
    ],
)
def test_a_photo_of_any_mode_becomes_rgb(mode, value, expected):
    assert np.abs(np.subtract(colour(Image.new(mode, (80, 80), value)), expected)).max() <= 1


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
        ("text.jpg", b"not a picture", "is not a readable picture"),
        ("empty.png", b"", "is not a readable picture"),
        ("cut.png", whole.getvalue()[:5000], "is damaged"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=words):
            prepare(open_photo(tmp_path / name))
    for path, words in ((tmp_path / "missing.png", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(InputError, match=words):
            open_photo(path)
