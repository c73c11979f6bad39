"""The tab "About": the paper in one screen."""

from .desk import Desk
from .panel import panel


def about_tab(desk: Desk) -> None:
    """Build the tab inside the surrounding Blocks."""
    panel("about", [], model=desk.default)
