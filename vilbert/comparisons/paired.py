"""The paired test of two cells over their seeds, and what is said of a finding by it.

A finding is that one cell is better than another. By the mean difference, its 95 % interval and Student's paired test,
each finding for itself, it is
    seen          where the difference is positive and p < 0.05;
    not seen      where it is not, and the interval ends below a hundredth of the ceiling: no gain that matters;
    not decided   otherwise, also where there are fewer than two seeds, or all differ by the same, so that nothing is
                  known of the spread.
"""

from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
from scipy import stats

ALPHA = 0.05
POWER = 0.8
GAIN_THAT_MATTERS = 0.01  # of the ceiling
MOST_SEEDS = 10_000  # nobody trains so many


class Difference(NamedTuple):
    """Of one cell from another, in the measure's own unit."""

    mean: float
    sd: float | None  # None: not known, or there is none
    low: float | None
    high: float | None
    p: float | None  # two-sided
    num_seeds: int


def paired_difference(better: dict[str, float], worse: dict[str, float]) -> Difference:
    """Of the seeds that both have, at least one."""
    seeds = sorted(better.keys() & worse.keys())
    differences = [better[seed] - worse[seed] for seed in seeds]
    middle = mean(differences)
    sd = stdev(differences) if len(seeds) > 1 else 0.0
    if sd <= 1e-12 * max(map(abs, differences)):  # what rounding leaves of none
        return Difference(middle, None, None, None, None, len(seeds))
    test = stats.ttest_rel([better[seed] for seed in seeds], [worse[seed] for seed in seeds])
    interval = test.confidence_interval(1 - ALPHA)
    return Difference(middle, sd, float(interval.low), float(interval.high), float(test.pvalue), len(seeds))


def verdict(found: Difference, *, ceiling: float) -> str:
    """As the head of this file says."""
    if found.p is None or found.high is None:
        return "not decided"
    if found.p < ALPHA and found.mean > 0:
        return "seen"
    return "not seen" if found.high < GAIN_THAT_MATTERS * ceiling else "not decided"


def seeds_to_decide(found: Difference, *, ceiling: float) -> int | None:
    """With how many seeds of this mean and spread four of five repetitions say that it is seen, or that it is not.

    None: nothing is known of the spread, or nobody trains so many.
    """
    if found.sd is None:
        return None
    effect = max(found.mean, GAIN_THAT_MATTERS * ceiling - found.mean) / found.sd
    if power(effect, MOST_SEEDS) < POWER:
        return None
    low, high = 1, MOST_SEEDS  # too few, and enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle) >= POWER else (middle, high)
    return high


def power(effect: float, num_seeds: int) -> float:
    """How often the test sees a difference of `effect` standard deviations."""
    degrees, shift = num_seeds - 1, effect * np.sqrt(num_seeds)
    border = stats.t.ppf(1 - ALPHA / 2, degrees)
    return float(stats.nct.sf(border, degrees, shift))
