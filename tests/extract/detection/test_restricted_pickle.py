"""Reading pickles without running them."""

import contextlib
import os
import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


# [object at the address 0x4645444342410000] as numpy's own types write it: one element is looked at, and Python dies.
RAW_POINTERS = (
    b"\x80\x02cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x01\x85cnumpy\ndtype\n"
    b"U\x02O8\x89\x88\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00ABCDEFtb."
)


def test_raw_memory_is_never_taken_for_an_object():
    """In a process of its own, which would end."""
    looking = (
        "import sys; from extract.detection.restricted_pickle import load_pickle\n"
        "try: load_pickle(sys.stdin.buffer.read(), source='weights.pkl')[0]\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", looking], input=RAW_POINTERS, capture_output=True, check=True)
    assert done.stdout == b"weights.pkl is no pickle of numbers: it holds an array of objects, expected numbers\n"


@pytest.mark.parametrize(
    "value",
    [
        np.array([{"a": 1}, "b"], object),
        np.zeros(3, [("a", "O"), ("b", "f4")]),
        np.zeros(3, [("a", "f4")]),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.zeros(3, [("a", "O")])[0],
    ],
    ids=["objects", "fields of objects", "fields", "dates", "a record"],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_anything_but_numbers_and_letters_are_refused(value, protocol):
    with pytest.raises(ValueError, match="no pickle of numbers: it holds an array of"):
        load_pickle(pickle.dumps(value, protocol), source="file")


def test_one_value_may_stand_alone_in_an_array_as_numpy_saves_it():
    assert load_pickle(pickle.dumps(np.array({"a": 1}, object)), source="file").item() == {"a": 1}


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((3, 0), np.float32),
        np.array("one"),
        np.arange(6).reshape(2, 3).T,
        np.arange(5, dtype=">i2"),
        np.array([True, False]),
        np.array(["", "é"]),
        np.float16(0.5),
    ],
    ids=repr,
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_arrays_of_every_kind_and_shape_come_back(value, protocol):
    loaded = load_pickle(pickle.dumps(value, protocol), source="file")
    np.testing.assert_array_equal(loaded, value)
    assert np.shape(loaded) == np.shape(value)


@pytest.mark.parametrize("name", ["bytes", "bytearray"])
def test_no_zeros_are_made_because_a_few_bytes_say_how_many(name):
    data = f"c__builtin__\n{name}\nI1000000000000\n\x85R.".encode("latin1")
    with pytest.raises(ValueError, match=f"it asks for {name} of a int"):
        load_pickle(data, source="file")


def test_nothing_is_changed_but_the_arrays_that_are_read():
    """A state of (None, {name: value}) sets attributes: here those of what stands for numpy.dtype."""
    with pytest.raises(ValueError, match="it changes a type, expected arrays"):
        load_pickle(b"\x80\x02cnumpy\ndtype\nN}U\x0c__setstate__Ns\x86b.", source="file")
    np.testing.assert_array_equal(load_pickle(pickle.dumps(np.arange(3), 2), source="file"), np.arange(3))


def test_no_room_is_made_for_values_that_are_only_claimed():
    tracemalloc.start()
    assert load_pickle(b"\x80\x02Nr\x00\x00\x00\x01.", source="file") is None  # the first, put in place 2^24
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


TEXT = pickle.dumps("a" * 10_000, 2)[2:-1]
ARRAY = b"cnumpy._core.multiarray\n_reconstruct\n)R(K\1M\x10\x27\x85cnumpy\ndtype\nU\2u1\x85R\x89h\1tb"


@pytest.mark.parametrize(
    ("value", "copy"),
    [
        (TEXT, b"c_codecs\nencode\nh\1U\x06latin1\x86R"),
        (TEXT, ARRAY),
        (TEXT, b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nU\6S10000\x85Rh\1\x86R"),
        (pickle.dumps(list(range(5_000)), 2)[2:-1], b"c__builtin__\nset\nh\1\x85R"),
        (b"](" + b"K\1" * 5_000 + b"e", b"c__builtin__\nbytearray\nh\1\x85R"),
    ],
    ids=["text", "array", "scalar", "set", "bytearray"],
)
def test_a_value_is_not_copied_as_often_as_a_few_bytes_ask(value, copy):
    """A megabyte could fill any memory."""
    tracemalloc.start()
    with pytest.raises(ValueError, match="it unfolds to more than 4 times its size"):
        load_pickle(b"\x80\x02" + value + b"q\1]" + (copy + b"a") * 1_000 + b".", source="file")
    assert tracemalloc.get_traced_memory()[1] < 5 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("data", [b"(ios\nsystem\n.", b"(c_codecs\nencode\nU\1aU\x06latin1o."])
def test_objects_as_python_2_made_them_are_refused(data):
    with pytest.raises(ValueError, match="it makes objects as Python 2 did"):
        load_pickle(data, source="file")


MIXED = {
    "a": np.arange(5, dtype=np.float32),
    "b": ["x", b"\xff", 2.5],
    "c": np.array({"d": {1, 2}}, object),
    "e": np.int8(3),
}


@settings(deadline=None, max_examples=100, derandomize=True, database=None)
@given(data=st.data(), protocol=st.integers(0, 5))
def test_a_damaged_pickle_is_read_or_refused(data, protocol):
    damaged = bytearray(pickle.dumps(MIXED, protocol))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ValueError):
        load_pickle(bytes(damaged), source="file")
