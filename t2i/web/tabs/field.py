"""The tab "Field": over a hundred small pictures of one caption; it opens the page."""

from ..component import add_panel
from ..schemas import MAX_FIELD_PICTURES
from ..service import Service, errors_as_json


def field_tab(service: Service) -> None:
    """Build the tab inside the surrounding Blocks."""

    # A plain function: Gradio sets an attribute on each function that the page may call.
    def field(request):
        return errors_as_json(lambda: service.field(request))

    add_panel("field", [field], partSize=MAX_FIELD_PICTURES)
