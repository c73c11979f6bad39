"""The tab "Draw": sixteen pictures that follow the typing."""

from ...studio import MAX_VARIETY
from ..component import add_api_event, add_panel
from ..schemas import MAX_FAVOURITES, MAX_SEED, PICTURES_PER_PAGE
from ..service import Service, errors_as_json


def draw_tab(service: Service) -> None:
    """Build the tab inside the surrounding Blocks."""
    limits = {
        "numPictures": PICTURES_PER_PAGE,
        "maxSeed": MAX_SEED,
        "maxFavourites": MAX_FAVOURITES,
        "maxVariety": MAX_VARIETY,
    }
    functions = [service.draw, service.match, service.parents, service.thumbnails]
    file_functions = [service.enlarge, service.png, service.poster, service.sheet]
    add_panel("draw", functions + file_functions, **limits)

    def draw_event(
        caption: str,
        seeds: list[int] | None = None,
        attributes: list[float] | None = None,
        model: str = service.default,
        at: list[list[float]] | None = None,
        like: str | None = None,
        variety: float = 1,
    ) -> dict:
        """Draw pictures from a caption, one for each seed.

        Args:
            caption: what to draw, in English; 201 characters are read.
            seeds: up to 16 whole numbers from 0 to 999999, by default 1 to 16; a seed always gives the same picture.
            attributes: numbers from -1 to 1 for the page's attribute sliders, from the top; 0 changes nothing.
            model: a name from the page's model menu.
            at: for each seed [across, down] from 0 to 1: how far to move towards the next seed, and the fourth next.
            like: the style of a photo, as restyle returns it; the seeds then vary the rest.
            variety: how far seeds stray from the most typical picture, from 0 to 1.5.

        Returns:
            pictures: PNG data URIs
            size: pixels a side
            matches: for each picture the probability that it matches the caption, from 0 to 1
            seeds: the seeds of the pictures
            note: says if the caption was cut
            hint: says if the model does not know words of the caption
            elsewhere: with a hint, the name of a model that knows the words; empty if there is none
            ms: milliseconds per picture
            model: the title of the model
            parameters: the number of parameters of the model
            error: what was wrong, in words, instead of everything else
        """
        numbers = {"seeds": seeds, "attributes": attributes, "at": at, "variety": variety}
        request = {"caption": caption, "model": model, "like": like} | numbers
        return errors_as_json(lambda: service.draw(request, kind="PNG") | service.match(request))

    add_api_event(draw_event, "draw")
