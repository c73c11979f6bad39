"""The tab "Blend": interpolation between two sentences, or among four (GAN-INT, section 4.3)."""

from ...media.export import can_write_mp4
from ..component import add_api_event, add_panel
from ..schemas import MAX_SEED
from ..service import Service, errors_as_json


def blend_tab(service: Service) -> None:
    """Build the tab inside the surrounding Blocks."""
    functions = [service.blend, service.film, service.blend_poster]
    add_panel("blend", functions, maxSeed=MAX_SEED, canWriteMp4=can_write_mp4())

    def blend_event(captions: list[str], at: list[list[float]], seed: int = 1, model: str = service.default) -> dict:
        """Draw pictures between two sentences, or among four at the corners of a square.

        Args:
            captions: two sentences, or four: top left, top right, bottom left, bottom right.
            at: up to 64 points [across, down], both from 0 to 1; with two sentences only across counts.
            seed: a whole number from 0 to 999999, the same for every point.
            model: a name from the page's model menu.

        Returns:
            pictures: PNG data URIs
            size: pixels a side
            note: says if a sentence was cut
            hint: says if the model does not know words of the sentences
            elsewhere: with a hint, the name of a model that knows a sentence's words; empty if there is none
            ms: milliseconds per picture
            model: the title of the model
            parameters: the number of parameters of the model
            error: what was wrong, in words, instead of everything else
        """
        request = {"captions": captions, "at": at, "seed": seed, "model": model}
        return errors_as_json(lambda: service.blend(request, kind="PNG"))

    add_api_event(blend_event, "blend")
