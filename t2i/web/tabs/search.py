"""The tab "Search": pictures by words, and words by a picture, in the joint space of both."""

from ..component import event, panel
from ..schemas import PHOTOS, RANKED
from ..service import Desk, in_words


def search_tab(desk: Desk) -> None:
    """Build the tab inside the surrounding Blocks."""

    # Plain functions, because Gradio marks what it may call with an attribute.
    def see(request):
        return in_words(lambda: desk.see(request))

    def hear(request):
        return in_words(lambda: desk.hear(request))

    def gallery(request):
        return in_words(lambda: desk.gallery(request))

    panel("search", [see, hear, gallery], desk, atOnce=PHOTOS // 4, captions=RANKED)

    def search_event(caption: str, photos: list[str], model: str = desk.default) -> dict:
        """Find the photos that fit a caption best.

        Args:
            caption: what to look for, in English; 201 characters are read.
            photos: up to 64 PNGs, JPEGs or WebPs, 1024×1024 pixels each and 8 MB together at most, as data URIs.
            model: a name from the page's model menu.

        Returns:
            found: the best first, each with photo (its place in the list, from 0) and match (from 0 to 1)
            note: what was left out of the caption
            model: the name of what looked
            error: what was wrong, in words, instead of all else
        """
        return in_words(lambda: desk.search({"caption": caption, "photos": photos, "model": model}))

    def describe_event(photo: str, captions: list[str] | None = None, model: str = desk.default) -> dict:
        """Find the captions that fit a photo best.

        Args:
            photo: a PNG, JPEG or WebP of at most 1024×1024 pixels, as a data URI; its central square is seen, at 64×64.
            captions: up to 64 sentences, in English, else those that come with the model.
            model: a name from the page's model menu.

        Returns:
            found: the best first, each with caption and match (from 0 to 1)
            note: what was left out of the captions
            model: the name of what looked
            error: what was wrong, in words, instead of all else
        """
        return in_words(lambda: desk.describe({"photo": photo, "captions": captions, "model": model}))

    event(search_event, "search")
    event(describe_event, "describe")
