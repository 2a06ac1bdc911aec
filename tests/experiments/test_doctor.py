"""The data doctor of a run: what was shuffled on purpose is found, said, dropped, and the run without it is made."""

import csv
import json

import numpy as np
import pytest

import sensorium
from sensorium.errors import BadRecipe
from sensorium.evaluate import duplicates
from sensorium.experiments import doctor
from sensorium.pipeline import run as make

QUICK = ["objective=cca", "evaluate.plots=false", "evaluate.resamples=5", "evaluate.baselines=[]"]
N, WRONG = 400, 20


def arrays(folder, n: int = N, wrong: int = WRONG, noise: float = 0.15, **more) -> np.ndarray:
    """Two views of n things in ``two.npz``, the first ``wrong`` of them paired with each other's; returns the left view."""
    random = np.random.default_rng(0)
    z = random.standard_normal((n, 8))
    x, y = (z @ random.standard_normal((8, d)) + noise * random.standard_normal((n, d)) for d in (12, 10))
    y[:wrong] = np.roll(y[:wrong], 1, 0)
    if n > 310:
        y[300] = y[301]
        x[310] = 20 * random.standard_normal(12)
    np.savez(
        folder / "two.npz",
        image=x.astype(np.float32),
        text=y.astype(np.float32),
        id=[f"k{i}" for i in range(n)],
        **more,
    )
    return x


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor")
    arrays(folder)
    make("arrays", [f"data.file={folder / 'two.npz'}", *QUICK], out=folder / "runs/a", quiet=True)
    return folder


@pytest.fixture(scope="module")
def report(folder):
    return doctor.examine(folder / "runs/a")


def named(report, kind: str, least: float = 0.5) -> list[dict]:
    return [one for one in report["findings"] if one["kind"] == kind and one.get("probability", 1) >= least]


def test_shuffled_pairs_are_found_and_hardly_any_other(report):
    found = {one["left"] for one in named(report, "pair")}
    wrong = {f"k{i}" for i in range(WRONG)}
    assert len(found & wrong) >= 0.9 * WRONG and len(found - wrong - {"k300", "k310"}) <= 2
    assert all(one["left"] == one["right"] for one in named(report, "pair", 0))
    (check,) = (one for one in report["checks"] if one["check"] == "pairs")
    assert check["of"] == N and check["apart"] > 0.9 and abs(check["expected"] - WRONG) < 6
    assert check["self_check"]["shuffled"] == N // 20 and check["self_check"]["recall"] > 0.8 and check["folds"] == 5
    first = named(report, "pair")[0]
    assert first["rank_of_right"] > 5 and first["rank_of_left"] > 5 and first["rights"] == first["lefts"] == N // 5


def test_near_duplicates_and_outliers_are_found_on_their_side(report):
    (repeated,) = named(report, "duplicate")
    assert (
        {repeated["right"], repeated["other"]} == {"k300", "k301"} and repeated["side"] == "right" and repeated["equal"]
    )
    assert report["sides"] == {"left": "image", "right": "text"}
    json.dumps(report, allow_nan=False)


def test_the_drop_list_makes_a_run_without_them(folder, report):
    rows = doctor.dropped(report)
    assert {row["left"] for row in rows} == {one["left"] for one in named(report, "pair")}
    assert rows[0]["why"].startswith("its text ranks ") and "its image ranks " in rows[0]["why"]
    more = doctor.dropped(report, 0.5, ["duplicates", "outliers"])
    extra = [row for row in more if not (row["left"] and row["right"])]
    assert {"left": "", "right": "k301", "probability": "", "why": "equal to k300 (cosine 1.0)"} in extra
    path = folder / "drop.csv"
    assert doctor.write_list(report, more, path) == len(more)
    keys = [f"data.file={folder / 'two.npz'}", f"data.drop={path}", *QUICK]
    again = make("arrays", keys, out=folder / "runs/b", quiet=True)
    assert again.metrics["dataset"]["dropped"]["right"] == sum(not row["left"] for row in more)
    left = doctor.examine(folder / "runs/b")
    assert len(named(left, "pair")) <= 2 and not named(left, "duplicate")
    n = doctor.write_list(left, doctor.dropped(left), path)
    with path.open() as file:
        assert len(list(csv.DictReader(file))) == n >= len(more), "what was left out before stays in the list"


def test_mislabelled_items_of_a_class_table(tmp_path):
    random = np.random.default_rng(0)
    code = random.integers(0, 4, 300)
    said = code.copy()
    said[:12] = (code[:12] + 1) % 4
    x = (2.5 * random.standard_normal((4, 10))[code] + random.standard_normal((300, 10))).astype(np.float32)
    np.savez(tmp_path / "items.npz", image=x, text=np.eye(4, dtype=np.float32)[said], label=[f"c{k}" for k in said],
             id=[f"k{i}" for i in range(300)])  # fmt: skip
    keys = [f"data.file={tmp_path / 'items.npz'}", "data.relevant=label", *QUICK]
    make("arrays", keys, out=tmp_path / "a", quiet=True)
    report = doctor.examine(tmp_path / "a")
    found = [one for one in named(report, "label") if one["side"] == "left"]
    wrong = {f"k{i}" for i in range(12)}
    assert len({one["left"] for one in found} & wrong) >= 9 and len({one["left"] for one in found} - wrong) <= 3
    right = [one for one in found if one["left"] in wrong]
    assert all(one["label"] == f"c{said[int(one['left'][1:])]}" for one in found)
    assert np.mean([one["instead"] == f"c{code[int(one['left'][1:])]}" for one in right]) > 0.8
    assert "its own class ranks" in doctor.dropped(report)[0]["why"]


def test_what_cannot_be_checked_is_said(tmp_path):
    arrays(tmp_path, 40, 0)
    make("arrays", [f"data.file={tmp_path / 'two.npz'}", *QUICK], out=tmp_path / "few", quiet=True)
    report = doctor.examine(tmp_path / "few")
    assert report["notes"] == [
        "pairs were not checked: 40 pairs are too few to tell mispaired ones; expected 50 at least"
    ]
    assert report["checks"] == report["findings"] == []


def test_pairs_that_look_like_chance(tmp_path):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "two.npz", image=random.standard_normal((200, 5)), text=random.standard_normal((200, 5)))
    make("arrays", [f"data.file={tmp_path / 'two.npz'}", *QUICK], out=tmp_path / "a", quiet=True)
    report = doctor.examine(tmp_path / "a")
    assert not named(report, "pair", 0) and report["checks"][0]["expected"] is None
    assert any("the closed forms hardly tell the 200 pairs from shuffled ones" in note for note in report["notes"])


def test_words_that_the_drop_list_does_not_take(report):
    with pytest.raises(BadRecipe, match="--sure 2; expected a probability from 0 to 1"):
        doctor.dropped(report, 2)
    with pytest.raises(BadRecipe, match="--also outlier; did you mean 'outliers'"):
        doctor.dropped(report, 0.5, ["outlier"])


def test_the_command_line(folder, capsys, monkeypatch):
    from sensorium import cli

    def sensorium_(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["sensorium", "doctor", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return said.out if not ended.value.code else said.err

    run, out = str(folder / "runs/a"), folder / "list.csv"
    records = [json.loads(line) for line in sensorium_(run, "--pairs", "--json", "--out", str(out), "-q").splitlines()]
    assert {one.get("kind", one.get("check")) for one in records} >= {
        "pairs",
        "duplicates",
        "outliers",
        "pair",
        "duplicate",
    }
    assert out.read_text().startswith("left,right,id,probability,why\nk")
    shown = sensorium_(run, "--pairs", "--table", "--out", str(out), "-q")
    words = " ".join(shown.split())  # wherever lines are broken
    assert "Pairs that look mispaired" in words and "shuffled on purpose" in words and f"data.drop={out}" in shown
    assert "expected a number above 0, up to 1" in sensorium_(run, "--pairs", "--cosine", "2")
    assert "--pairs examines the data of a run; type: sensorium doctor RUN --pairs" in sensorium_("--pairs")


def test_the_report_tells_one_fit_from_the_next(folder, report):
    assert report["made"] == doctor.made(folder / "runs/a") and report["run"] == "a"
    assert duplicates.COSINE == 0.9999 and sensorium.open(folder / "runs/a")
