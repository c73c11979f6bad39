"""The vocabulary of a text encoder: the words that were frequent in its training, and captions with other words."""

import re
from collections import Counter
from collections.abc import Iterable

from .models.text_encoder import normalize_caption

MIN_CAPTIONS = 10  # of the training split that have a word, for the word to be in the vocabulary
MIN_UNKNOWN_SHARE = 0.25  # of a caption's words, for the caption to be far from the training data
WORD = re.compile(r"[a-z]+")


def frequent_words(captions: Iterable[str]) -> list[str]:
    """The words that are in at least ten of these captions, sorted."""
    counts = Counter(word for caption in captions for word in set(WORD.findall(normalize_caption(caption))))
    return sorted(word for word, count in counts.items() if count >= MIN_CAPTIONS)


def unknown_words(caption: str, vocabulary: frozenset[str]) -> list[str]:
    """The words of a caption that are not in the vocabulary, if they are a quarter of it or more; else none.

    A last word that is still being typed and could become a known word does not count as unknown.
    """
    caption = normalize_caption(caption)
    words = WORD.findall(caption)
    unknown = [word for word in words if word not in vocabulary]
    if unknown and caption.endswith(unknown[-1]) and any(word.startswith(unknown[-1]) for word in vocabulary):
        unknown.pop()
    return list(dict.fromkeys(unknown)) if unknown and len(unknown) >= MIN_UNKNOWN_SHARE * len(words) else []
