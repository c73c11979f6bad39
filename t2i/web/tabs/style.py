"""The tab "Style": captions drawn in the styles of photos, the paper's Figure 6 (style encoder S, section 4.4)."""

from ...media.photo import ENCODER_INPUT_SIZE
from .. import painting
from ..component import add_api_event, add_panel
from ..schemas import STYLE_COLUMNS
from ..service import Service, errors_as_json


def style_tab(service: Service) -> None:
    """Build the tab inside the surrounding Blocks."""
    paper = {
        "paperSize": painting.PAPER_SIZE,
        "digits": painting.DIGITS,
        "colours": list(painting.COLOURS.items()),
        "radii": painting.RADII,
        "maxStrokes": painting.MAX_STROKES,
        "maxPaintingLength": painting.MAX_LENGTH,
    }
    functions = [service.restyle, service.style, service.draw]
    add_panel("style", functions, numCaptions=STYLE_COLUMNS, photoSize=ENCODER_INPUT_SIZE, **paper)

    def restyle_event(photo: str, captions: list[str], model: str = service.default) -> dict:
        """Draw captions in the style of a photo.

        Args:
            photo: a PNG, JPEG or WebP of at most 1024×1024 pixels, as a data URI; its central square is used, at 64×64.
            captions: up to 8 sentences, in English.
            model: a name from the page's model menu.

        Returns:
            pictures: PNG data URIs
            size: pixels a side
            like: the style of the photo, for draw
            note: says if a caption was cut
            hint: says if the model does not know words of the captions
            ms: milliseconds per picture
            model: the title of the model
            parameters: the number of parameters of the model
            error: what was wrong, in words, instead of everything else
        """
        request = {"photo": photo, "captions": captions, "model": model}
        return errors_as_json(lambda: service.restyle(request, kind="PNG") | service.style(request))

    add_api_event(restyle_event, "restyle")
