"""Details of a fit that only show in its numbers: averages, masks, blocks of one row, subsampled validation, checkpoints."""

import json
import re

import numpy as np
import pytest
import torch
from training_data import assert_same_bits, tensors, train, views

from sensorium.errors import Corrupt
from sensorium.fitting import checkpoint, precision
from sensorium.fitting import validation as validating
from sensorium.fitting.batches import Side
from sensorium.fitting.fused import _dropout_mask
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.validation import Validation
from sensorium.fitting.weights import Weights
from sensorium.heads.linear import Linear
from sensorium.numerics import device
from sensorium.pairs import Pairs
from sensorium.scores import measures
from sensorium.types import Embeddings

CPU = torch.device("cpu")


def test_the_moving_average_is_what_stays_with_keep_last(monkeypatch):
    """Equal to the average written out from the weights of every step, and other than the last weights."""
    steps = []
    real = Weights.update

    def update(self, *args):
        real(self, *args)
        steps.append(self.flat.clone())

    monkeypatch.setattr(Weights, "update", update)
    starts = []
    begin = Weights.__init__
    monkeypatch.setattr(Weights, "__init__", lambda self, *a: (begin(self, *a), starts.append(self.flat.clone()))[0])
    heads = (Linear(dim=6), Linear(dim=6))
    averaged = train(heads=heads, epochs=3, keep="last", ema=0.9)
    average = starts[0]
    for weights in steps:
        average = 0.9 * average + 0.1 * weights
    for head in (averaged.left_head, averaged.right_head):
        for tensor in head.parameters():
            at = [
                i
                for i in range(len(average) - tensor.numel() + 1)
                if abs(float(average[i] - tensor.detach().flatten()[0])) < 1e-6
            ]
            assert any(torch.allclose(average[i : i + tensor.numel()], tensor.flatten(), atol=1e-5) for i in at)
    monkeypatch.undo()
    plain = train(heads=(Linear(dim=6), Linear(dim=6)), epochs=3, keep="last")
    assert any(not torch.equal(t, tensors(averaged)[name]) for name, t in tensors(plain).items())


def test_masks_of_dropout_do_not_repeat():
    torch.manual_seed(0)
    masks = {_dropout_mask(torch.zeros(8, 32), 0.5)[0].numpy().tobytes() for _ in range(300)}
    assert len(masks) == 300


@pytest.mark.parametrize("rows", [[1], [1, 1], [2, 1], [0, 3]])
@pytest.mark.parametrize("budget", [0, 1 << 20])
def test_a_side_of_one_row_and_blocks_of_one(rows, budget):
    x = np.arange(20, dtype=np.float32).reshape(4, 5)
    side = Side(Embeddings(np.array(list("abcd")), x, {}), np.array([0, 1, 2, 3]), CPU, budget)
    np.testing.assert_array_equal(side.take(np.array(rows)).numpy(), x[rows])
    alone = Side(Embeddings(np.array(list("abcd")), x, {}), np.array([1]), CPU, budget)
    np.testing.assert_array_equal(alone.take(np.array([1, 1])).numpy(), x[[1, 1]])


class Same(torch.nn.Module):
    """Gives its input."""

    frozen = None

    def forward(self, x):
        return x


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize("most", [20, 10_000])
def test_validation_on_some_queries_is_that_of_brute_force_on_them(monkeypatch, most, several):
    """Queries with several relevants: the subsample takes each query's own ones."""
    monkeypatch.setattr(validating, "QUERIES", most)
    random = np.random.default_rng(0)
    x = random.standard_normal((60, 6)).astype(np.float32)
    y = np.repeat(x, several, 0) + 0.9 * random.standard_normal((60 * several, 6)).astype(np.float32)
    left, right = (Embeddings(np.arange(len(v)).astype(str), v.astype(np.float32), {}) for v in (x, y))
    owner = np.repeat(np.arange(60), several)
    pairs = Pairs.of(owner, np.arange(60 * several), group=owner, split=np.full(60 * several, "validation"))
    for monitor in ("median_rank", "MRR", "hit@5", "cosine"):
        options = TrainOptions(monitor=monitor, direction="left->right")
        measured = Validation(left, right, Same(), Same(), pairs, options, CPU).measure()
        chosen = np.linspace(0, 59, min(most, 60)).round().astype(int)
        score = x[chosen].astype(float) @ y.astype(float).T
        mine = owner[None] == chosen[:, None]
        best = np.where(mine, score, -np.inf).max(1)
        rank = 1 + ((score > best[:, None]) & ~mine).sum(1)
        lengths = np.linalg.norm(x[chosen], axis=1)[:, None] * np.linalg.norm(y, axis=1)
        expected = {"median_rank": np.median(rank), "MRR": (1 / rank).mean(), "hit@5": (rank <= 5).mean(),
                    "cosine": (score / lengths)[mine].mean()}  # fmt: skip
        assert measured["validation"] == pytest.approx(expected[monitor])
        assert measured["MRR"] == pytest.approx(expected["MRR"])


def test_a_median_rank_is_no_mean():
    ranks = np.array([1, 1, 1, 2, 400])
    offsets = np.arange(6)  # one relevant item a query
    assert measures.parse("median_rank").summary(ranks, offsets) == 1
    assert (
        measures.parse("mean_rank").summary(ranks, offsets) == 81
        and measures.parse("MRR").summary(ranks, offsets) < 0.8
    )


def test_any_digit_flipped_in_a_checkpoint_is_noticed(tmp_path):
    class Cut(Exception):
        pass

    def stop(event):
        if event["epoch"] == 2:
            raise Cut

    with pytest.raises(Cut):
        train(tmp_path, on_epoch=stop)
    path = tmp_path / "checkpoint" / "state.json"
    text = path.read_text()
    digits = [m.start() for m in re.finditer(r"\d", text)]
    for at in digits[:: max(1, len(digits) // 60)]:
        path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
        if json.loads(path.read_text()) == json.loads(text):  # the last of 17 digits, which a double does not hold
            continue
        with pytest.raises(Corrupt, match=r"state.json is (damaged|not valid JSON)|tensors.safetensors is damaged"):
            checkpoint.load(tmp_path / "checkpoint")
    for broken in ("[]", "{}", json.dumps({"state": {}}), text[: len(text) // 2]):
        path.write_text(broken)
        with pytest.raises(Corrupt):
            checkpoint.load(tmp_path / "checkpoint")
    path.write_text(text)
    assert checkpoint.load(tmp_path / "checkpoint")[1]["step"] > 0
    assert_same_bits(train(tmp_path), train(tmp_path.parent / "whole"))


def test_precision_follows_the_processor_and_the_sizes_never_a_clock(monkeypatch, tmp_path):
    monkeypatch.setattr("time.perf_counter", lambda: pytest.fail("something was timed"))
    assert precision.choose("bf16", CPU) == (torch.bfloat16, "train.precision=bf16")
    assert precision.choose("fp32", CPU) == (torch.float32, "train.precision=fp32")
    assert precision.choose("auto", CPU, "bfloat16") == (torch.bfloat16, "as the fit that goes on")
    monkeypatch.setattr(precision, "bfloat16_in_hardware", lambda device: True)
    assert precision.choose("auto", CPU, None, 1e9) == (torch.bfloat16, "the processor has bfloat16 products")
    dtype, why = precision.choose("auto", CPU, None, 1000)
    assert dtype == torch.float32 and why.startswith("the products are small: 1,000 multiplications")
    assert precision.choose("auto", CPU, None, precision.LEAST)[0] == torch.bfloat16
    monkeypatch.setattr(precision, "bfloat16_in_hardware", lambda device: False)
    assert precision.choose("auto", CPU, None, 1e9) == (torch.float32, "the processor has no bfloat16 products")


@pytest.mark.parametrize(("line", "expected"), [
    ("flags\t\t: fpu avx2 avx512_bf16", True), ("flags : fpu avx2", False), ("Features\t: fp asimd bf16", True),
    ("flags : amx_bf16 amx_tile", True), ("model name : avx512_bf16", False),
])  # fmt: skip
def test_flags_of_processors(tmp_path, monkeypatch, line, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
    flags = device.processor_flags(str(tmp_path / "cpuinfo"))
    assert bool(device._FLAGS & flags) == expected
    assert device.processor_flags(str(tmp_path / "absent")) == frozenset()


def test_a_fit_says_which_precision_it_took_and_why():
    fitted = train(epochs=1, precision="auto")
    assert (fitted.notes["precision"] == "float32" and "small" in fitted.notes["precision_reason"]) or (
        "no bfloat16" in fitted.notes["precision_reason"]
    )
    again = train(epochs=1, precision="auto")
    assert again.notes["precision_reason"] == fitted.notes["precision_reason"]
    assert_same_bits(again, fitted)
    assert views()[0].dim == 24
