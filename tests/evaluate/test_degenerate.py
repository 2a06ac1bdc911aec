"""Inputs on which a number says nothing get a plain statement, not praise; few groups carry their warning everywhere."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sensorium
from sensorium.cli import doctor
from sensorium.cli.output import print_run
from sensorium.evaluate import card, degenerate, per_query, statistics
from sensorium.evaluate.projected import Projected
from sensorium.pairs import Pairs

PRAISE = ("beats", "MRR points")


def run(folder, image, text, *overrides, **columns):
    np.savez(folder / "a.npz", image=image.astype("f4"), text=text.astype("f4"), **columns)
    keys = ["objective=ridge", "evaluate.plots=false", "evaluate.resamples=50", 'evaluate.baselines=["procrustes"]']
    return sensorium.run("arrays", [f"data.file={folder / 'a.npz'}", "data.left=image", "data.right=text", *keys, *overrides],
                         out=folder / "run", quiet=True)  # fmt: skip


def normal(n, d=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_constant_side_gets_no_praise(tmp_path, side, trained, capsys):
    both = {"left": normal(200), "right": normal(200, seed=1)}
    both[side] = np.ones((200, 8))
    more = ["objective=infonce", "train.epochs=2", 'evaluate.baselines=["ridge"]'] if trained else []
    made = run(tmp_path, both["left"], both["right"], *more)
    assert made.metrics["verdict"].startswith("These numbers say nothing about the fit: ")
    name = {"left": "image", "right": "text"}[side]
    assert f"all 20 {name} vectors are equal" in made.metrics["verdict"]
    assert all(row["degenerate"] for row in made.metrics["results"])
    assert {row["95% interval"] for row in card.table(made.metrics)} == {"none"}
    print_run(made.metrics, made.folder)
    for text in (capsys.readouterr().out, (made.folder / "README.md").read_text(), made.metrics["verdict"]):
        assert "These numbers say nothing" in text and not any(word in text for word in PRAISE)
    assert json.loads((made.folder / "metrics.json").read_text())["degenerate"].keys() == {"left->right", "right->left"}


def test_one_candidate_is_always_found(tmp_path):
    split = np.array(["train"] * 30 + ["validation"] * 5 + ["test"])
    made = run(tmp_path, normal(36), normal(36, seed=1), split=split)
    assert (
        made.metrics["verdict"]
        == "These numbers say nothing about the fit: there is one candidate, which is always found."
    )
    assert {row["value"] for row in made.metrics["results"] if row["measure"].startswith("hit")} == {1.0}
    assert {row["95% interval"] for row in card.table(made.metrics)} == {"none"}


def test_a_head_that_gives_everything_one_vector(tmp_path):
    z = np.tile(normal(1), (40, 1)).astype("f4")
    pairs = Pairs.of(np.arange(40), np.arange(40), split=np.full(40, "test"))
    p = Projected.of(z, normal(40, seed=1).astype("f4"), pairs)
    told = degenerate.findings(p, per_query(p.zl, p.zr, pairs))
    assert told["left->right"] == ["all 40 left vectors are equal"]
    table = Projected(Projected.of(normal(40), normal(40), pairs).left, p.right, pairs, p.zl, p.zr)
    told = degenerate.findings(table, per_query(p.zl, p.zr, pairs))
    assert told["right->left"] == ["the head gives all 40 left items the same vector"]


def test_every_candidate_right_is_said():
    left, right = np.divmod(np.arange(12), 4)
    pairs = Pairs.of(left, right, split=np.full(12, "test"))
    p = Projected.of(normal(3).astype("f4"), normal(4, seed=1).astype("f4"), pairs)
    told = degenerate.findings(p, per_query(p.zl, p.zr, pairs))
    assert set(told) == {"left->right", "right->left"}
    assert degenerate.statement(told) == (
        "These numbers say nothing about the fit: every candidate is a right answer to every query."
    )


def test_one_class(tmp_path):
    pairs = Pairs.of(np.arange(30), np.zeros(30, int), group=np.arange(30), split=np.full(30, "test"))
    p = Projected.of(normal(30).astype("f4"), normal(1).astype("f4"), pairs)
    told = degenerate.findings(p, per_query(p.zl, p.zr, pairs))
    assert told["left->right"] == ["there is one candidate, which is always found"]


def test_within_one_table_the_query_itself_is_no_candidate():
    pairs = Pairs.of([0], [1], split=["test"], same_table=True)
    z = normal(2).astype("f4")
    assert degenerate.findings(Projected.of(z, z, pairs), per_query(z, z, pairs))["left->right"] == [
        "there is one candidate, which is always found"]  # fmt: skip


@given(st.integers(3, 30), st.integers(0, 99))
def test_ordinary_data_say_nothing(n, seed):
    pairs = Pairs.of(np.arange(n), np.arange(n), split=np.full(n, "test"))
    p = Projected.of(normal(n, seed=seed).astype("f4"), normal(n, seed=seed + 1).astype("f4"), pairs)
    told = degenerate.findings(p, per_query(p.zl, p.zr, pairs))
    assert told == {} and degenerate.statement(told) == ""


def test_ordinary_runs_still_have_their_verdict(tmp_path):
    x = normal(200)
    made = run(tmp_path, x, x @ normal(8, seed=3) + 0.1 * normal(200, seed=4))
    assert "degenerate" not in made.metrics and "MRR points" in made.metrics["verdict"]
    assert not any("few_groups" in row for row in made.metrics["results"])


def test_few_groups_are_said_wherever_the_number_is_shown(tmp_path, monkeypatch, capsys):
    x, group = normal(120), np.arange(120) // 20
    y = x @ normal(8, seed=3) + 0.1 * normal(120, seed=4)
    made = run(tmp_path, x, y, "data.group=speaker", "data.test=2", speaker=group)
    rows = json.loads((made.folder / "metrics.json").read_text())["results"]
    assert all(row["few_groups"] and row["n_groups"] == 2 for row in rows)
    assert made.metrics["verdict"].endswith("Measured on 2 groups only: the interval is too narrow to be believed.")
    assert all(row["95% interval"].endswith("(2 groups)") for row in card.table(made.metrics))
    assert "(2 groups)" in (made.folder / "README.md").read_text()
    print_run(made.metrics, made.folder)
    assert "(2 groups)" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    made.folder.rename(tmp_path / "runs" / "few")
    (listed,) = doctor.listing("runs")
    assert listed["about"].endswith("queries (2 groups)")


def test_few_groups_in_comparisons(tmp_path):
    from sensorium.evaluate import compare

    x, group = normal(120), np.arange(120) // 20
    made = run(tmp_path, x, x @ normal(8, seed=3), "data.group=speaker", "data.test=2", speaker=group)
    assert all(row["few_groups"] for row in compare.compare_runs(made.folder, made.folder, resamples=20))
    assert statistics.few(9) == {"few_groups": True} and statistics.few(10) == {}
