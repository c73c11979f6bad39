"""The screen: `create_demo()` builds the Blocks, `launch(**LOOK, **GUARD)` dresses and guards them."""

from .guard import GUARD
from .page import LOOK, create_demo

__all__ = ["GUARD", "LOOK", "create_demo"]
