"""The tab "Blend": the way from one sentence to another, or among four (GAN-INT, section 4.3)."""

from ..component import event, panel
from ..schemas import SEED_MAX
from ..service import Desk, in_words


def blend_tab(desk: Desk) -> None:
    """Build the tab inside the surrounding Blocks."""

    # Plain functions, because Gradio marks what it may call with an attribute.
    def blend(request):
        return in_words(lambda: desk.blend(request))

    def film(request):
        return in_words(lambda: desk.film(request))

    panel("blend", [blend, film], desk, seedMax=SEED_MAX)

    def blend_event(captions: list[str], at: list[list[float]], seed: int = 1, model: str = desk.default) -> dict:
        """Draw points on the way between two sentences, or among four on the corners of a square.

        Args:
            captions: two sentences, or four: top left, top right, bottom left, bottom right.
            at: up to 64 points [across, down], from 0 to 1; two sentences use across alone.
            seed: a whole number from 0 to 999999, the same for every point.
            model: a name from the page's model menu.

        Returns:
            pictures: PNG data URIs
            size: pixels of a side
            note: what was left out of the sentences
            hint: that a sentence is far from what the model learnt
            ms: milliseconds a picture
            model: the name of what drew
            parameters: how many numbers it learnt
            error: what was wrong, in words, instead of all else
        """
        request = {"captions": captions, "at": at, "seed": seed, "model": model}
        return in_words(lambda: desk.blend(request, kind="PNG"))

    event(blend_event, "blend")
