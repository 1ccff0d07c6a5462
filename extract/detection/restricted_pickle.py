"""Pickles of other people's numbers, read so that no code of theirs runs and no memory is taken for an object.

Numpy's own types would do both: the type of an array may say that its bytes are addresses of objects. So arrays are
made here, of the name of their type, their shape and their bytes.
"""

import io
import pickle
import re
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

NUMBERS = re.compile(r"[biufcSU]\d{1,9}")  # numpy's names of types whose bytes are numbers or letters
OBJECTS = re.compile(r"O\d?")
GROWTH = 4  # bytes, at most, of what is made of each byte of a pickle: sets, arrays and the bytes that these hold
NO_OBJECTS = "it holds an array of objects, expected numbers"
# What a damaged pickle raises, torch's too: it calls numpy or torch with arguments of any kind.
DAMAGE = (
    *(pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, AssertionError),
    *(OverflowError, MemoryError, RuntimeError, BufferError, struct.error),
)


def load_pickle(data: bytes, *, source: str) -> Any:
    """What `data` holds, if it is made of built-in values and numpy arrays; `source` names it in errors.

    Raises: ValueError if it asks for anything else, or is damaged.
    """
    try:
        return _Unpickler(data).load()
    except DAMAGE as error:
        raise ValueError(f"{source} is no pickle of numbers: {error}") from error


class _Unpickler(pickle._Unpickler):
    """The one that is written in Python: the other makes room for as many values as nine bytes can claim, 34 GB."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")  # as Python 2 wrote strings
        self._room = GROWTH * len(data)

    def find_class(self, module: str, name: str) -> Any:
        found = _FOUND.get((module.replace("numpy.core.", "numpy._core."), name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, expected numpy arrays and built-in values only")
        return found

    def _fill(self: Any) -> None:
        """An array or its type; anything else here belongs to this module, and would be changed for good."""
        if not isinstance(self.stack[-2], _Type | _Array):
            raise pickle.UnpicklingError(f"it changes a {type(self.stack[-2]).__name__}, expected arrays")
        pickle._Unpickler.dispatch[pickle.BUILD[0]](self)
        self._count()

    def _call(self: Any) -> None:
        pickle._Unpickler.dispatch[pickle.REDUCE[0]](self)
        self._count()

    def _count(self: Any) -> None:
        """Ten bytes of a pickle suffice to copy a text of it, whatever its length."""
        self._room -= _num_bytes(self.stack[-1])
        if self._room < 0:
            raise pickle.UnpicklingError(f"it unfolds to more than {GROWTH} times its size")

    def _refuse(self: Any) -> None:
        raise pickle.UnpicklingError("it makes objects as Python 2 did, expected arrays and built-in values only")

    dispatch: ClassVar = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: _fill,
        pickle.REDUCE[0]: _call,
        pickle.INST[0]: _refuse,
        pickle.OBJ[0]: _refuse,
    }


def _num_bytes(made: Any) -> int:
    """Of what a call has made, if that may be large."""
    if isinstance(made, np.ndarray | np.generic):
        return made.nbytes
    if isinstance(made, set):
        return 8 * len(made)
    return len(made) if isinstance(made, bytes | bytearray) else 0


class _Type:
    """The type of an array, by its name; of the rest that a pickle says of it, the order of the bytes counts."""

    def __init__(self, name: str, *_: object) -> None:
        if not OBJECTS.fullmatch(name) and not NUMBERS.fullmatch(name):
            raise pickle.UnpicklingError(f"it holds an array of '{name[:20]}', expected numbers")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])

    def array(self, data: Any, shape: Any, order: Any) -> np.ndarray:
        if self.dtype.hasobject:
            raise pickle.UnpicklingError(NO_OBJECTS)
        return np.frombuffer(_bytes_of(data), self.dtype).reshape(shape, order=order)


class _Array(np.ndarray):
    """An array that is made empty and filled then, as pickles do."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        if not kind.dtype.hasobject:
            data = bytes(_bytes_of(data))
        elif shape not in ((), (1,)) or not isinstance(data, list) or len(data) != 1:
            raise pickle.UnpicklingError(NO_OBJECTS)  # but one value alone, which is how numpy saves what is no array
        of_numpy: Any = (1, shape, kind.dtype, bool(is_fortran), data)
        super().__setstate__(of_numpy)


def _empty_array(*_: object) -> _Array:
    return _Array(0, np.uint8)


def _scalar(kind: _Type, data: Any) -> Any:
    (value,) = kind.array(data, (1,), "C")
    return value


def _from_buffer(data: Any, kind: _Type, shape: Any, order: Any) -> np.ndarray:
    return kind.array(data, shape, order)


def _bytes_of(data: Any) -> bytes | bytearray:
    """The bytes of an array; Python 2 has them as text."""
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError(f"an array is made of a {type(data).__name__}, expected bytes")
    return data


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """How old protocols write bytes; any other encoding would load a module."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding '{encoding}', expected latin1")
    return text.encode("latin1")


def _no_number(make: Callable[..., Any]) -> Callable[..., Any]:
    """`bytes` or `bytearray` of anything but a number, of which they would make as many zeros."""

    def made(*arguments: Any) -> Any:
        if arguments and not isinstance(arguments[0], str | bytes | bytearray | list | tuple):
            raise pickle.UnpicklingError(f"it asks for {make.__name__} of a {type(arguments[0]).__name__}")
        return make(*arguments)

    return made


_FOUND: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,  # protocol 5
    ("_codecs", "encode"): _latin1_bytes,
}
for _module in ("__builtin__", "builtins"):  # what old protocols have no sign of their own for, in Python 2 and 3
    _FOUND |= {(_module, "bytearray"): _no_number(bytearray), (_module, "bytes"): _no_number(bytes)}
    _FOUND |= {(_module, "complex"): complex, (_module, "set"): set}
