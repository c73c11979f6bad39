"""Proxy variables, which concern the Internet and not the page itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_proxies() -> Iterator[None]:
    """Let httpx ignore HTTP_PROXY, ALL_PROXY and the like: it stops at one that it does not support, as SOCKS."""
    before = os.environ.get("no_proxy")
    os.environ["no_proxy"] = "*"
    try:
        yield
    finally:
        del os.environ["no_proxy"]
        if before is not None:
            os.environ["no_proxy"] = before
