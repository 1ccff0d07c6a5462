"""How far a share that was measured on some examples may be from what it would be on all there could be."""

from scipy.stats import binomtest


def interval_of(share: float, *, num_examples: int) -> tuple[float, float]:
    """Lowest and highest share that the measured one speaks for, at 95 %.

    A share of whole hits, each independent of the others; of parts of hits, as in VQA, the interval is wider than need
    be, and of several captions of one image narrower.

    Args:
        share: 0 to 1.
        num_examples: at least 1.
    Source: Wilson's score interval (1927).
    """
    found = binomtest(round(share * num_examples), num_examples).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
