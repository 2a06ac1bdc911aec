"""Search: an opened run, its indexes with their live changes, a query to ranked hits, media of the items.

>>> from sensorium.search.run import open
>>> open("runs/glyphs").search(text="arrow", k=5)    # doctest: +SKIP
"""
