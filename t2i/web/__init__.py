"""The screen: `create_demo()` builds the Blocks, `launch(**LOOK, **GUARD)` dresses and guards them."""

from .app import LOOK, create_demo
from .middleware import GUARD

__all__ = ["GUARD", "LOOK", "create_demo"]
