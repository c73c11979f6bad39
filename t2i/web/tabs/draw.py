"""The tab "Draw": sixteen pictures that follow the typing."""

from ..component import event, panel
from ..schemas import COUNT, FAVOURITES, LIKE, SEED_MAX
from ..service import Desk, in_words


def draw_tab(desk: Desk) -> None:
    """Build the tab inside the surrounding Blocks."""

    # Plain functions, because Gradio marks what it may call with an attribute.
    def draw(request):
        return in_words(lambda: desk.draw(request))

    def match(request):
        return in_words(lambda: desk.match(request))

    def enlarge(request):
        return in_words(lambda: desk.enlarge(request))

    def png(request):
        return in_words(lambda: desk.png(request))

    def sheet(request):
        return in_words(lambda: desk.sheet(request))

    limits = {"count": COUNT, "seedMax": SEED_MAX, "favourites": FAVOURITES, "like": LIKE}
    panel("draw", [draw, match, enlarge, png, sheet], desk, **limits)

    def draw_event(
        caption: str,
        seeds: list[int] | None = None,
        style: list[float] | None = None,
        model: str = desk.default,
        at: list[list[float]] | None = None,
        like: str | None = None,
    ) -> dict:
        """Draw pictures from a caption, one for each seed.

        Args:
            caption: what to draw, in English; 201 characters are read.
            seeds: up to 16 whole numbers from 0 to 999999, else 1 to 16; a seed is its picture.
            style: numbers from -1 to 1, the page's sliders from above; 0 leaves a picture as it is.
            model: a name from the page's model menu.
            at: a point [across, down] from 0 to 1 for each seed: how far on towards the next seed, and the fourth next.
            like: a photo's style, as `restyle` tells it: the seeds then add what it leaves open.

        Returns:
            pictures: PNG data URIs
            size: pixels of a side
            matches: how probably each fits the caption, from 0 to 1
            seeds: of the pictures
            note: what was left out of the caption
            hint: that the caption is far from what the model learnt
            ms: milliseconds a picture
            model: the name of what drew
            parameters: how many numbers it learnt
            error: what was wrong, in words, instead of all else
        """
        request = {"caption": caption, "seeds": seeds, "style": style, "model": model, "at": at, "like": like}
        return in_words(lambda: desk.draw(request, kind="PNG") | desk.match(request))

    event(draw_event, "draw")
