"""The same steps on several machines: embedding, moments and sweeps on Ray, which is imported when it is used.

Needs the extra ``scale``: ``pip install 'sensorium[scale]'``.
"""
