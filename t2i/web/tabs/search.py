"""The tab "Search": pictures that match words, and captions that match a picture, by their embeddings."""

from ...media.photo import ENCODER_INPUT_SIZE
from ..component import add_api_event, add_panel
from ..schemas import MAX_PHOTOS, MAX_RANKED_CAPTIONS
from ..service import Service, errors_as_json


def search_tab(service: Service) -> None:
    """Build the tab inside the surrounding Blocks."""
    limits = {
        "photosPerRequest": MAX_PHOTOS // 4,
        "maxCaptions": MAX_RANKED_CAPTIONS,
        "photoSize": ENCODER_INPUT_SIZE,
    }
    add_panel("search", [service.embed_photos, service.embed_captions, service.gallery], **limits)

    def search_event(caption: str, photos: list[str], model: str = service.default) -> dict:
        """Find the photos that match a caption best.

        Args:
            caption: what to look for, in English; 201 characters are read.
            photos: up to 64 PNGs, JPEGs or WebPs of at most 1024×1024 pixels, 8 MB together, as data URIs.
            model: a name from the page's model menu.

        Returns:
            found: the best first, each with photo (its place in the list, from 0) and match (from 0 to 1)
            note: says if the caption was cut
            model: the title of the model
            error: what was wrong, in words, instead of everything else
        """
        return errors_as_json(lambda: service.search({"caption": caption, "photos": photos, "model": model}))

    def describe_event(photo: str, captions: list[str] | None = None, model: str = service.default) -> dict:
        """Find the captions that match a photo best.

        Args:
            photo: a PNG, JPEG or WebP of at most 1024×1024 pixels, as a data URI; its central square is used, at 64×64.
            captions: up to 64 sentences, in English, by default those that come with the model.
            model: a name from the page's model menu.

        Returns:
            found: the best first, each with caption and match (from 0 to 1)
            note: says if a caption was cut
            model: the title of the model
            error: what was wrong, in words, instead of everything else
        """
        return errors_as_json(lambda: service.describe({"photo": photo, "captions": captions, "model": model}))

    add_api_event(search_event, "search")
    add_api_event(describe_event, "describe")
