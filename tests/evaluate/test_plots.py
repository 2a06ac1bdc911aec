"""Pictures and cards: what is drawn, what is said, and that a leak is stamped on all of it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sensorium import evaluate
from sensorium.errors import BadData, MissingExtra
from sensorium.evaluate import breakdown, calibration, card, classification, figures, leaks, plots
from sensorium.pairs import Pairs


def red(path):
    """Share of reddish pixels: the stamp."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return ((pixels[..., 0] > pixels[..., 1] + 25) & (pixels[..., 1] < pixels[..., 2] + 25)).mean()


RANDOM = np.random.default_rng(0)
RANKS = {"left → right": RANDOM.integers(1, 100, 200)}
EVENTS = [{"step": 10 * i, "loss": 5 / (i + 1), "validation_MRR": 0.1 * i, "lr": 0.1} for i in range(5)]
PROBABILITY = RANDOM.random(300)
DRAWN = {
    "ranks": lambda path, leaky: plots.rank_curve(RANKS, {"left → right": 100}, path, leaky),
    "similarities": lambda path, leaky: plots.similarities(RANDOM.normal(1, 1, 99), RANDOM.normal(0, 1, 99), path, leaky),
    "training": lambda path, leaky: plots.training(EVENTS, path, leaky),
    "reliability": lambda path, leaky: plots.reliability(
        calibration.reliability(PROBABILITY, PROBABILITY > 0.4), path, leaky),
    "confusion": lambda path, leaky: plots.confusion(np.array([[5, 1], [0, 4]]), ["sad", "calm"], path, leaky),
    "groups": lambda path, leaky: plots.groups(breakdown.by(RANDOM.random(90), np.arange(90) % 9), path, leaky),
    "speed": lambda path, leaky: plots.speed(
        [{"index": "hnsw", "recall": 0.9, "queries_per_second": 1e4, "setting": "ef 16"},
         {"index": "exact", "recall": 1.0, "queries_per_second": 300}], path, leaky),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_each_picture_is_a_small_png_and_a_leak_is_stamped(name, tmp_path):
    clean = DRAWN[name](tmp_path / "clean.png", False)
    leaky = DRAWN[name](tmp_path / "leaky.png", True)
    assert Image.open(clean).format == "PNG"
    assert 5_000 < clean.stat().st_size < 150_000
    pixels = np.asarray(Image.open(clean).convert("L"))
    assert pixels.min() < 120  # something is drawn
    assert (pixels > 250).mean() > 0.2
    assert red(leaky) > red(clean) + 0.01


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    a, b = (DRAWN["ranks"](tmp_path / f"{i}.png", False).read_bytes() for i in range(2))
    assert a == b


def test_training_picks_validation_and_ignores_other_events(tmp_path):
    events = [{"objective": "infonce"}, *EVENTS, {"event": "resumed"}]
    plots.training(events, tmp_path / "a.png")
    plots.training(EVENTS, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    plots.training([{"step": 1, "loss": 2.0}], tmp_path / "c.png")
    with pytest.raises(BadData, match="a closed form has no curve"):
        plots.training([{"objective": "ridge"}], tmp_path / "d.png")


def test_messages(tmp_path):
    with pytest.raises(BadData, match=r"counts \(2, 3\) for 2 classes"):
        plots.confusion(np.ones((2, 3)), ["a", "b"], tmp_path / "x.png")
    with pytest.raises(BadData, match="no groups to draw"):
        plots.groups([], tmp_path / "x.png")
    with pytest.raises(BadData, match="no measured points"):
        plots.speed([], tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'sensorium\[train\]'"):
        DRAWN["ranks"](tmp_path / "x.png", False)
    assert not list(tmp_path.iterdir())


def classifier(n=120, c=4):
    random = np.random.default_rng(1)
    right = np.eye(c, 8, dtype=np.float32)
    label = np.arange(n) % c
    left = right[label] + 0.6 * random.standard_normal((n, 8)).astype(np.float32)
    actor = np.arange(n) // 12
    split = np.array(["train", "validation", "test"])[np.searchsorted([5, 7], actor, side="right")]
    return left, right, Pairs.of(np.arange(n), label, group=[f"actor {a}" for a in actor], split=split)


def test_a_runs_pictures(tmp_path):
    left, right, pairs = classifier()
    (tmp_path / "history.jsonl").write_text("\n".join(json.dumps(e) for e in [{"lr": 0.1}, *EVENTS]) + "\n")
    judged = evaluate.per_query(left, right, pairs)
    table = calibration.reliability(PROBABILITY, PROBABILITY > 0.4)
    labels, predicted = classification.predictions(judged["left->right"], left, right)
    of_classes = classification.table(labels, predicted, ["sad", "calm", "happy", "angry"])
    drawn = figures.draw(tmp_path, judged, left, right, pairs, class_table=of_classes,
                          calibration={"left->right": {"test": {"reliability": table}}, "right->left": {}})  # fmt: skip
    assert {p.name for p in drawn} == {"ranks.png", "similarities.png", "confusion_matrix.png", "groups.png",
                                       "reliability_left_to_right.png", "training_history.png"}  # fmt: skip
    assert [path for path, _ in figures.present(tmp_path)] == [
        f"plots/{name}" for name in figures.CAPTIONS if (tmp_path / "plots" / name).exists()]  # fmt: skip
    assert (labels == predicted).mean() == pytest.approx(judged["left->right"].values("hit@1").mean())


def test_what_is_a_class_table():
    _, _, pairs = classifier()
    assert classification.is_class_table(pairs)
    clip = np.repeat(np.arange(20), 5)
    captions = Pairs.of(clip, np.arange(100), split=np.where(clip < 15, "train", "test"))
    assert not classification.is_class_table(captions)


def test_random_pairs_are_no_true_pairs():
    left, right, pairs = classifier()
    true, random = figures.true_and_random(left, right, pairs, "test")
    assert true.mean() > 0.8
    assert abs(random.mean()) < 0.2


def metrics(leaky=False):
    left, right, pairs = classifier()
    if leaky:
        pairs = Pairs.of(
            pairs.left, pairs.right, group=pairs.group, split=np.where(np.arange(120) % 3, "train", "test")
        )
    report = leaks.audit(pairs, left, right)
    rows = evaluate.evaluate(left, right, pairs, resamples=50)
    return {"results": report.stamp(rows), "leaks": report.to_dict(), "data": "aa11", "split": "bb22", "recipe": "cc33",
            "seconds": {"load": 0.5, "fit": 1.25}, "verdict": "infonce beats ridge.",
            "baselines": {"ridge": {"results": rows}, "cca": {"not_applicable": "too few"}},
            "pairs": {"test": {"pairs": 36, "related": 36, "groups": 3, "left": 36, "right": 4}},
            "hubness": {"left->right": {"chosen": "csls", "before": {"k": 10, "skewness": 4.31}, "after": {"skewness": 2.44}},
                        "right->left": {"chosen": "none", "before": {"k": 10, "skewness": 0.1}, "after": {"skewness": 0.1}}},
            "calibration": {"left->right": {"probability": {"method": "platt"}, "test": {"ECE": 0.023},
                                            "no_match": {"score": 0.4, "risk": 0.1, "confidence": 0.95},
                                            "test_answered": 0.5, "test_wrong_among_answered": 0.08,
                                            "top_set": {"k": 12, "coverage": 0.9},
                                            "test_coverage": {"found": 0.91, "low": 0.88, "high": 0.93}},
                            "right->left": {"not_applicable": "3 scored hits, at least 10 needed"}}}  # fmt: skip


def test_card_says_what_matters(tmp_path):
    text = card.card(metrics(), '[data]\nname = "mine"\n', tmp_path / ".mine.building")
    for words in ("# mine\n", "infonce beats ridge.", "| left → right | hit@1 |", "95% interval", "Hashes: data `aa11`",
                  "No leak between test and train or validation", "4.31, 2.44 after `csls`", "no correction",
                  "ECE 2.3 points", "at most 10% wrong with 95% confidence; on test 50% answered, 8% of them wrong",
                  "The first 12 hold a right one 90% of the time; found on test 91% [88, 93]", "none (3 scored hits",
                  'sensorium.open("runs/mine")', "sensorium show runs/mine", '```toml\n[data]\nname = "mine"\n```'):  # fmt: skip
        assert words in text
    assert "LEAKY" not in text
    assert "![" not in text


def test_card_of_a_leaky_run_is_stamped_throughout(tmp_path):
    told = metrics(leaky=True)
    text = card.card(told, "", tmp_path)
    assert text.startswith(f"# {tmp_path.name} — **LEAKY**")
    assert all(row["value"].endswith("LEAKY") for row in card.table(told))
    assert all(row["leaky"] for row in told["results"])
    assert "evaluated groups are also in the training data" in text


def test_card_shows_the_pictures_there_are(tmp_path):
    DRAWN["ranks"](tmp_path / "plots" / "ranks.png", False)
    text = card.card(metrics(), "", tmp_path)
    assert "![Share of test queries" in text
    assert text.count("](plots/") == 1


def test_card_of_bare_results():
    text = card.card({"results": metrics()["results"]}, "", Path("runs/bare"))
    assert "# bare" in text
    assert "not looked for" in text


def test_no_match_that_never_answers():
    told = metrics()
    told["calibration"]["left->right"]["no_match"]["score"] = None
    assert "No threshold on the score keeps first answers at most 10% wrong" in card.card(told, "", Path("x"))


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (1, "All queries are of one group: the intervals say nothing"),
        (3, "rest on 3 groups and are too narrow"),
        (9, "9 groups"),
        (10, ""),
    ],
)
def test_card_warns_of_intervals_over_few_groups(groups, said):
    told = metrics()
    told["results"] = [{**row, "n_groups": groups} for row in told["results"]]
    warned = card.caution(told)
    assert said in warned and bool(warned) == bool(said)
    text = card.card(told, "", Path("x"))
    assert (f"**{warned}**" in text) == bool(said) and "****" not in text


def test_table_has_the_baseline_beside():
    row = card.table(metrics())[0]
    assert list(row) == ["direction", "measure", "value", "95% interval", "ridge", "queries", "candidates"]
    assert row["ridge"] == row["value"]


def test_markdown_tables():
    text = card.markdown([{"name": "a|b", "n": 3, "x": 0.123456}, {"name": "c", "n": 4, "x": None}])
    assert text == "| name | n | x |\n| --- | ---: | --- |\n| a\\|b | 3 | 0.1235 |\n| c | 4 |  |"


def test_a_card_says_the_licence_of_weights_one_line_a_side():
    recipe = '[left]\nencoder = {name = "wavlm", model = "someone/mine"}\n[right]\nencoder = "minilm"\n'
    text = card.card(metrics(), recipe, Path("x"))
    assert "The right encoder is minilm; licence of its weights: Apache 2.0." in text
    assert "The left encoder is wavlm with the weights of someone/mine; their publisher says" in text
    assert "licence" not in card.card(metrics(), '[left]\nencoder = "hashing"\n', Path("x"))
