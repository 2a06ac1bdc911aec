"""A process that embeds on a local Ray, to be killed: python killed_embedding.py FOLDER LOG ITEMS WAIT ROWS"""

import os
import sys

import numpy as np
from counted import Counted

from sensorium import store
from sensorium.scale.cluster import Where
from sensorium.scale.embedding import OnRay
from sensorium.store import engines
from sensorium.types import Items


def main():
    folder, log, n, wait, rows = sys.argv[1:]
    texts = [f"text {k}" for k in range(int(n))]
    encoder = Counted(log, float(wait))
    encoder.batch = int(rows)
    with OnRay(Where(), workers=2) as engine, engines.by(engine):
        print("pid", os.getpid(), flush=True)
        given = Items(np.array([f"i{k}" for k in range(int(n))]), texts, "text")
        found = store.embed(given, encoder, folder, progress=False, shard_rows=int(rows))
    print("done", len(found), flush=True)


if __name__ == "__main__":
    main()
