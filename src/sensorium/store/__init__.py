"""The store: vectors in memory-mapped shards, items in Parquet, one manifest with every checksum.

>>> from sensorium import store
>>> embeddings = store.embed(items, encoder, "embeddings/names")      # doctest: +SKIP
>>> embeddings = store.open("embeddings/names")                       # doctest: +SKIP
>>> store.append("vectors", ids, matrix, {"name": "mine"})            # doctest: +SKIP
"""

from sensorium.store.compacting import compact
from sensorium.store.embedding import Report, embed, embed_reported
from sensorium.store.manifest import exists
from sensorium.store.reading import open, verify
from sensorium.store.repairing import Repaired, repair
from sensorium.store.rows import Shards
from sensorium.store.writing import Writer, Written, append, remove

__all__ = ["Repaired", "Report", "Shards", "Writer", "Written", "append", "compact", "embed", "embed_reported",
           "exists", "open", "remove", "repair", "verify"]  # fmt: skip
