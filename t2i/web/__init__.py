"""The page: `create_demo()` builds the Blocks; `launch(**LAUNCH_LOOK, **LAUNCH_LIMITS)` starts them.

`mount` adds the page to another application.
"""

from .proxies import without_proxies

with without_proxies():  # Gradio makes a client when it is imported, which fetches nothing for this page
    from .app import LAUNCH_LOOK, create_demo
    from .hosting import mount
    from .middleware import LAUNCH_LIMITS

__all__ = ["LAUNCH_LIMITS", "LAUNCH_LOOK", "create_demo", "mount"]
