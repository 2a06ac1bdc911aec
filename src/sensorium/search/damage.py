"""Damage of a run's files: what it makes a reader raise becomes Corrupt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sensorium import io
from sensorium.errors import Corrupt, SensoriumError

REMEDY = "restore it, or make the run anew"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what damage makes a reader raise (a JSON key, type or Parquet page that is not there) into Corrupt."""
    try:
        yield
    except SensoriumError:
        raise
    except FileNotFoundError as error:
        raise Corrupt(f"{error.filename or path} is missing; {REMEDY}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RuntimeError) as error:
        raise Corrupt(f"{path} is damaged ({type(error).__name__}: {error}); {REMEDY}") from error


def record(path: Path, remedy: str, **types: type) -> dict[str, Any]:
    """A JSON file that holds an object with these keys, of these types. Raises Corrupt."""
    found = io.read_json(path, remedy)
    if not isinstance(found, dict):
        raise Corrupt(f"{path} holds no JSON object; {remedy}")
    for key, type_ in types.items():
        if not isinstance(found.get(key), type_):
            raise Corrupt(f"{path}: '{key}' is not there, or of another type; {remedy}")
    return found
