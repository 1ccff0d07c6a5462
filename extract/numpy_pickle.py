"""Pickles of numpy arrays from strangers (published weights, feature stores), read without running what they name."""

import io
import pickle
from pathlib import Path
from typing import Any

# Whatever else goes wrong inside a damaged pickle: its opcodes call numpy with arguments of any kind.
_DAMAGE = (EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError)


def load_numpy_pickle(source: Path | bytes) -> Any:
    """What a pickle holds, made of numpy arrays, numpy scalars and Python's own types; those of Python 2 as latin1.

    Raises: ValueError if the pickle is damaged or names anything else; FileNotFoundError.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    name = "this pickle" if isinstance(source, bytes) else str(source)
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except _Refused as error:
        raise ValueError(f"{name} names {error}, expected numpy arrays and Python's own types only") from error
    except (pickle.UnpicklingError, *_DAMAGE) as error:
        raise ValueError(f"{name} is damaged or no pickle: {error}") from error


class _Refused(pickle.UnpicklingError):
    pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core").replace("__builtin__", "builtins")  # numpy 1, Python 2
        if (module, name) == ("_codecs", "encode"):
            return _latin1_bytes
        if f"{module}.{name}" not in _ALLOWED:
            raise _Refused(f"{module}.{name}")
        return super().find_class(module, name)


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding != "latin1":
        raise _Refused(f"the encoding '{encoding}'")
    return text.encode("latin1")


_ALLOWED = {
    "numpy.ndarray",
    "numpy.dtype",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.numeric._frombuffer",
} | {f"builtins.{name}" for name in ("bytearray", "bytes", "complex", "frozenset", "range", "set", "slice")}
