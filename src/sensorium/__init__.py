"""Sensorium: small heads on frozen encoders. Embed once, fit in seconds, know whether to believe it.

>>> import sensorium
>>> run = sensorium.run("glyphs")                              # doctest: +SKIP
>>> sensorium.open("runs/glyphs").search(text="arrow", k=5)    # doctest: +SKIP
"""

__version__ = "0.1.0"
