"""Pickles of other people's numbers, read so that no code of theirs runs."""

import io
import pickle
import struct
from typing import Any

_ALLOWED = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),  # protocol 5
    # What old protocols have no sign of their own for, by its names in Python 2 and 3.
    *((module, name) for module in ("__builtin__", "builtins") for name in ("bytearray", "bytes", "complex", "set")),
}
# What a damaged pickle raises, torch's too: it calls numpy or torch with arguments of any kind.
DAMAGE = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
    *(OverflowError, MemoryError, RuntimeError, struct.error),
)


def load_pickle(data: bytes, *, source: str) -> Any:
    """What `data` holds, if it is made of built-in values and numpy arrays; `source` names it in errors.

    Raises: ValueError if it asks for anything else, or is damaged.
    """
    try:
        return _Unpickler(io.BytesIO(data), encoding="latin1").load()  # as Python 2 wrote strings
    except DAMAGE as error:
        raise ValueError(f"{source} is no pickle of numbers: {error}") from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _latin1_bytes
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, expected numpy arrays and built-in values only")
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """How old protocols write bytes; any other encoding would load a module."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding '{encoding}', expected latin1")
    return text.encode("latin1")
