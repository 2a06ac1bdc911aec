"""Fits without files: ``sensorium.fit(X, Y)`` on arrays, lists, data frames and pictures, as an ordinary run.

>>> run = sensorium.fit(X, Y)                       # doctest: +SKIP
>>> run.metrics                                     # doctest: +SKIP
>>> run.search(X[0], side="left", k=5)              # doctest: +SKIP

:mod:`sensorium.values` reads the arguments, :func:`sensorium.pipeline.run` does the rest; the values are kept in the
run's folder by the data set ``memory``.
"""

from sensorium.memory.fit import fit

__all__ = ["fit"]
