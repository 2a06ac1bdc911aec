"""Text arrays that NumPy saved as pickles, read without executing a pickle.

``np.save`` writes an array of dtype object as a pickle. The few opcodes that such an array of
strings needs are interpreted here as data: a global becomes its name, a call a record of its name and
arguments. Anything else is refused.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from sensorium.errors import BadData
from sensorium.formats._text import objects

_ARRAYS = {f"{m} {n}" for m in ("numpy.core.multiarray", "numpy._core.multiarray") for n in ("_reconstruct", "scalar")}
_KNOWN = _ARRAYS | {"numpy ndarray", "numpy dtype", "_codecs encode"}
_PUSH = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
         "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_SKIP = {"PROTO", "FRAME"}
_MARK = object()


@dataclass
class _Name:
    """The name of a global, which is never looked up."""

    text: str


@dataclass
class _Call:
    """A call that the pickle contains, and that is never made."""

    name: str
    arguments: tuple
    state: Any = None


def read_strings(file: BinaryIO, where: str, shape: tuple[int, ...]) -> np.ndarray:
    """The pickled object array that begins at the file's position: str and None, of this shape.

    Numbers become their decimal text. Raises BadData when the pickle holds anything but an array of
    text, numbers and None.
    """
    remedy = "it was refused, since reading it would run code; save it as text: np.savez(…, name=array.astype(str))"
    try:
        values = [_text(value, where) for value in _array(_read(file))]
    except (_RefusedError, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BadData(f"{where} is a pickle of something else than an array of text ({error}); {remedy}") from None
    if len(values) != math.prod(shape):
        raise BadData(f"{where} is a pickle of {len(values)} values, its header says {shape}; {remedy}")
    return objects(values).reshape(shape)


class _RefusedError(Exception):
    """An opcode or a name that an array of text does not need."""


def _read(file: BinaryIO) -> Any:
    """The one object of a pickle, as data."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def until_mark() -> list[Any]:
        at = next((i for i in range(len(stack) - 1, -1, -1) if stack[i] is _MARK), None)
        if at is None:
            raise _RefusedError("no mark")
        taken = stack[at + 1 :]
        del stack[at:]
        return taken

    for opcode, argument, _ in pickletools.genops(file):
        name = opcode.name
        if name in _PUSH:
            stack.append(argument)
        elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"):
            memo[len(memo) if name == "MEMOIZE" else int(argument)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[int(argument)])
        elif name in ("APPEND", "APPENDS"):
            items = until_mark() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(items)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("TUPLE", "LIST"):
            items = until_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("EMPTY_TUPLE", "EMPTY_LIST"):
            stack.append(() if name == "EMPTY_TUPLE" else [])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "GLOBAL":
            stack.append(_name(argument))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(_name(f"{module} {attribute}"))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            stack.append(_call(called, arguments))
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].state = state
        elif name == "STOP":
            return stack.pop()
        elif name not in _SKIP:
            raise _RefusedError(f"opcode {name}")
    raise _RefusedError("no end")


def _name(text: str) -> _Name:
    if text not in _KNOWN:
        raise _RefusedError(f"it names {text.replace(' ', '.')}")
    return _Name(text)


def _call(called: Any, arguments: tuple) -> Any:
    if called.text == "_codecs encode":  # how protocol 2 writes bytes
        return arguments[0].encode("latin-1")
    if called.text == "numpy ndarray":
        raise _RefusedError("it calls numpy.ndarray")
    return _Call(called.text, arguments)


def _array(found: Any) -> list[Any]:
    """The values of a call of numpy's _reconstruct with its state (version, shape, dtype, order, values)."""
    _, _, dtype, _, values = found.state  # values are in C order, whatever the array's own
    if found.name not in _ARRAYS or dtype.arguments[0] not in ("O", "O8") or not isinstance(values, list):
        raise _RefusedError("not an object array")
    return values


def _text(value: Any, where: str) -> str | None:
    if isinstance(value, _Call) and value.name.endswith("scalar"):  # a np.str_ inside the array
        dtype, raw = value.arguments
        kind = dtype.arguments[0]
        if kind[0] not in "U<>=|" or "U" not in kind or not isinstance(raw, bytes):
            raise BadData(f"{where} holds {kind} scalars in an object array; save it as text")
        return raw.decode("utf-32-le").rstrip("\0")
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if value is None or isinstance(value, (str, int, float)):
        return None if value is None else str(value)
    raise BadData(f"{where} holds {type(value).__name__.strip('_')} objects; expected an array of text")
