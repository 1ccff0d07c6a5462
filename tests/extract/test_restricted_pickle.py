"""Reading pickles without running them."""

import os
import pickle

import numpy as np
import pytest

from extract.restricted_pickle import load_pickle


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_built_in_values_come_back(protocol):
    value = {"a": np.arange(7, dtype=np.float32), "b": [1, "two", None, b"\xff"], "c": np.float64(0.5), "d": (True,)}
    loaded = load_pickle(pickle.dumps(value, protocol=protocol), source="file")
    np.testing.assert_array_equal(loaded.pop("a"), value.pop("a"))
    assert loaded == value


class Harmful:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(("function", "name"), [(os.mkdir, "posix.mkdir"), (eval, "builtins.eval")])
def test_calls_are_refused_and_not_run(tmp_path, function, name):
    target = tmp_path / "made"
    argument = str(target) if function is os.mkdir else f"__import__('os').mkdir({str(target)!r})"
    with pytest.raises(ValueError, match=rf"weights\.pkl is no pickle of numbers: it asks for {name}"):
        load_pickle(pickle.dumps(Harmful(function, argument)), source="weights.pkl")
    assert not target.exists()


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps([1, 2, 3])[:-1]])
def test_damaged_files_are_named(data):
    with pytest.raises(ValueError, match=r"^weights\.pkl is no pickle of numbers"):
        load_pickle(data, source="weights.pkl")
