"""One training step on 65,536 pairs of 512 numbers: peak memory and time, beside the dense formula's need.

    python -m bench.big_batch [--batch 65536] [--dim 512] [--steps 2] [--objective infonce|siglip] [--quick]

A linear head of ``dim`` on each side, two-way InfoNCE with learnable temperature. Every row is a fresh
process; peak is its largest resident size, with the import of torch and the data in it. The dense formula
would hold several (b, b) float32 matrices of b² · 4 bytes each: it is run at batch 8,192 only.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time


def run(way: str, objective: str, batch: int, dim: int, steps: int) -> dict:
    import numpy as np
    import torch
    from torch.nn import functional as F

    from sensorium import fitting
    from sensorium.heads.linear import Linear
    from sensorium.objectives.infonce import InfoNCE
    from sensorium.objectives.siglip import SigLIP
    from sensorium.pairs import Pairs
    from sensorium.types import Embeddings

    imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((batch, dim), dtype=np.float32) for _ in range(2))
    if way == "dense":
        left, right = torch.nn.Linear(dim, dim), torch.nn.Linear(dim, dim)
        optimizer = torch.optim.AdamW([*left.parameters(), *right.parameters()], fused=True)
        started = time.perf_counter()
        for _ in range(steps):
            zl, zr = F.normalize(left(torch.from_numpy(x)), dim=1), F.normalize(right(torch.from_numpy(y)), dim=1)
            logits, target = zl @ zr.T / 0.07, torch.arange(batch)
            optimizer.zero_grad()
            ((F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2).backward()
            optimizer.step()
        seconds = time.perf_counter() - started
    else:
        rows = np.arange(batch)
        made = {"infonce": lambda: InfoNCE(learnable=True), "siglip": SigLIP}[objective]()
        pairs = Pairs.of(rows, rows, group=rows, split=np.full(batch, "train"))
        tables = (Embeddings(rows.astype(str), v, {}) for v in (x, y))
        heads = (Linear(dim=dim, preprocess="none") for _ in range(2))
        fitted = fitting.train(
            *tables, pairs, *heads, made, fitting.TrainOptions(batch=batch, steps=steps, precision=way)
        )
        seconds = sum(event["seconds"] for event in fitted.history)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak": peak, "imported": imported, "seconds": seconds / steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=65_536)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--objective", choices=("infonce", "siglip"), default="infonce")
    parser.add_argument("--quick", action="store_true", help="batch 4,096, one step")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.batch, args.steps = 4096, 1
    if args.only:
        print(json.dumps(run(args.only, args.objective, args.batch, args.dim, args.steps)))
        return
    print(f"{'way':8}{'batch':>8}{'peak MB':>10}{'imports MB':>12}{'s a step':>10}{'one b x b, MB':>15}")
    for way, batch in (("dense", min(args.batch, 8192)), ("fp32", min(args.batch, 8192)), ("fp32", args.batch),
                       ("bf16", args.batch)):  # fmt: skip
        command = [sys.executable, "-m", "bench.big_batch", "--batch", str(batch), "--dim", str(args.dim), "--steps",
                   str(args.steps), "--objective", args.objective, "--only", way]  # fmt: skip
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        print(f"{way:8}{batch:8,}{told['peak']:10,.0f}{told['imported']:12,.0f}{told['seconds']:10.2f}"
              f"{batch * batch * 4 / 2**20:15,.0f}")  # fmt: skip
    print(f"| {args.objective} {args.batch:,} x {args.dim} | peak {told['peak']:,.0f} MB in bf16 | "
          f"{told['seconds']:.1f} s a step |")  # fmt: skip


if __name__ == "__main__":
    main()
