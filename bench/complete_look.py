"""``GET /complete-look`` over 100,000 items, rerank of 200 and MMR, against the original's way on the same machine.

    python -m bench.complete_look [--items 100000] [--seconds 8]

Made unit vectors of 512 numbers in ten categories; the original's head (512, 512, 256), of random weights. Both servers
are fresh processes and answer the same requests: three items of context, k = 10, pool = 200, use_mmr. Ours has
the head's outputs in its index and answers requests that wait in batches.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from bench.load import load
from bench.serve import free_port, ours, serving

WIDTH, OUT, KINDS, K, POOL = 512, 256, 10, 10, 200


def make(folder: Path, n: int) -> list[str]:
    """The original's files, our run of them, and the requests' paths."""
    import torch

    from sensorium import parts, pipeline
    from sensorium.fitting.fitted import Fitted
    from sensorium.pairs import Pairs
    from sensorium.systems.outfits import head_pt
    from sensorium.types import Data, Embeddings, Items

    random = np.random.default_rng(0)
    turn = random.standard_normal((32, WIDTH), np.float32)
    x = random.standard_normal((n, 32), np.float32) @ turn + random.standard_normal((n, WIDTH), np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    ids = [f"{row:06d}" for row in range(n)]
    kind = random.integers(0, KINDS, n)
    words = np.array([f"category {i}" for i in range(KINDS)])[kind]
    torch.manual_seed(0)
    head = parts.make("heads", {"name": "mlp", "hidden": 512, "dim": OUT, "activation": "relu", "preprocess": "none"})
    head.build(WIDTH)
    head.eval()
    np.save(folder / "embeddings.npy", x)
    (folder / "ids.json").write_text(json.dumps(ids))
    (folder / "categories.json").write_text(json.dumps(words.tolist()))
    head_pt.write(head, folder / "head.pt")
    few = np.arange(0, 200, 2)
    pairs = Pairs.of(few, few + 1, group=few, same_table=True).split_by_group({"test": 0.2, "validation": 0.2}, 0)
    data = Data(Items(np.array(ids), x, "vector", {"category": words}), None, pairs, {})
    spec = {"name": "mlp", "hidden": 512, "dim": OUT, "activation": "relu", "preprocess": "none"}
    recipe = {"name": "looks", "data": "memory", "left": {"head": spec}, "objective": "infonce"}
    plan = pipeline.recipes.load(recipe)
    with pipeline.workplace(folder / "runs" / "looks", plan) as place:
        fitted = Fitted(head, head)
        pipeline.finish(plan, data, Embeddings(np.array(ids), x, {}, data.left.meta), None, pairs, fitted, place,
                        stages=("index",))  # fmt: skip
    paths = []
    for row in random.integers(0, n, (1000, 3)):
        context = ",".join(ids[i] for i in row)
        gap = f"category%20{random.integers(0, KINDS)}"
        paths.append(f"/complete-look?context_ids={context}&gap_category={gap}&k={K}&pool={POOL}&use_mmr=true")
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=8)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = make(folder, told.items)
        print(f"{told.items:,} items, pool {POOL}, MMR; {told.seconds:g} s each\n")
        print("| server | connections | requests/s | ratio | p50 ms | p95 ms | p99 ms | failed |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        plain = [sys.executable, "-m", "bench.plain_look_server", str(folder)]
        for connections in (1, 32):
            before = None
            for name in ("the original's way", "ours"):
                port = free_port()
                command = [*plain, str(port)] if before is None else ours(folder / "runs" / "looks", port)
                with serving(command, port, "/openapi.json" if before is None else "/readyz"):
                    sent = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() for path in paths]
                    found = load(port, sent, connections, told.seconds)
                ratio = "" if before is None else f"{found['rate'] / before:.1f}×"
                before = found["rate"]
                print(f"| {name} | {connections} | {found['rate']:,.0f} | {ratio} | {found['p50']:.1f} | "
                      f"{found['p95']:.1f} | {found['p99']:.1f} | {found['failures']} of {found['n']} |",
                      flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
