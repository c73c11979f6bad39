"""The screen: `create_demo()` builds the Blocks, `launch(**LOOK)` dresses them."""

from .page import LOOK, create_demo

__all__ = ["LOOK", "create_demo"]
