import os
import pickle

import numpy as np
import pytest

from extract.numpy_pickle import load_numpy_pickle

ARRAY = np.arange(15, dtype=np.float32).reshape(3, 5)

# pickle.dumps({"boxes": numpy.array([[1, 2]], numpy.float32)}, 2), as Python 2 and numpy 1 write it.
OF_PYTHON_2 = (
    b"\x80\x02}q\x00U\x05boxesq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04"
    b"U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x01K\x02\x86q\x08cnumpy\ndtype\nq\tU\x02f4q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03"
    b"U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x08\x00\x00\x80?\x00\x00\x00@q\x0ftq\x10bs."
)


class _Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_scalars_and_own_types_come_back_at_every_protocol(protocol):
    content = {"array": ARRAY, "order": np.asfortranarray(ARRAY), "scalar": np.int64(7), "bytes": b"\xff", "set": {1}}
    content |= {"names": np.array(["dog", None], dtype=object), "none": None, "empty": b""}
    loaded = load_numpy_pickle(pickle.dumps(content, protocol))
    np.testing.assert_equal(loaded, content)
    assert loaded["array"].dtype == np.float32


def test_pickles_of_numpy_1_are_read_as_those_of_numpy_2():
    new = pickle.dumps(ARRAY, 2)
    assert b"numpy._core" in new
    np.testing.assert_array_equal(load_numpy_pickle(new.replace(b"numpy._core", b"numpy.core")), ARRAY)


def test_pickles_of_python_2_have_text_keys_and_whole_arrays():
    np.testing.assert_equal(load_numpy_pickle(OF_PYTHON_2), {"boxes": np.array([[1, 2]], np.float32)})


def test_files_are_read_by_path(tmp_path):
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"model": {"conv.weight": ARRAY}}))
    np.testing.assert_array_equal(load_numpy_pickle(path)["model"]["conv.weight"], ARRAY)


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.mkdir, ("made",), "mkdir"),
        (eval, ("__import__('os').mkdir('made')",), "builtins.eval"),
        (getattr, (ARRAY, "tofile"), "builtins.getattr"),
        (np.load, ("file.npy",), "load"),
    ],
)
def test_whatever_runs_code_is_refused_by_name(function, arguments, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"{name}, expected numpy arrays"):
        load_numpy_pickle(pickle.dumps({"boxes": _Runs(function, *arguments)}))
    assert not list(tmp_path.iterdir())


def test_only_the_encoding_of_bytes_is_allowed():
    stream = b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R."
    with pytest.raises(ValueError, match="rot13"):
        load_numpy_pickle(stream)


def test_every_cut_of_a_pickle_is_an_error_that_says_so():
    whole = pickle.dumps({"array": ARRAY, "bytes": b"\xff"}, 2)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="damaged or no pickle"):
            load_numpy_pickle(whole[:length])
