"""What a fit draws, averages and measures, against the written-out value."""

import numpy as np
import pytest
import torch
from training_data import TRAIN, identity, tensors, train, views

import sensorium
from sensorium import fitting
from sensorium.fitting import validation
from sensorium.fitting.batches import Side
from sensorium.fitting.fused import FusedStep, _dropout_mask
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.weights import Weights
from sensorium.heads import project
from sensorium.heads.linear import Linear
from sensorium.heads.mlp import MLP
from sensorium.objectives.infonce import InfoNCE
from sensorium.objectives.procrustes import Procrustes
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

CPU = torch.device("cpu")


def test_no_two_dropout_masks_are_alike():
    torch.manual_seed(0)
    seen = set()
    for _ in range(300):
        keep, _ = _dropout_mask(torch.ones(4, 64), 0.5)
        seen.add(keep.numpy().tobytes())
    assert len(seen) == 300


def test_the_moving_average_is_what_is_kept_of_the_last_weights():
    """Without validation pairs the last weights stay: with ema they are the average, step by step."""
    left, right, pairs = views()
    pairs = Pairs.of(pairs.left[:TRAIN], pairs.right[:TRAIN])
    steps = []

    class Watched(InfoNCE):
        pass

    def fit(ema):
        heads = Linear(dim=8), Linear(dim=8)
        made = train(data=(left, right, pairs), heads=heads, objective=Watched(), epochs=2, batch=100, keep="last", ema=ema,
                     initialise="none")  # fmt: skip
        return tensors(made)

    original = Weights.update

    def update(self, *given):
        if not steps:
            steps.append(self.flat.clone())
        original(self, *given)
        steps.append(self.flat.clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Weights, "update", update)
        plain = fit(0.0)
    averaged = fit(0.9)
    expected = steps[0]
    for flat in steps[1:]:
        expected = 0.9 * expected + 0.1 * flat
    assert len(steps) == 9
    weight = averaged["left.layers.0.weight"]
    assert not torch.equal(weight, plain["left.layers.0.weight"])
    np.testing.assert_allclose(weight.ravel(), expected[: weight.numel()], atol=1e-6)


@pytest.mark.parametrize("measure", ["median_rank", "MRR", "hit@10"])
def test_the_monitored_measure_of_few_queries_is_theirs_by_brute_force(measure, monkeypatch):
    monkeypatch.setattr(validation, "QUERIES", 20)
    left, right, pairs = views()
    extra = np.arange(400, 500)  # several positives each, so that rows of relevants are not of one length
    pairs = Pairs.of(np.concatenate([pairs.left, extra[::3]]), np.concatenate([pairs.right, extra[::3] + 1 - 3 * (extra[::3] == 499)]),
                     group=np.concatenate([pairs.left, extra[::3]]),
                     split=np.concatenate([pairs.split, ["validation"] * len(extra[::3])]))  # fmt: skip
    fitted = train(data=(left, right, pairs), epochs=2, keep="last", monitor=measure, direction="left->right")
    relevance = pairs.relevance("left->right", "validation")
    zl, zr = project(fitted.left_head, left), project(fitted.right_head, right)
    chosen = np.linspace(0, len(relevance.queries) - 1, 20).round().astype(int)
    every = zl[relevance.queries] @ zr[relevance.candidates].T
    ranks = []
    for q in chosen:
        relevants = relevance.relevant[relevance.offsets[q] : relevance.offsets[q + 1]]
        best = max(every[q, relevants])
        ranks.append(1 + int((np.delete(every[q], relevants) > best).sum()))
    ranks = np.array(ranks)
    expected = {"median_rank": np.median(ranks), "MRR": np.mean(1 / ranks), "hit@10": np.mean(ranks <= 10)}[measure]
    assert fitted.history[-1]["validation"] == pytest.approx(float(expected), abs=1e-9)


def test_a_side_of_one_row_and_a_last_block_of_one():
    table = Embeddings(np.array(["a", "b", "c"]), np.arange(12, dtype=np.float32).reshape(3, 4), {})
    for rows in ([1], [0, 1, 2]):
        for budget in (0, 1 << 20):  # read as needed, and held in memory
            side = Side(table, np.array(rows), CPU, budget)
            assert side.take(np.array([1, 1])).tolist() == [[4, 5, 6, 7]] * 2
            assert side.take(np.array([1])).tolist() == [[4, 5, 6, 7]]


@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize("center", [False, True])
def test_procrustes_gets_the_moments_that_it_needs(center, scaling):
    left, right, pairs = views()
    fitted = fitting.solve(left, right, pairs, identity(), identity(), Procrustes(center=center, scaling=scaling))
    zl, zr = project(fitted.left_head, left), project(fitted.right_head, right)
    assert (zl * zr).sum(1).mean() > (zl * np.roll(zr, 1, axis=0)).sum(1).mean() + 0.1


def test_a_run_by_procrustes_with_scaling(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=x, text=(3 * x[:, ::-1]).astype(np.float32))
    run = sensorium.run("arrays", [f"data.file={tmp_path}/a.npz", "data.left=image", "data.right=text",
                                   "objective=procrustes", "objective.scaling=true", "evaluate.plots=false",
                                   "evaluate.resamples=50"], out=tmp_path / "run", quiet=True)  # fmt: skip
    assert min(r["value"] for r in run.metrics["results"] if r["measure"] == "hit@1") == 1.0


class Own(Linear):
    """A linear head of somebody else: it says its layers, so it takes the fused step as well."""


class Silent(Linear):
    def affine_layers(self):
        return None


def test_a_head_that_says_its_layers_is_trained_by_the_fused_step_to_the_same_weights():
    steps = {}
    for head in (Own, Silent):
        fitted = train(heads=(head(dim=8), Linear(dim=8)), epochs=2)
        steps[fitted.notes["by"]] = tensors(fitted)
    assert set(steps) == {"fused", "autograd"}
    for name, tensor in steps["fused"].items():
        np.testing.assert_allclose(tensor, steps["autograd"][name], atol=2e-4)
    modules = [MLP(), MLP(), InfoNCE()]
    for head in modules[:2]:
        head.build(4, None, 4)
    assert FusedStep.fits(modules, TrainOptions(), CPU)


@pytest.mark.parametrize("seed", [2**31, 2**63 - 1, 2**63, 2**64, 10**30])
def test_any_seed_trains_and_says_it_again(seed):
    first, again, other = (tensors(train(epochs=1, seed=one)) for one in (seed, seed, seed + 1))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(first["left.layers.0.weight"], other["left.layers.0.weight"])


def test_a_run_of_the_largest_seed(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    np.savez(tmp_path / "a.npz", image=x, text=x[:, ::-1])
    run = sensorium.run("arrays", [f"data.file={tmp_path}/a.npz", "data.left=image", "data.right=text", "objective=infonce", "train.epochs=1",
                                   "train.batch=16", "evaluate.plots=false", "evaluate.resamples=50"],
                        seed=2**63 - 1, out=tmp_path / "run", quiet=True)  # fmt: skip
    assert sensorium.open(tmp_path / "run").recipe.seed == 2**63 - 1 and run.metrics["results"]
