"""Reading pickles without running them."""

import os
import pickle

import numpy as np
import pytest

from extract.detection.restricted_pickle import load_pickle

# {"boxes": array([[1, 2]], float32)} as Python 2 and numpy 1 write it, protocol 2.
OF_PYTHON_2 = (
    b"\x80\x02}q\x00U\x05boxesq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04"
    b"U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x01K\x02\x86q\x08cnumpy\ndtype\nq\tU\x02f4q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03"
    b"U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x08\x00\x00\x80?\x00\x00\x00@q\x0ftq\x10bs."
)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_built_in_values_come_back(protocol):
    value = {"a": np.arange(7, dtype=np.float32), "b": [1, "two", None, b"\xff"], "c": np.float64(0.5), "d": (True,)}
    value |= {"e": {3, 5}, "f": b"", "g": 2j, "h": bytearray(b"\x00\xfe")}
    loaded = load_pickle(pickle.dumps(value, protocol=protocol), source="file")
    np.testing.assert_array_equal(loaded.pop("a"), value.pop("a"))
    assert loaded == value


def test_pickles_of_python_2_have_text_keys_and_whole_arrays():
    loaded = load_pickle(OF_PYTHON_2, source="file")
    np.testing.assert_equal(loaded, {"boxes": np.array([[1, 2]], np.float32)})


def test_pickles_of_numpy_1_are_read_as_those_of_numpy_2():
    new = pickle.dumps(np.arange(7), protocol=2)
    assert b"numpy._core" in new
    old = new.replace(b"numpy._core", b"numpy.core")
    np.testing.assert_array_equal(load_pickle(old, source="file"), np.arange(7))


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


def test_bytes_are_encoded_in_one_way_alone():
    data = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    with pytest.raises(ValueError, match="it asks for the encoding 'rot13', expected latin1"):
        load_pickle(data, source="weights.pkl")


def test_every_cut_of_a_pickle_is_a_damaged_file():
    whole = pickle.dumps({"array": np.arange(5), "bytes": b"\xff"}, protocol=2)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="no pickle of numbers"):
            load_pickle(whole[:length], source="weights.pkl")


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps([1, 2, 3])[:-1]])
def test_damaged_files_are_named(data):
    with pytest.raises(ValueError, match=r"^weights\.pkl is no pickle of numbers"):
        load_pickle(data, source="weights.pkl")
