"""Fits by several processes: started as torchrun does, and what each of them runs.

As a script, in every process: ``shared_fits.py gradients OUT`` compares gradients of several processes with those of
one, ``shared_fits.py fit FOLDER OUT KEYS`` fits the small data of training_data.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ALL = -1  # in place of the number of one process
B = 37  # rows of a batch, which two processes cannot share evenly


def start(*args: object, size: int = 2, **environment: str) -> list[subprocess.Popen]:
    """The processes of one call of this script."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size),
              "LOCAL_WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1", "SENSORIUM_RANK_TIMEOUT": "60",
              **environment}  # fmt: skip
    command = [sys.executable, __file__, *map(str, args)]
    return [subprocess.Popen(command, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                             stderr=subprocess.PIPE, text=True) for rank in range(size)]  # fmt: skip


def ended(processes: list[subprocess.Popen], seconds: float = 120) -> list[tuple[int, str]]:
    """Exit status and standard error of each process."""
    try:
        texts = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, texts, strict=True)]


def gradients(out: str) -> None:
    """Largest difference of the gradients of several processes from those of one, in units of the largest gradient."""
    import torch

    from sensorium.fitting import ranks

    found = {}
    with ranks.joined() as world:
        for name, case in _cases(Path(out).parent).items():
            for way, dtype in (("autograd", torch.float64), ("autograd", torch.float32), ("fused", torch.float32)):
                torch.set_default_dtype(dtype)
                one, several = _gradient(case, way, dtype, None), _gradient(case, way, dtype, world)
                if one is not None:
                    key = f"{name} {way} {str(dtype).removeprefix('torch.')}"
                    found[key] = [float((one[0] - several[0]).abs().max() / one[0].abs().max()),
                                  abs(one[1] - several[1]), float(one[0].abs().max())]  # fmt: skip
        torch.set_default_dtype(torch.float32)
    if not world.rank:
        Path(out).write_text(json.dumps(found))


def _cases(folder):
    """By name: a function that makes left head, right head, objective, training options and pairs."""
    from sensorium import heads
    from sensorium.fitting import TrainOptions
    from sensorium.heads.identity import Identity
    from sensorium.heads.linear import Linear
    from sensorium.heads.mlp import MLP
    from sensorium.objectives.cosine import Cosine
    from sensorium.objectives.cross_entropy import CrossEntropy
    from sensorium.objectives.distill import Distill
    from sensorium.objectives.infonce import InfoNCE
    from sensorium.objectives.mse import Mse
    from sensorium.objectives.siglip import SigLIP
    from sensorium.objectives.triplet import Triplet

    def two(objective, **keys):
        return lambda: (MLP(dim=8, hidden=16), Linear(dim=8), objective(), TrainOptions(**keys))

    def tied(objective):
        head = MLP(dim=8, hidden=16)
        return lambda: (head, head, objective(), TrainOptions())

    if not int(os.environ["RANK"]):
        for side, width in (("left", 12), ("right", 10)):
            teacher = Linear(dim=6)
            teacher.build(width)
            for one in teacher.parameters():
                one.data[:] = _draw(3, *one.shape)
            heads.save(teacher, folder / side, "linear", {"encoder": "made up"})
    return {
        "infonce": two(lambda: InfoNCE(learnable=True)),
        "infonce one way, masked": two(lambda: InfoNCE(both=False, partners="mask")),
        "infonce of a category": two(lambda: InfoNCE(match="kind")),
        "infonce, one table": tied(InfoNCE),
        "siglip": two(SigLIP),
        "triplet": two(Triplet),
        "triplet at random, known negatives": two(lambda: Triplet(negatives="random", neg_pool_ratio=0.5)),
        "triplet, hard, of a category": two(lambda: Triplet(negatives="hard", match="kind", form="softplus")),
        "cosine": two(Cosine),
        "mse": two(Mse),
        "distill": two(lambda: Distill(teacher=str(folder))),
        "cross_entropy": two(lambda: CrossEntropy(weights="balanced", temperature=0.1)),
        "cross_entropy, frozen classes": lambda: (
            Linear(dim=10, normalize=False), Identity(), CrossEntropy(label_smoothing=0.1), TrainOptions()),
        "mixup": two(InfoNCE, mixup=0.4),
        "structure": two(InfoNCE, structure=0.3),
    }  # fmt: skip


def _draw(seed, *shape):
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _gradient(case, way, dtype, world):
    """The flat gradient of one batch and its loss; None where the way does not fit."""
    import numpy as np
    import torch

    from sensorium.fitting.batches import Batch
    from sensorium.fitting.fused import FusedStep
    from sensorium.fitting.step import AutogradStep
    from sensorium.fitting.weights import Weights
    from sensorium.pairs import Pairs
    from sensorium.pairs.positives import BatchPositives
    from sensorium.types import Embeddings

    torch.manual_seed(5)
    left_head, right_head, objective, options = case()
    x, y = (_draw(seed, 60, width).to(dtype) for seed, width in ((1, 12), (2, 12 if right_head is left_head else 10)))
    for head, width in ((left_head, x.shape[1]), (right_head, y.shape[1])):
        if head.dim_in is None:
            head.build(width)
    modules = [module.to(dtype) for module in (left_head, right_head, objective)]
    rng, n = np.random.default_rng(0), 60
    rows = np.arange(n)
    pairs = Pairs.of(np.concatenate([rows, rows[:20], rows[:25]]),
                     np.concatenate([rows, (rows[:20] + 7) % n, (rows[:25] + 30) % n]),
                     label=np.repeat([1, 1, 0], [n, 20, 25]))  # fmt: skip
    kind = np.array(["hat", "shoe", "coat"])[rng.integers(0, 3, n)]
    tables = [Embeddings(np.array([f"i{i}" for i in range(n)]), one.float().numpy(), {"encoder": "made up"},
                         {"kind": kind}) for one in (x, y)]  # fmt: skip
    objective.prepare(*tables, pairs, left_head, right_head)
    if "CrossEntropy" in type(objective).__name__:
        objective._classes.vectors = objective._classes.vectors.to(dtype)
    weights = Weights(modules, 0.0, 0.0, torch.device("cpu"))
    if way == "fused" and not FusedStep.fits(modules, options, torch.device("cpu")):
        return None
    if objective.__class__.__name__ == "Triplet" and objective._known is not None:
        objective._known.head = _Cast(right_head, dtype)
    by = FusedStep if way == "fused" else AutogradStep
    step = by(modules, weights, options, torch.float32, world)
    at = rng.permutation(len(pairs.where(label=1)))[:B]
    of = pairs.where(label=1)
    part = slice(None) if world is None or options.mixup else world.part(B)
    batch = Batch(
        x[of.left[at][part]], y[of.right[at][part]], BatchPositives(pairs).of(of.left[at], of.right[at]), part
    )
    total = 0.0
    for share in (0.5, 0.25):  # two batches of one step
        torch.manual_seed(11)
        total += step(batch, share)
    if world is not None:
        world.sum(weights.grad)
    return weights.grad.clone(), total


class _Cast:
    """A head that takes float32 rows in the type of its weights."""

    def __init__(self, head, dtype):
        self.head, self.dtype = head, dtype

    def __call__(self, x):
        return self.head(x.to(self.dtype))


def fit(folder: str, out: str, keys: str) -> None:
    """Fit the small data; the first process writes every weight and note.

    keys: JSON of options; of those, ``pause``: seconds after each epoch; after ``epoch``, the process ``rank`` (or ALL) sends
    itself the ``signal``.
    """
    import time

    import torch
    from safetensors.torch import save_file
    from training_data import tensors, train

    from sensorium.errors import SensoriumError
    from sensorium.fitting import ranks
    from sensorium.heads.mlp import MLP

    torch.set_num_threads(1)
    options = json.loads(keys)
    pause, epoch, number, signal = (options.pop(name, 0) for name in ("pause", "epoch", "rank", "signal"))

    dropout = options.pop("dropout", 0.1)
    heads = MLP(dim=12, hidden=32, dropout=dropout), MLP(dim=12, hidden=32)

    def after(event):
        time.sleep(pause)
        if event["epoch"] == epoch and number in (ranks.rank(), ALL):
            os.kill(os.getpid(), signal)

    try:
        with ranks.joined() as world:
            fitted = train(None if folder == "-" else Path(folder), heads=heads, on_epoch=after, **options)
            world.done()
    except SensoriumError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if not world.rank:
        save_file({name: one.contiguous() for name, one in tensors(fitted).items()}, out)
        Path(out).with_suffix(".json").write_text(json.dumps([fitted.history, fitted.notes]))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    {"gradients": gradients, "fit": fit}[sys.argv[1]](*sys.argv[2:])
