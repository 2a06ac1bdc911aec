"""The same steps on several machines: embedding, moments and sweeps on Ray. Nothing of Ray is imported before it is used.

Needs the extra ``scale``: ``pip install 'sensorium[scale]'``.
"""
