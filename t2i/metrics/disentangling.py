"""Does the style encoder see style? The paper's Figure 5 (section 5.3): are pairs of one style told from others?"""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score, roc_curve

BORDER = 6  # pixels of 64 that count as background where no box is known
KEY_POINTS = ("beak", "belly", "breast", "crown", "forehead", "tail")
CLUSTERS = 100
MOST = 4000  # codes whose pairs are compared; of more, as many are drawn
BLOCK = 2**16  # pairs compared at a time


def background(pixels: np.ndarray, box: tuple[float, ...] | None) -> np.ndarray:
    """Mean colour (3,) of the pixels (S, S, 3) outside the box, fractions (x0, y0, x1, y1), or of the border."""
    size, outside = len(pixels), np.ones(pixels.shape[:2], bool)
    if box is None:
        outside[BORDER:-BORDER, BORDER:-BORDER] = False
    else:
        x0, y0, x1, y1 = (round(np.clip(v, 0, 1) * size) for v in box)
        outside[y0:y1, x0:x1] = False
    return pixels[outside if outside.any() else ...].reshape(-1, 3).mean(0)


def styles(traits: np.ndarray, seed: int = 0) -> np.ndarray:
    """The style (N,) of each row of traits (N, T): its cluster of 100 by K-means, fewer where there are few rows."""
    clusters = min(CLUSTERS, max(2, len(traits) // 4))
    return KMeans(clusters, n_init=1, random_state=seed).fit_predict(traits)


def roc(codes: np.ndarray, styles: np.ndarray, points: int = 50, seed: int = 0) -> tuple[float, list[list[float]]]:
    """Area under the ROC of the cosine of codes (N, E) as a sign of one style (N,), and points of its curve.

    All pairs of one style against as many of two, of at most `MOST` codes; 0.5 is chance. The curve: [false, true]
    positive rates.
    """
    random = np.random.default_rng(seed)
    if len(codes) > MOST:
        some = random.choice(len(codes), MOST, replace=False)
        codes, styles = codes[some], styles[some]
    codes = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    one, other = np.triu_indices(len(codes), 1)
    same = styles[one] == styles[other]
    apart = random.permutation(np.flatnonzero(~same))[: same.sum()]
    used = np.concatenate([np.flatnonzero(same), apart])
    parts = np.array_split(used, len(used) // BLOCK + 1)
    scores, same = np.concatenate([(codes[one[p]] * codes[other[p]]).sum(1) for p in parts]), same[used]
    false, true, _ = roc_curve(same, scores)
    at = np.linspace(0, 1, points)
    return float(roc_auc_score(same, scores)), np.round([at, np.interp(at, false, true)], 4).T.tolist()
