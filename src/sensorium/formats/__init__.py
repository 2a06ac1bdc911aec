"""Formats: other tools' files, read without running code, and files for other tools; a format is a file here.

``formats/npz.py`` *is* the format called npz: it states one :class:`Format`, with ``read``, ``write`` or
both. Formats of one system lie in ``systems/<name>/formats.py``, those of other distributions are entry
points of the group ``sensorium.formats``. The ten lines that suffice::

    'A table as JSON lines.'
    from sensorium.formats import Column, Columns, Format

    def read(path):
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        vectors = np.array([row["vector"] for row in rows], np.float32)
        return Columns({"vectors": Column(vectors.shape, lambda: vectors)}, path)

    FORMAT = Format(endings=(".jsonl",), read=read)
"""

from sensorium.formats._arrow import of_table
from sensorium.formats._columns import (
    IDS,
    IDS_NAMES,
    PAIR_NAMES,
    SPLIT_NAMES,
    VECTORS,
    Column,
    Columns,
    native,
    reading,
)
from sensorium.formats._format import FittedHead, Format, check_options, find, known, listing
from sensorium.formats._read import read, read_as, split
from sensorium.formats._text import objects
from sensorium.formats._vectors import VectorRows, described, names_of_vectors

__all__ = [
    "IDS", "IDS_NAMES", "PAIR_NAMES", "SPLIT_NAMES", "VECTORS", "Column", "Columns", "FittedHead", "Format",
    "VectorRows", "check_options", "described", "find", "known", "listing", "names_of_vectors", "native",
    "objects", "of_table", "read", "read_as", "reading", "split",
]  # fmt: skip
