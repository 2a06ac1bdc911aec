"""Distillation of an ensemble: the loss written out, what a run has of it, sets, classes, interruption."""

import json

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from test_members import Cut, ensemble
from training_data import assert_same_bits, train, views

import sensorium
from sensorium import fitting, heads, pipeline
from sensorium.fitting.distilled import Taught
from sensorium.heads.ensemble import Ensemble
from sensorium.heads.identity import Identity
from sensorium.heads.mlp import MLP
from sensorium.objectives.cross_entropy import CrossEntropy
from sensorium.objectives.infonce import InfoNCE
from sensorium.pairs import Pairs
from sensorium.pairs.positives import BatchPositives
from sensorium.types import Embeddings


def divergence(wanted: np.ndarray, scores: np.ndarray) -> float:
    p, q = log_softmax(wanted, 1), log_softmax(scores, 1)
    return float((np.exp(p) * (p - q)).sum(1).mean())


def test_the_loss_is_the_recipes_and_the_divergence_of_the_scores() -> None:
    left, right, pairs = views()
    teacher = train(epochs=1)
    student = train(epochs=1, seed=5)
    both = teacher.left_head, teacher.right_head
    one = Taught(InfoNCE(temperature=0.2), both, weight=0.3)
    related = pairs.where("train")
    one.prepare(left, right, related, student.left_head, student.right_head)
    rows = np.array([3, 8, 100, 7])
    zl, zr = (torch.from_numpy(heads.apply(h, t.vectors, rows)) for h, t in
              ((student.left_head, left), (student.right_head, right)))  # fmt: skip
    positives = BatchPositives(related).of(rows, rows)
    wanted = heads.apply(both[0], left.vectors, rows) @ heads.apply(both[1], right.vectors, rows).T / 0.2
    scores = (zl @ zr.T).numpy() / 0.2
    soft = (divergence(wanted, scores) + divergence(wanted.T, scores.T)) / 2
    expected = 0.7 * float(InfoNCE(temperature=0.2).loss(zl, zr, positives)) + 0.3 * soft
    assert float(one.loss(zl, zr, positives)) == pytest.approx(expected, rel=2e-3)
    assert not list(one.parameters())


def test_of_classes_all_of_them_are_compared() -> None:
    left, _, pairs = views()
    kinds = np.arange(600) % 3
    classes = Embeddings(np.array(["a", "b", "c"]), np.eye(3, dtype=np.float32), {"encoder": "onehot"})
    labels = Pairs.of(np.arange(600), kinds, split=pairs.split)
    head = MLP(hidden=8, normalize=False)
    fitted = train(data=(left, classes, labels), heads=(head, Identity(normalize=False)), objective=CrossEntropy(),
                   names={"left": "mlp", "right": "identity"}, epochs=2, members=2, distill=True)  # fmt: skip
    assert isinstance(fitted.left_head, MLP) and fitted.left_head.dim == 3 and fitted.names == {}
    teacher = fitted.ensemble["left"][0], fitted.ensemble["right"][0]
    one = Taught(CrossEntropy(), teacher, weight=1.0)
    one.prepare(left, classes, labels.where("train"), fitted.left_head, fitted.right_head)
    rows = np.array([5, 9, 11])
    z = torch.from_numpy(heads.apply(fitted.left_head, left.vectors, rows))
    positives = BatchPositives(labels.where("train")).of(rows, kinds[rows])
    expected = divergence(heads.apply(teacher[0], left.vectors, rows), z.numpy())
    assert float(one.loss(z, torch.eye(3)[kinds[rows]], positives)) == pytest.approx(expected, rel=2e-2)


def test_it_is_served_with_the_ensemble_beside_and_resumed_bit_for_bit(tmp_path) -> None:
    whole = ensemble(distill=True)
    assert isinstance(whole.left_head, MLP) and isinstance(whole.ensemble["left"][0], Ensemble)
    assert whole.notes["distilled"] and whole.notes["members"] == 3
    assert whole.notes["ensemble_validation"] == ensemble().notes["validation"] != whole.notes["validation"]
    assert [e["member"] for e in whole.history] == [1] * 3 + [2] * 3 + [3] * 3 + ["distilled"] * 3

    def stop(event):
        if event["epoch"] == 11:
            raise Cut

    with pytest.raises(Cut):
        ensemble(tmp_path, on_epoch=stop, distill=True, save_seconds=0)
    assert_same_bits(ensemble(tmp_path, distill=True, save_seconds=0), whole)


def test_one_table_and_inputs_that_are_mixed() -> None:
    left, _, pairs = views()
    tied = Pairs.of(pairs.left, np.roll(pairs.right, 1), split=pairs.split, same_table=True)
    fitted = train(data=(left, left, tied), heads=(MLP(dim=6, hidden=8), None), names={"left": "mlp"}, epochs=1,
                   members=2, distill=True, mixup=0.3)  # fmt: skip
    assert fitted.left_head is fitted.right_head and fitted.left_head.dim == 6
    assert fitted.ensemble["left"][0] is fitted.ensemble["right"][0]


def test_a_run_has_the_ensemble_as_a_row_beside_its_own(tmp_path, tiny_vectors) -> None:
    keys = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split", "objective=infonce", "train.epochs=2",
            "evaluate.resamples=20", "evaluate.plots=false", "evaluate.baselines=[]", "evaluate.leaks=off"]  # fmt: skip
    run = sensorium.run("arrays", [*keys, "train.members=2", "train.distill=true"], out=tmp_path / "one", quiet=True)
    two = sensorium.run("arrays", [*keys, "train.members=2"], out=tmp_path / "two", quiet=True)
    assert json.loads((run.folder / "left.json").read_text())["name"] == "mlp"
    for row in two.metrics["uncorrected"] or two.metrics["results"]:
        beside = run.metrics["baselines"]["ensemble"]["results"]
        found = [r["value"] for r in beside if (r["direction"], r["measure"]) == (row["direction"], row["measure"])]
        assert found == [pytest.approx(row["value"], abs=0.02)]
    assert run.metrics["verdict"].startswith("No closed form was run beside it.")
    assert "the head that was distilled from it and is used" in (run.folder / "README.md").read_text()
    again = pipeline.evaluate_again(run.folder, quiet=True)
    assert again.metrics["baselines"] == run.metrics["baselines"]
    assert fitting.TrainOptions(members=2, distill=True).asdict()["distill"]
