"""Does S separate style from content? Verification of pairs, as in the paper's Figure 5 (section 5.3)."""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score, roc_auc_score, roc_curve
from sklearn.model_selection import cross_val_predict

BORDER = 6  # pixels of 64 that count as background if no box is known
KEY_POINTS = ("beak", "belly", "breast", "crown", "forehead", "tail")
NUM_CLUSTERS = 100
MAX_CODES = 4000  # of more, a random sample is compared
BLOCK_SIZE = 2**16  # pairs compared at a time
RIDGE_ALPHAS = np.logspace(-1, 4, 6)  # of which the regression chooses, for codes of a root mean square of 1


def background_colour(pixels: np.ndarray, box: tuple[float, ...] | None) -> np.ndarray:
    """Mean colour (3,) of the pixels (S, S, 3) outside the box, fractions (x0, y0, x1, y1), or of the border."""
    size, outside = len(pixels), np.ones(pixels.shape[:2], bool)
    if box is None:
        outside[BORDER:-BORDER, BORDER:-BORDER] = False
    else:
        x0, y0, x1, y1 = (round(np.clip(v, 0, 1) * size) for v in box)
        outside[y0:y1, x0:x1] = False
    return pixels[outside if outside.any() else ...].reshape(-1, 3).mean(0)


def style_clusters(measurements: np.ndarray, seed: int = 0) -> np.ndarray:
    """The style cluster (N,) of each row of measurements (N, D): K-means with 100 clusters, or fewer for few rows."""
    clusters = min(NUM_CLUSTERS, max(2, len(measurements) // 4))
    return KMeans(clusters, n_init=1, random_state=seed).fit_predict(measurements)


def verification_roc(
    codes: np.ndarray, clusters: np.ndarray, points: int = 50, seed: int = 0
) -> tuple[float, list[list[float]]]:
    """Area under the ROC curve, and the curve, of the cosine of codes (N, E) as a score for a common cluster (N,).

    All pairs of one cluster are compared with as many of two clusters, of at most `MAX_CODES` codes; 0.5 is chance.
    The curve is a list of `points` [false positive rate, true positive rate].
    """
    random = np.random.default_rng(seed)
    if len(codes) > MAX_CODES:
        sample = random.choice(len(codes), MAX_CODES, replace=False)
        codes, clusters = codes[sample], clusters[sample]
    codes = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    first, second = np.triu_indices(len(codes), 1)
    same = clusters[first] == clusters[second]
    negatives = random.permutation(np.flatnonzero(~same))[: same.sum()]
    pairs = np.concatenate([np.flatnonzero(same), negatives])
    blocks = np.array_split(pairs, len(pairs) // BLOCK_SIZE + 1)
    scores, same = np.concatenate([(codes[first[b]] * codes[second[b]]).sum(1) for b in blocks]), same[pairs]
    false, true, _ = roc_curve(same, scores)
    rates = np.linspace(0, 1, points)
    return float(roc_auc_score(same, scores)), np.round([rates, np.interp(rates, false, true)], 4).T.tolist()


def explained_variance(codes: np.ndarray, measurements: np.ndarray) -> float:
    """The share of the variance of measurements (N, D) that a linear map of codes (N, E) predicts: 0 is chance.

    R² of a ridge regression, of which each fifth is predicted from the other four. It may be below 0.
    """
    deviations = measurements.std(0)
    scaled = (measurements - measurements.mean(0)) / np.where(deviations > 0, deviations, 1)
    codes = codes / np.sqrt(np.square(codes).mean())
    return float(r2_score(scaled, cross_val_predict(RidgeCV(RIDGE_ALPHAS), codes, scaled)))
