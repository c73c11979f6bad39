"""The tab "Field": over a hundred small pictures of one caption; it opens the page."""

from ..component import add_panel
from ..schemas import MAX_FIELD_PICTURES
from ..service import Service


def field_tab(service: Service) -> None:
    """Build the tab inside the surrounding Blocks."""
    add_panel("field", [service.field], partSize=MAX_FIELD_PICTURES)
