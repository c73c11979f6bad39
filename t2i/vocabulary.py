"""The words that a text encoder met often enough to know: what it can say of a caption before drawing it."""

import re
from collections import Counter
from collections.abc import Iterable

OFTEN = 10  # captions of the training split
SHARE = 0.25  # of a caption's words that are strange, from which on it is far from all that was learnt
WORD = re.compile(r"[a-z]+")


def common(captions: Iterable[str]) -> list[str]:
    """The words that stand in at least ten of these captions, in the order of the alphabet."""
    counts = Counter(word for caption in captions for word in set(WORD.findall(caption.lower())))
    return sorted(word for word, count in counts.items() if count >= OFTEN)


def strange(caption: str, known: frozenset[str]) -> list[str]:
    """The words of a caption that are not known, if they are a quarter of it or more; else none.

    A last word still being typed, with which a known one begins, is not counted as strange.
    """
    words = WORD.findall(caption.lower())
    unknown = [word for word in words if word not in known]
    if unknown and caption.lower().endswith(unknown[-1]) and any(word.startswith(unknown[-1]) for word in known):
        unknown.pop()
    return list(dict.fromkeys(unknown)) if unknown and len(unknown) >= SHARE * len(words) else []
