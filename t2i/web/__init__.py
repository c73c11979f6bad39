"""The page: `create_demo()` builds the Blocks; `launch(**LAUNCH_LOOK, **LAUNCH_LIMITS)` starts them."""

from .app import LAUNCH_LOOK, create_demo
from .middleware import LAUNCH_LIMITS

__all__ = ["LAUNCH_LIMITS", "LAUNCH_LOOK", "create_demo"]
