import pytest

from vilbert.report.intervals import interval_of


def test_an_interval_is_wilsons():
    """8 of 10, worked out by hand: (0.8 + z^2 / 20) / (1 + z^2 / 10) and 0.2459 around it, z = 1.96."""
    assert interval_of(0.8, num_examples=10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_none_of_a_few_leaves_much_open():
    low, high = interval_of(0.0, num_examples=5)
    assert low == 0
    assert high == pytest.approx(0.4345, abs=1e-4)
