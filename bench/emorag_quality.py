"""How long a head takes to be as good as the EmoRAG document's after its 12,000 steps: the document's way beside ours.

    python -m bench.emorag_quality [--problem nonlinear|clusters|linear|products|all] [--steps 12000] [--quick]

Planted problems of 20,000 pairs of a text vector (384) and a clip's vector (768), both of unit length, and 2,000 held
out: 48 hidden causes, seen by the text through a linear map and by the clip through one named by the problem, with
noise. Quality is the MRR of the own clip among the 2,000, from text to clip.

nonlinear   tanh of random mixtures, and products of neighbours
clusters    the same, of causes in 64 clusters, as emotions make them
products    products above all, which no linear map follows
linear      a linear map: ridge is the best that there is

document    the document's loop as it stands there: TensorDataset and DataLoader(shuffle, drop_last), Linear-ReLU-Linear
            with 512 units, InfoNCE from text to audio at 0.07, AdamW(lr 5e-4, weight decay 1e-4), gradient clip 1,
            batch 1,024, 12,000 steps
emorag      sensorium's recipe emorag as it is: the same head, loss and steps, the best epoch of a validation split, an
            early end
emorag-fast sensorium's recipe emorag-fast: the same head and loss, 400 steps, a learning rate that rises to 4e-3 and
            falls to zero

The document's loop is cut into pieces, and ours are fitted anew between them, so that all meet the same other load.
Seconds of the document are those of its loop alone. Ours are of the whole fit, validations included; its validation
split is taken out of the 20,000. "first" is after how many of its own steps the document first was as good as at its
end: its quality falls where it overfits, which nothing in it notices.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

N, HELD_OUT, TEXT, CLIP, CAUSES = 20_000, 2_000, 384, 768, 48
NOISE = {"nonlinear": (2, 4), "clusters": (2, 4), "linear": (2, 4), "products": (1, 3)}
PIECES = 6


def problem(kind: str, seed: int, n: int = N + HELD_OUT) -> tuple[np.ndarray, np.ndarray]:
    """Texts (n, 384) and clips (n, 768) of one planted problem, at unit length."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32)

    cause = normal(n, CAUSES)
    if kind == "clusters":
        cause = normal(64, CAUSES)[random.integers(0, 64, n)] + np.float32(0.6) * cause
        cause /= cause.std()
    x = cause @ normal(CAUSES, TEXT) / np.float32(np.sqrt(CAUSES))
    if kind == "linear":
        y = cause @ normal(CAUSES, CLIP) / np.float32(np.sqrt(CAUSES))
    else:
        h = np.tanh((3 if kind == "products" else 1.5) * cause @ normal(CAUSES, 96) / np.float32(np.sqrt(CAUSES)))
        shown = np.concatenate([h / 4 if kind == "products" else h, h * np.roll(h, 1, 1)], 1)
        y = shown.astype(np.float32) @ normal(192, CLIP)
    of_text, of_clip = NOISE[kind]
    x += np.float32(of_text) * normal(n, TEXT)
    y = y / y.std() + np.float32(of_clip) * normal(n, CLIP)
    return tuple((v / np.linalg.norm(v, axis=1, keepdims=True)).astype(np.float32) for v in (x, y))


def mrr(zq: np.ndarray, zk: np.ndarray) -> float:
    """Mean reciprocal rank of row i of zk among all for row i of zq, both at unit length."""
    scores = zq @ zk.T
    return float((1 / (1 + (scores > np.diag(scores)[:, None]).sum(1))).mean())


class Document:
    """The document's training, which goes on where it stopped."""

    def __init__(self, x: np.ndarray, y: np.ndarray, seed: int, workers: int) -> None:
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(TEXT, 512), nn.ReLU(), nn.Linear(512, CLIP))
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=5e-4, weight_decay=1e-4)
        data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        self.loader = DataLoader(data, batch_size=1024, shuffle=True, num_workers=workers, drop_last=True)
        self.batches = self._batches()
        self.seconds, self.step = 0.0, 0

    def _batches(self) -> Iterator[list[torch.Tensor]]:
        while True:
            yield from self.loader

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.net(x), dim=-1)

    def train(self, steps: int) -> None:
        """``steps`` more steps."""
        started = time.perf_counter()
        for _ in range(steps):
            x, z = next(self.batches)
            logits = self(x) @ z.t() / 0.07
            loss = nn.CrossEntropyLoss()(logits, torch.arange(len(logits)))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimizer.step()
        self.step += steps
        self.seconds += time.perf_counter() - started


def ours(x: np.ndarray, y: np.ndarray, name: str, keys: list[str], seed: int) -> tuple[object, dict]:
    """A recipe with ``keys``: its text head, and seconds, steps and validation MRR of the fit."""
    from sensorium import pipeline
    from sensorium import recipe as recipes
    from sensorium.fitting import loop  # noqa: F401 - imported on demand otherwise, and imports are not what is timed
    from sensorium.pairs import Pairs
    from sensorium.types import Embeddings

    plan = recipes.load(name, ["data=arrays", "left.encoder=none", "right.encoder=none", f"seed={seed}", *keys])
    rows = np.arange(len(x))
    split = np.where(np.random.default_rng(0).random(len(x)) < 0.05, "validation", "train")
    tables = [Embeddings(rows.astype(str), v, {}) for v in (x, y)]
    started = time.perf_counter()
    fitted = pipeline.fit_heads(plan, *tables, Pairs.of(rows, rows, group=rows, split=split), None, False)
    seconds = time.perf_counter() - started
    return fitted.left_head, {"seconds": seconds, **{k: fitted.notes.get(k) for k in ("steps", "validation")}}


def held_out(head: object, x: np.ndarray, y: np.ndarray) -> float:
    """MRR of a head of torch on held-out pairs."""
    with torch.no_grad():
        return mrr(head(torch.from_numpy(x)).numpy(), y)


def measure(kind: str, steps: int, seed: int, workers: int) -> None:
    """One problem, printed as it goes."""
    x, y = problem(kind, seed)
    train, test = (x[:N], y[:N]), (x[N:], y[N:])
    document, along = Document(*train, seed, workers), []
    found: dict[str, list[dict]] = {"emorag": [], "emorag-fast": []}
    marks = sorted(
        {min(steps, mark) for mark in (100, 200, 400, 800)} | {steps * i // PIECES for i in range(1, PIECES + 1)}
    )
    for i, mark in enumerate(marks):
        document.train(mark - document.step)
        along.append((mark, held_out(document, *test)))
        for name in found:
            if i % 3 == 1 if name == "emorag-fast" else i == len(marks) // 2:
                head, told = ours(*train, name, [], seed)
                found[name].append({**told, "MRR": held_out(head, *test)})
    final = along[-1][1]
    first = next(mark for mark, value in along if value >= final)
    best, at = max((value, mark) for mark, value in along)
    print(f"{kind}, seed {seed}: {torch.get_num_threads()} threads, {steps:,} steps of the document")
    print(
        f"  document     {document.seconds:8.1f} s  MRR {final:.3f}; first at step {first:,}, best {best:.3f} at {at:,}"
    )
    for name, fits in found.items():
        seconds, quality = np.median([f["seconds"] for f in fits]), min(f["MRR"] for f in fits)
        told = f"{document.seconds / seconds:.1f}x" if quality >= final else "not reached"
        print(f"  {name:12}  {seconds:8.1f} s  MRR {quality:.3f}, {fits[0]['steps']:,} steps, {len(fits)} fits: {told}")
    seconds, quality = (
        np.median([f["seconds"] for f in found["emorag-fast"]]),
        min(f["MRR"] for f in found["emorag-fast"]),
    )
    print(f"| EmoRAG's quality, {kind} | document {final:.3f} in {document.seconds:.0f} s | ours {quality:.3f} in "
          f"{seconds:.1f} s | {document.seconds / seconds:.0f}x |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=[*NOISE, "all"], default="nonlinear")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="of its DataLoader; the document's 4 are slower here")
    parser.add_argument("--quick", action="store_true", help="600 steps of the document")
    parser.add_argument("--try", dest="tried", nargs="*", help="fit ours alone with these keys")
    parser.add_argument("--recipe", default="emorag-fast", help="of --try")
    args = parser.parse_args()
    for kind in NOISE if args.problem == "all" else [args.problem]:
        if args.tried is None:
            measure(kind, 600 if args.quick else args.steps, args.seed, args.workers)
            continue
        x, y = problem(kind, args.seed)
        head, told = ours(x[:N], y[:N], args.recipe, args.tried, args.seed)
        said = " ".join(args.tried)
        quality = held_out(head, x[N:], y[N:])
        print(f"{kind} {args.seed} [{said}] {told['seconds']:.1f} s, {told['steps']} steps, "
              f"validation {told['validation']:.4f}, held out {quality:.4f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
