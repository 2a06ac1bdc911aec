"""Values in memory as items and pairs: arrays, lists, data frames, pictures; what ``sensorium.fit(X, Y)`` is given.

:func:`read` says what one argument holds, :func:`items_of` makes items of it, :func:`relate` makes pairs of rows of
two of them. Every error names the argument, what was expected and what to type.
"""

from sensorium.values.items import check_files, items_of, metadata_of
from sensorium.values.reading import Read, read
from sensorium.values.relation import Relation, relate

__all__ = ["Read", "Relation", "check_files", "items_of", "metadata_of", "read", "relate"]
