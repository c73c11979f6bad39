"""Posters, cards of links, and sentences on films."""

import tracemalloc

import numpy as np
import pytest

from t2i.media import export, poster

CAPTION = "a flower with pink petals"
LONG = "a flower with very many words " * 7


def pictures(count: int, size: int = 64) -> np.ndarray:
    return np.stack([np.full((size, size, 3), 40 + 10 * i % 200, np.uint8) for i in range(count)])


@pytest.mark.parametrize("count, columns", [(1, 1), (16, 4), (17, 5), (25, 5)])
def test_a_poster_has_its_pictures_in_rows_above_its_words(count, columns):
    pixels = poster.poster(pictures(count), [CAPTION], "Flowers · seed 1")
    assert pixels.shape[1] == poster.POSTER_WIDTH and pixels.dtype == np.uint8
    side = (poster.POSTER_WIDTH - 2 * poster.POSTER_MARGIN - (columns - 1) * poster.POSTER_GUTTER) // columns
    for i in range(count):
        row, column = divmod(i, columns)
        y, x = (poster.POSTER_MARGIN + place * (side + poster.POSTER_GUTTER) for place in (row, column))
        assert (pixels[y : y + side, x : x + side] == 40 + 10 * i % 200).all()
    rows = -(-count // columns)
    below = pixels[poster.POSTER_MARGIN + rows * (side + poster.POSTER_GUTTER) :]
    assert (below < 80).any() and not (below < 80)[:, : poster.POSTER_MARGIN].any()  # words, within the margins


@pytest.mark.parametrize("words", ["", " ", "日本語", "w" * 500, LONG * 9, "ünd blüe – “café”\n🌸", "${a}<b>"])
def test_any_words_fit(words):
    short, long = poster.poster(pictures(16), [CAPTION], ""), poster.poster(pictures(16), [words], words)
    assert abs(len(long) - len(short)) <= poster.POSTER_WORDS_HEIGHT
    card = poster.card(pictures(16), [words], "")
    width, height = poster.CARD_SIZE
    assert card.shape == (height, width, 3)
    assert (card[:, -40:] == card[0, -1]).all() and (card[-40:, height:] == card[0, -1]).all()


def test_a_sentence_fades_where_two_weigh_the_same():
    frames = np.full((3, 512, 512, 3), 128, np.uint8)
    written = poster.write_sentences(frames, [CAPTION, LONG], [[1, 0], [0.5, 0.5], [0.1, 0.9]])
    whites = (written == 255).all(-1).sum((1, 2))
    assert whites[0] > 100 and whites[1] == 0 and whites[2] > whites[0]
    assert (written[:, :256] == 128).all()  # above the foot nothing changes
    assert (written[1, -1] < 64).all()


def test_a_film_keeps_its_sentences(tmp_path):
    av = pytest.importorskip("av")
    frames = export.enlarge_film(pictures(4, 128), ".mp4")
    assert frames.shape == (4, 512, 512, 3)
    weights = [[1, 0], [0.7, 0.3], [0.3, 0.7], [0, 1]]
    data = export.film(poster.write_sentences(frames, [CAPTION, "an oak"], weights), ".mp4", {})
    (tmp_path / "film.mp4").write_bytes(data)
    with av.open(tmp_path / "film.mp4") as film:
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(shown) == 4 and shown[0].shape == (512, 512, 3)
    assert (shown[0] > 240).all(-1).sum() > 100  # white words


def test_writing_on_a_film_takes_little_more_memory_than_the_film():
    frames = pictures(40, 256)
    tracemalloc.start()
    poster.write_sentences(frames, [CAPTION, "an oak"], [[1, 0]] * len(frames))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * frames.nbytes
