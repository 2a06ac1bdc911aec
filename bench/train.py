"""Training a head on cached vectors: pairs a second beside the usual loops and the bare matrix products.

    python -m bench.train [--case emorag|both-sides] [--steps 400] [--rounds 3] [--quick]

The same model, data, batch, steps and optimizer settings for all, each run a fresh process, the ways
taking turns ``rounds`` times (seed = round); time is of the whole fit but not of imports and data.
Quality is hit@10 over 1,000 held-out pairs; peak is memory over what stood before the fit.

emorag: 384→512→768 (ReLU), fixed unit targets, one-way InfoNCE at 0.07, batch 1,024.
both-sides: 768→512→256 (ReLU) on either side, two-way InfoNCE, batch 4,096.

loader      the documents' way: TensorDataset + DataLoader(num_workers=4), AdamW
plain       the best plain loop: index slices, targets normalised once, fused AdamW; fp32 and bf16 autocast
ntxent      pytorch-metric-learning's NTXentLoss in the plain loop (the right side as reference embeddings);
            it compares every positive with every negative pair, b · b(b-1) numbers: 3 steps, batch 1,024 only
clip        open_clip's ClipLoss, as published, in the plain loop (two-way)
ours        sensorium.fitting.train; fp32, bf16 and auto
floor       the matrix products of one step, forward and backward, and nothing else
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HELD_OUT = 1000
TEMPERATURE = 0.07
CASES = {"emorag": {"left": 384, "right": 768, "hidden": 512, "dim": 768, "batch": 1024, "both": False},
         "both-sides": {"left": 768, "right": 768, "hidden": 512, "dim": 256, "batch": 4096, "both": True}}  # fmt: skip
WAYS = ("loader", "plain fp32", "plain bf16", "ntxent bf16", "clip bf16", "ours fp32", "ours bf16", "ours auto")


def data(case: dict, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n paired views of 64 shared factors, noisy enough that retrieval stays far from perfect."""
    rng = np.random.default_rng(0)
    cause = rng.standard_normal((n, 64), dtype=np.float32) / np.float32(8)
    x = cause @ rng.standard_normal((64, case["left"]), dtype=np.float32)
    y = np.tanh(2 * cause @ rng.standard_normal((64, case["right"]), dtype=np.float32))
    x += 5 * rng.standard_normal(x.shape, dtype=np.float32)
    y += 2 * rng.standard_normal(y.shape, dtype=np.float32)
    return (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))


def head(d_in: int, case: dict) -> nn.Module:
    return nn.Sequential(nn.Linear(d_in, case["hidden"]), nn.ReLU(), nn.Linear(case["hidden"], case["dim"]))


def one_way(zl, zr):
    return F.cross_entropy((zl @ zr.T / TEMPERATURE).float(), torch.arange(len(zl)))


def two_way(zl, zr):
    logits = (zl @ zr.T / TEMPERATURE).float()
    target = torch.arange(len(zl))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def clip(zl, zr):
    """open_clip.loss.ClipLoss.forward: two products, two cross-entropies."""
    left, right = zl @ zr.T / TEMPERATURE, zr @ zl.T / TEMPERATURE
    target = torch.arange(len(zl))
    return (F.cross_entropy(left, target) + F.cross_entropy(right, target)) / 2


def ntxent(zl, zr):
    from pytorch_metric_learning.losses import NTXentLoss

    labels = torch.arange(len(zl))
    return NTXentLoss(TEMPERATURE)(zl.float(), labels, ref_emb=zr.float(), ref_labels=labels.clone())


def plain(case, x, y, steps, seed, loss_of, bf16: bool, loader: bool):
    """Returns heads (left, right or None) after ``steps`` and the seconds they took."""
    torch.manual_seed(seed)
    started = time.perf_counter()
    left, right = head(case["left"], case), head(case["right"], case) if case["both"] else None
    parameters = [p for h in (left, right) if h is not None for p in h.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=5e-4, weight_decay=1e-4, fused=not loader)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    if bf16:
        x, y = x.bfloat16(), y.bfloat16()

    def step(a, b):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            zl = F.normalize(left(a), dim=1)
            zr = F.normalize(right(b), dim=1) if right is not None else F.normalize(b, dim=1) if loader else b
            loss = loss_of(zl, zr)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    batch, done = case["batch"], 0
    if loader:
        from torch.utils.data import DataLoader, TensorDataset

        batches = DataLoader(TensorDataset(x, y), batch, shuffle=True, num_workers=4, drop_last=True)
        while done < steps:
            for a, b in batches:
                step(a, b)
                done += 1
                if done == steps:
                    break
    while done < steps:
        order = torch.randperm(len(x))
        for start in range(0, min((steps - done) * batch, len(x) - batch + 1), batch):
            chosen = order[start : start + batch]
            step(x[chosen], y[chosen])
            done += 1
    return (left, right), time.perf_counter() - started


def ours(case, x, y, steps, seed, precision):
    from sensorium import fitting
    from sensorium.fitting import loop  # noqa: F401 - imported on demand otherwise, and imports are not what is timed
    from sensorium.heads.identity import Identity
    from sensorium.heads.mlp import MLP
    from sensorium.objectives.infonce import InfoNCE
    from sensorium.pairs import Pairs
    from sensorium.types import Embeddings

    n = len(x)
    ids = np.arange(n).astype(str)
    left, right = (MLP(dim=case["dim"], hidden=case["hidden"], activation="relu", preprocess="none") for _ in range(2))
    right = right if case["both"] else Identity()
    pairs = Pairs.of(np.arange(n), np.arange(n), group=np.arange(n), split=np.full(n, "train"))
    options = fitting.TrainOptions(steps=steps, batch=case["batch"], lr=5e-4, warmup=0, schedule="constant",
                               precision=precision)  # fmt: skip
    started = time.perf_counter()
    tables, objective = (Embeddings(ids, v, {}) for v in (x, y)), InfoNCE(TEMPERATURE, both=case["both"])
    fitting.train(*tables, pairs, left, right, objective, options, None, seed)
    return (left, right), time.perf_counter() - started


def run(way: str, case: dict, steps: int, seed: int, n: int) -> dict:
    """One fit in this process: seconds, held-out hit@10, peak memory in MB."""
    x, y = data(case, n + HELD_OUT)
    train = x[:n], y[:n]
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kind, _, precision = way.partition(" ")
    if kind == "ours":
        heads, seconds = ours(case, *train, steps, seed, precision)
    else:
        losses = {"ntxent": ntxent, "clip": clip}
        loss_of = losses.get(kind, two_way if case["both"] else one_way)
        heads, seconds = plain(case, *train, steps, seed, loss_of, precision == "bf16", kind == "loader")
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    with torch.no_grad():
        zl, zr = (torch.from_numpy(v[n:]) if h is None else h(torch.from_numpy(v[n:]))
                  for h, v in zip(heads, (x, y), strict=True))  # fmt: skip
        scores = F.normalize(zl, dim=1) @ F.normalize(zr, dim=1).T
        rank = (scores >= scores.diagonal()[:, None]).sum(1)
    return {"seconds": seconds, "hit@10": (rank <= 10).float().mean().item(), "peak": peak}


def breakdown(case: dict, n: int) -> dict[str, float]:
    """Milliseconds of one step of ours in bf16, by what they are spent on; each operation is timed by itself."""
    from torch.utils._python_dispatch import TorchDispatchMode

    spent: dict[str, float] = {}

    class Clock(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            started = time.perf_counter()
            out = operation(*args, **(kwargs or {}))
            seconds = time.perf_counter() - started
            tensors = [t for a in args for t in (a if isinstance(a, list) else [a]) if isinstance(t, torch.Tensor)]
            largest = max(tensors, key=torch.Tensor.numel, default=torch.empty(0))
            name = operation.__name__.split(".")[0]
            if name in ("mm", "addmm"):
                kind = "products"
            elif name == "index_select":
                kind = "gather"
            elif (largest.ndim == 1 and largest.numel() > 10_000) or name == "_fused_adamw_":
                kind = "weights (cast, norm, AdamW)"
            elif largest.ndim == 2 and largest.shape[1] == case["batch"]:
                kind = "passes over the logits"
            else:
                kind = "heads (activation, lengths, biases) and the rest"
            spent[kind] = spent.get(kind, 0.0) + seconds
            return out

    x, y = (v[:n] for v in data(case, n))
    ours(case, x, y, 3, 0, "bf16")
    started = time.perf_counter()
    ours(case, x, y, 5, 0, "bf16")
    few = time.perf_counter() - started
    steps = 5 + 40960 // case["batch"]
    seconds = ours(case, x, y, steps, 0, "bf16")[1]
    with Clock():
        ours(case, x, y, 5, 0, "bf16")
        before = dict(spent)
        ours(case, x, y, steps, 0, "bf16")
    each = {kind: (total - 2 * before[kind]) / (steps - 5) * 1e3 for kind, total in spent.items()}
    whole = (seconds - few) / (steps - 5) * 1e3
    return {**each, "Python between operations": max(0.0, whole - sum(each.values())), "a step": whole}


def shapes(case: dict) -> list[tuple[int, int, int]]:
    """(m, k, n) of every product of one step."""
    b, h, d = case["batch"], case["hidden"], case["dim"]
    found = []
    for d_in in (case["left"], case["right"])[: 2 if case["both"] else 1]:
        found += [(b, d_in, h), (b, h, d), (d, b, h), (b, d, h), (h, b, d_in)]
    return [*found, (b, d, b), (b, b, d), *([(b, b, d)] if case["both"] else [])]


def floor(case: dict) -> dict[str, float]:
    """Pairs a second that the products alone would allow, in each arithmetic."""
    rates = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        total = 0.0
        for m, k, n in shapes(case):
            a, b, out = (torch.ones(s, dtype=dtype) for s in ((m, k), (k, n), (m, n)))
            best = float("inf")
            for _ in range(8):
                start = time.perf_counter()
                torch.mm(a, b, out=out)
                best = min(best, time.perf_counter() - start)
            total += best
        rates[name] = case["batch"] / total
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="emorag")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    case = CASES[args.case]
    if args.quick:
        args.steps, args.rounds, args.rows = 10, 1, 10_000
    if args.only == "breakdown":
        print(json.dumps(breakdown(case, args.rows)))
        return
    if args.only:
        print(json.dumps(run(args.only, case, args.steps, args.seed, args.rows)))
        return
    found: dict[str, list[dict]] = {way: [] for way in WAYS}
    limits = [floor(case)]
    for seed in range(args.rounds):
        for way in WAYS:
            steps = args.steps
            if way.startswith("ntxent"):
                if seed or case["batch"] > 1024:
                    continue
                steps = 3
            command = [sys.executable, "-m", "bench.train", "--case", args.case, "--steps", str(steps),
                       "--rows", str(args.rows), "--only", way, "--seed", str(seed)]  # fmt: skip
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            found[way].append(json.loads(told.splitlines()[-1]) | {"steps": steps})
        limits.append(floor(case))
    command[command.index("--only") + 1] = "breakdown"
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    report(args, case, found, {name: max(limit[name] for limit in limits) for name in limits[0]})
    parts = json.loads(told.splitlines()[-1])
    print(
        "a step in bf16:", ", ".join(f"{kind} {ms:.2f} ms ({ms / parts['a step']:.0%})" for kind, ms in parts.items())
    )


def report(args, case: dict, found: dict[str, list[dict]], limit: dict[str, float]) -> None:
    found = {way: runs for way, runs in found.items() if runs}
    rate = {way: case["batch"] * max(r["steps"] / r["seconds"] for r in runs) for way, runs in found.items()}
    loader, best_plain = rate["loader"], max(rate["plain fp32"], rate["plain bf16"])
    print(f"{args.case}: {args.steps} steps of {case['batch']}, {torch.get_num_threads()} threads, "
          f"floor fp32 {limit['fp32']:,.0f} and bf16 {limit['bf16']:,.0f} pairs/s")  # fmt: skip
    print(f"{'way':14}{'pairs/s':>10}{'x loader':>10}{'x plain':>9}{'of floor':>10}{'hit@10':>16}{'peak MB':>9}")
    for way, runs in found.items():
        hits = [r["hit@10"] for r in runs]
        arithmetic = "fp32" if way == "loader" or way.endswith("fp32") else "bf16"
        print(f"{way:14}{rate[way]:10,.0f}{rate[way] / loader:10.2f}{rate[way] / best_plain:9.2f}"
              f"{rate[way] / limit[arithmetic]:10.0%}{np.mean(hits):9.3f} ± {np.std(hits):.3f}"
              f"{np.median([r['peak'] for r in runs]):9.0f}")  # fmt: skip
    ours = rate["ours auto"]
    print(f"| train {args.case} | {ours:,.0f} pairs/s | {ours / loader:.1f}x loader | "
          f"{ours / best_plain:.2f}x best plain | {ours / limit['bf16']:.0%} of bf16 products |")  # fmt: skip


if __name__ == "__main__":
    main()
