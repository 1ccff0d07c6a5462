"""Where among all others the right ones stand, and how often that is near the top.

Whatever fits as well as the right one stands before it, and so does what has no number as a score: a model that tells
nothing apart, or is broken, finds nothing.

Dimension key:
    Q: queries, captions or images   N: what each of them ranks
"""

import numpy as np

LIMITS = (1, 5, 10)
ALIKE = "commonest_first"  # a measure, what the function of that name gives


def best_ranks(scores: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """Of each row of [Q, N], the rank of the best right column, 1 for the first: int64 [Q]."""
    feared = feared_scores(scores, is_right)
    best = np.where(is_right, feared, -np.inf).max(axis=1, keepdims=True)
    return 1 + ((feared >= best) & ~is_right).sum(axis=1)


def best_first(scores: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """The columns of each row of [Q, N] in the order of their ranks: int64 [Q, N]."""
    return np.lexsort((is_right, -feared_scores(scores, is_right)))


def feared_scores(scores: np.ndarray, is_right: np.ndarray) -> np.ndarray:
    """The scores [Q, N], the worst in place of what is no number."""
    return np.where(np.isnan(scores), np.where(is_right, -np.inf, np.inf), scores)


def commonest_first(scores: np.ndarray) -> float:
    """For which share of the rows of [Q, N] that column stands first which does so most often: 1 for a model that ranks
    alike whatever it is asked."""
    first = scores.argmax(axis=1)
    return float(np.bincount(first).max() / len(first))


def recalls(ranks: np.ndarray) -> dict[str, float]:
    """Share of the ranks [Q] that are at most 1, 5 and 10."""
    return {f"recall_at_{limit}": float((ranks <= limit).mean()) for limit in LIMITS}


def chance_summary(num_right: np.ndarray, num_ranked: int) -> dict[str, float]:
    """Recalls and median rank in the mean over all orders, each as likely.

    Args:
        num_right: [Q], of each query; one that has none is never found.
        num_ranked: N.
    """
    found = np.zeros(num_ranked)  # share of the queries whose best right one is among the first 1 to N
    for number, count in zip(*np.unique(num_right, return_counts=True), strict=True):
        places = np.arange(num_ranked)
        missed = np.cumprod(np.clip(num_ranked - number - places, 0, None) / (num_ranked - places))
        found += count / len(num_right) * (1 - missed)
    median = min(1 + int((found < 0.5).sum()), num_ranked)
    return {f"recall_at_{limit}": float(found[min(limit, num_ranked) - 1]) for limit in LIMITS} | {
        "median_rank": float(median)
    }
