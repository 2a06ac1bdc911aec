"""What indexes must have."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from sensorium.types import Hits

if TYPE_CHECKING:  # annotations only: nothing here is imported when the package is
    from sensorium.table import Table

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Index(Protocol):
    """Vectors by id with metadata columns, searched by inner product. A whole one: tests/parts/test_adding_parts.py."""

    table: Table  #: ids and columns of the rows, in the order of :meth:`vectors`
    fingerprint: Mapping[str, Any] = _NOTHING  #: of what made the vectors
    name: str = ""  #: of recipe and side, set before items are added: what a database may call them

    @abstractmethod
    def add(self, ids: Sequence[Any], vectors: np.ndarray, columns: Mapping[str, Any] | None = None) -> None:
        """Append items; all, or none when BadData is raised (NaN, another width, an id that is there already)."""

    @abstractmethod
    def remove(self, ids: Sequence[Any]) -> int:
        """Take items out; returns how many there were. Unknown ids are no error."""

    @abstractmethod
    def search(self, queries: np.ndarray, k: int, where: Any = None, exclude: Sequence[Any] | None = None) -> Hits:
        """The k best of each query (q, d), best first, else row -1 and score -inf. where: conditions on columns."""

    @abstractmethod
    def vectors(self, rows: Any = slice(None)) -> np.ndarray:
        """Vectors of the given rows of :attr:`table`."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write into an empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """What :meth:`save` wrote. Raises Corrupt when damaged."""

    @abstractmethod
    def __len__(self) -> int: ...

    def report(self, vectors: np.ndarray) -> dict[str, Any]:
        """What is known of its quality, with some of its own vectors (n, d) as queries."""
        return {}

    def variants(self) -> dict[str, Index]:
        """The same index with other search settings, by setting, for the speed-recall curve; none by default."""
        return {}

    def verify(self) -> None:
        """Read what :meth:`load` leaves unread, such as large memory-mapped files. Raises Corrupt when damaged."""
