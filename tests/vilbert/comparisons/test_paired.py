"""Values by hand: with two degrees of freedom Student's two-sided p is 1 - t / sqrt(2 + t^2)."""

import math

import pytest
from scipy import stats

from vilbert.comparisons.paired import Difference, paired_difference, power, seeds_to_decide, verdict

BETTER, WORSE = {"1": 5.0, "2": 7.0, "3": 9.0}, {"1": 4.0, "2": 4.0, "3": 4.0}  # by 1, 3 and 5


def difference(mean: float, *, sd: float | None = 1.0, half: float = 1.0, p: float | None = 0.5) -> Difference:
    return Difference(mean, sd, mean - half, mean + half, p, num_seeds=3)


def test_the_mean_of_what_seeds_differ_by_its_interval_and_its_p():
    found = paired_difference(BETTER, WORSE)
    t = 3 / (2 / math.sqrt(3))
    assert (found.mean, found.sd, found.num_seeds) == (3, 2, 3)
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t * t))
    half = 4.302652729749462 * 2 / math.sqrt(3)  # t of 0.975 with two degrees of freedom, by the tables
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))


def test_seeds_that_one_side_lacks_are_left_out():
    assert paired_difference(BETTER | {"4": 100.0}, WORSE) == paired_difference(BETTER, WORSE)


@pytest.mark.parametrize("better", [{"1": 5.0}, {"1": 5.0, "2": 5.0}, {"1": 4.1, "2": 4.1}], ids=str)
def test_one_seed_or_equal_differences_decide_nothing(better):
    """Whole images among a hundred often differ by as many."""
    found = paired_difference(better, WORSE)
    assert (found.low, found.high, found.p) == (None, None, None)
    assert verdict(found, ceiling=1) == "not decided"
    assert seeds_to_decide(found, ceiling=1) is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (difference(2, p=0.04), "seen"),
        (difference(2, p=0.06), "not decided"),
        (difference(-2, half=1.5, p=0.04), "not seen"),  # the opposite
        (difference(0, half=0.9, p=1), "not seen"),  # a gain of 1 % is excluded
        (difference(0, half=1.1, p=1), "not decided"),
        (difference(0.5, half=0.4, p=0.04), "seen"),  # however small
    ],
)
def test_a_finding_is_seen_not_seen_or_not_decided(found, expected):
    assert verdict(found, ceiling=100) == expected


@pytest.mark.parametrize(("effect", "num_seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1, 10)])
def test_as_many_seeds_as_the_tables_of_power_say(effect, num_seeds):
    """Cohen 1988, table 2.4.1, and G*Power: matched pairs, two-sided 5 %, power 0.8."""
    assert seeds_to_decide(difference(effect), ceiling=0) == num_seeds
    assert seeds_to_decide(difference(-effect), ceiling=0) == num_seeds


@pytest.mark.parametrize(("mean", "num_seeds"), [(0, 10), (0.2, 15), (-0.5, 6)])
def test_so_many_seeds_tell_that_no_gain_matters(mean, num_seeds):
    """A hundredth of the ceiling is one standard deviation here: by the same tables for 1, 0.8 and 1.5 of them."""
    assert seeds_to_decide(difference(mean), ceiling=100) == num_seeds


def test_power_is_how_often_drawn_differences_are_seen():
    draws = stats.norm.rvs(loc=1.5, size=(20_000, 5), random_state=3)
    seen = stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert power(1.5, 5) == pytest.approx(seen.mean(), abs=0.01)


def test_what_no_number_of_seeds_decides_has_none():
    assert seeds_to_decide(difference(0), ceiling=0) is None
    assert seeds_to_decide(difference(0.001), ceiling=0) is None
