"""Two runs compared by what a protocol measured: areas, shares of right answers, McNemar; and what runs keep for it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn_metrics

import sensorium
from sensorium.errors import BadData, Mismatch
from sensorium.evaluate import compare, named
from sensorium.evaluate.areas import Area

SETS = '''
import numpy as np
from sensorium.pairs import Pairs
from sensorium.pairs.sets import ItemSets, Questions, ragged
from sensorium.types import Data, Items
from dataclasses import replace

class Looks:
    """60 outfits of three items, of a style; 60 made-up ones, a question for each outfit."""
    def __init__(self, wrong: int = 3) -> None:
        self.wrong = wrong
    def load(self):
        random = np.random.default_rng(0)
        outfit = np.repeat(np.arange(60), 3)
        x = random.standard_normal((60, 10))[outfit] + 0.9 * random.standard_normal((180, 10))
        split = np.array(["train", "train", "train", "validation", "test"])[np.arange(60) % 5]
        real = np.arange(180).reshape(60, 3)
        a, b = real[:, [0, 0, 1]].ravel(), real[:, [1, 2, 2]].ravel()
        pairs = Pairs.of(a, b, group=outfit, split=split[outfit], same_table=True)
        false = np.stack([real[:, 0], (real[:, 1] + 15) % 180, (real[:, 2] + 30) % 180], 1)
        sets = ItemSets.of([*real, *false], np.repeat([1, 0], 60), np.tile(np.arange(60), 2), np.tile(split, 2))
        answers = (real[:, 2:] + 15 * np.arange(self.wrong + 1)) % 180
        asked = Questions(ragged(real[:, :2]), answers, np.zeros(60, int), split, np.arange(60))
        items = Items(np.arange(180).astype(str), x.astype(np.float32), "vector",
                      {"category": np.tile(["top", "shoe", "bag"], 60)})
        return Data(items, None, replace(pairs, sets=sets, questions=asked), {})
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one protocol, another seed, and one that asks other questions."""
    folder = tmp_path_factory.mktemp("looks")
    (folder / "looks.py").write_text(SETS)

    def run(name, seed=0, **data):
        recipe = {
            "name": name,
            "data": {"name": f"{folder / 'looks.py'}:Looks", **data},
            "left": {"head": {"name": "linear", "dim": 6}},
            "objective": "infonce",
            "train": {"epochs": 3, "lr": 0.01, "precision": "fp32", "batch": 32},
            "evaluate": {"protocol": "outfits", "resamples": 100, "correction": "none", "plots": False,
                         "calibrate": False, "baselines": ["cca"]},
        }  # fmt: skip
        return sensorium.run(recipe, out=folder / name, seed=seed, quiet=True)

    return run("a"), run("b", seed=1), run("other", wrong=4)


def test_two_runs_are_compared_by_every_row_of_the_protocol(runs):
    a, b, _ = runs
    rows = {row["measure"]: row for row in compare.compare_runs(a.folder, b.folder, resamples=200)
            if row["direction"] == "outfit->item"}  # fmt: skip
    of_a, of_b = ({row["measure"]: row for row in run.metrics["protocol"]["results"]} for run in (a, b))
    assert list(rows) == list(of_a) and len(rows) == 12
    for measure, row in rows.items():
        assert (row["a"], row["b"]) == (of_a[measure]["value"], of_b[measure]["value"])
        assert row["low"] <= row["difference"] <= row["high"] and row["n_queries"] == of_a[measure]["n_queries"]
        assert ("mcnemar_p" in row) == measure.startswith(("fill", "recall"))
    same = compare.compare_runs(a.folder, a.folder, resamples=50)
    assert {row["difference"] for row in same} == {0} and {row["better"] for row in same} == {"undecided"}


def test_what_is_kept_is_what_was_measured(runs):
    a = runs[0]
    with np.load(a.folder / compare.FILE) as file:
        kept = named.unpack({name: file[name] for name in file.files})
    for row in a.metrics["protocol"]["results"]:
        one = kept["test", "outfit->item", row["measure"]]
        if one.kind == "AUC":
            expected = sklearn_metrics.roc_auc_score(one.label, one.value)
        elif one.kind == "AP":
            expected = sklearn_metrics.average_precision_score(one.label, one.value)
        else:
            expected = one.value.mean()
        assert row["value"] == pytest.approx(expected)
    assert set(compare.load(a.folder / compare.FILE)) == {(split, direction) for split in ("validation", "test")
                                                          for direction in ("left->right", "right->left")}  # fmt: skip


def test_runs_that_were_asked_other_questions_are_not_compared(runs):
    a, _, other = runs
    with pytest.raises(Mismatch, match="test fill_in_the_blank: their outfits, questions or candidates differ; make"):
        compare.compare_runs(a.folder, other.folder)


def test_the_verdict_is_about_the_measure_that_decides(runs):
    for run in runs:
        assert "fill_in_the_blank points" in run.metrics["verdict"]
        beside = run.metrics["baselines"]
        assert set(beside) == {"cca", "frozen"} == set(run.metrics["protocol"]["baselines"])
        for record in beside.values():
            by, rows = record["protocol_advantage"], {row["measure"]: row["value"] for row in record["results"]}
            ours = {row["measure"]: row["value"] for row in run.metrics["protocol"]["results"]}
            assert by["fill_in_the_blank"] == pytest.approx(ours["fill_in_the_blank"] - rows["fill_in_the_blank"])
            assert set(ours) <= set(rows)
    card = (runs[0].folder / "README.md").read_text()
    assert "recall@10 by category, worst first:" in card and "made up: pairs" in card
    assert "| outfit → item | fill_in_the_blank |" in card


def test_a_table_for_people_shows_the_protocol_and_mcnemar(runs, capsys, monkeypatch):
    from sensorium.cli import tables
    from sensorium.cli.output import print_run

    monkeypatch.setenv("COLUMNS", "160")
    a, b, _ = runs
    tables.comparison(compare.compare_runs(a.folder, b.folder, resamples=20), "a", "b")
    told = capsys.readouterr().out
    assert "McNemar p" in told and "compatibility_AUC/hard" in told and "recall@50" in told
    print_run(a.metrics, a.folder)
    told = capsys.readouterr().out
    assert "fill_in_the_blank" in told and "retrieval: cir-3000-42" in told


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 400), st.floats(0, 1))
def test_mcnemar_equals_the_binomial_test(seed, n, share):
    random = np.random.default_rng(seed)
    a, b = (random.random(n) < share for _ in range(2))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert compare.mcnemar(a.astype(float), b.astype(float)) == pytest.approx(expected)
    assert compare.mcnemar(a.astype(float), a.astype(float)) == 1


def test_mcnemar_of_very_many_queries_is_a_number():
    a = np.repeat([1.0, 0.0], 20_000)
    assert compare.mcnemar(a, 1 - a) == pytest.approx(1)
    assert compare.mcnemar(a, np.ones(40_000)) == pytest.approx(0, abs=1e-300)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 5), st.sampled_from(["AUC", "AP"]))
def test_areas_under_weights_equal_scikit_learn(seed, levels, kind):
    random = np.random.default_rng(seed)
    label, score = np.r_[0, 1, random.integers(0, 2, 30)], random.integers(0, levels, 32) / levels
    weight = random.integers(1, 4, 32).astype(float)
    theirs = sklearn_metrics.roc_auc_score if kind == "AUC" else sklearn_metrics.average_precision_score
    area = Area.of(label, score)
    assert area.value(kind) == pytest.approx(theirs(label, score))
    assert area.value(kind, weight) == pytest.approx(theirs(label, score, sample_weight=weight))
    assert area.above().mean() == pytest.approx(sklearn_metrics.roc_auc_score(label, score))


def test_paired_areas_equal_plain_resampling_and_see_the_better_run():
    random = np.random.default_rng(0)
    label, group = np.tile([1, 0], 100), np.arange(200) // 2
    a = label + 2.0 * random.standard_normal(200)
    b = label + 0.3 * (a - label) + 0.3 * random.standard_normal(200)
    found = compare.paired_areas(Area.of(label, a), Area.of(label, b), "AUC", group, resamples=1500)
    assert found.a == pytest.approx(sklearn_metrics.roc_auc_score(label, a))
    assert found.b == pytest.approx(sklearn_metrics.roc_auc_score(label, b))
    assert 0 < found.low < found.difference < found.high and found.p < 0.01 and found.higher > found.lower
    draws, plain = np.random.default_rng(1), []
    for _ in range(1500):
        rows = np.concatenate([[2 * g, 2 * g + 1] for g in draws.integers(0, 100, 100)])
        one, zero = rows[label[rows] == 1], rows[label[rows] == 0]
        plain.append((b[one][:, None] > b[zero]).mean() - (a[one][:, None] > a[zero]).mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.012)


def test_an_older_run_without_named_values_is_compared_by_its_ranks(runs, tmp_path):
    a = runs[0]
    with np.load(a.folder / compare.FILE) as file:
        old = {name: file[name] for name in file.files if not name.startswith("named|")}
    with pytest.raises(BadData, match="keeps no per-query ranks"):
        compare.compare_runs(tmp_path, a.folder)
    np.savez(tmp_path / compare.FILE, **old)
    assert {row["direction"] for row in compare.compare_runs(tmp_path, a.folder)} == {"left->right", "right->left"}
