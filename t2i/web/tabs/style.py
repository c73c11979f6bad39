"""The tab "Style": photos by captions, the paper's Figure 6 (style encoder S, section 4.4)."""

from ..component import event, panel
from ..service import Desk, in_words

CAPTIONS = 6  # columns


def style_tab(desk: Desk) -> None:
    """Build the tab inside the surrounding Blocks."""

    # Plain functions, because Gradio marks what it may call with an attribute.
    def restyle(request):
        return in_words(lambda: desk.restyle(request))

    def style(request):
        return in_words(lambda: desk.style(request))

    def draw(request):
        return in_words(lambda: desk.draw(request))

    panel("style", [restyle, style, draw], desk, captions=CAPTIONS)

    def restyle_event(photo: str, captions: list[str], model: str = desk.default) -> dict:
        """Paint captions in the style of a photo.

        Args:
            photo: a PNG, JPEG or WebP of at most 1024×1024 pixels, as a data URI; its central square is seen, at 64×64.
            captions: up to 8 sentences, in English.
            model: a name from the page's model menu.

        Returns:
            pictures: PNG data URIs
            size: pixels of a side
            like: the photo's style, for draw
            note: what was left out of the captions
            hint: that a caption is far from what the model learnt
            ms: milliseconds a picture
            model: the name of what drew
            parameters: how many numbers it learnt
            error: what was wrong, in words, instead of all else
        """
        request = {"photo": photo, "captions": captions, "model": model}
        return in_words(lambda: desk.restyle(request, kind="PNG") | desk.style(request))

    event(restyle_event, "restyle")
