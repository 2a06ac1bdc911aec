"""Every fold in one command, and a run judged on another corpus."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from made_corpus import RATE, actors
from typer.testing import CliRunner

import sensorium
from sensorium import io
from sensorium.cli import app
from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate import aggregate
from sensorium.experiments import cross_corpus, folds

QUICK = ["data.copies=0", "train.batch=32", "train.epochs=25", "left.head.hidden=32", "left.head.members=1",
         "evaluate.plots=false", "evaluate.resamples=50"]  # fmt: skip


def call(*words: object) -> list[dict]:
    told = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert told.exit_code == 0, told.output
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_every_fold_and_seed_in_one_command(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for actor in (1, 4, 8):  # one of each of three folds
        actors(root, range(actor, actor + 1))
    keys = [f"data.root={root}", *QUICK, "train.epochs=2", "train.batch=16"]
    rows = call("run", "ravdess-best", *keys, "data.fold=all", "--seeds", 2, "--out", tmp_path / "runs", "--json", "-q")
    made = {(k, s): io.read_json(tmp_path / f"runs/fold-{k}/seed-{s}/metrics.json") for k in (1, 2, 3) for s in (0, 1)}
    assert {tuple(sorted(m["pairs"]["test"].items())) for m in made.values()} == {
        (("groups", 1), ("left", 16), ("pairs", 16), ("related", 16), ("right", 8))
    }
    value = {key: {r["measure"]: r["value"] for r in m["results"]} for key, m in made.items()}
    table = np.array([[value[k, s]["UA"] for s in (0, 1)] for k in (1, 2, 3)])
    (ua,) = [row for row in rows if row["measure"] == "UA"]
    assert ua["mean"] == pytest.approx(table.mean()) and (ua["folds"], ua["seeds"]) == (3, 2)
    assert ua["std_folds"] == pytest.approx(np.std(table.mean(1), ddof=1))
    assert ua["std_seeds"] == pytest.approx(np.std(table.mean(0), ddof=1))
    told = io.read_json(tmp_path / "runs/folds.json")
    assert told["results"] == rows
    # An actor's numbers are the mean over seeds of its own fold; the counts those of all six runs.
    each = {k: [m["results"] for (fold, _), m in made.items() if fold == k] for k in (1, 2, 3)}
    for actor, fold in (("1", 1), ("4", 2), ("8", 3)):
        (group,) = [row for row in told["groups"] if row["name"] == actor]
        assert group["n"] == 16
        wa = np.mean([row["value"] for results in each[fold] for row in results if row["measure"] == "WA"])
        assert group["WA"] == group["value"] == pytest.approx(wa)
    counts = np.array(told["classes"]["confusion"])
    assert (counts == np.sum([m["classes"]["confusion"] for m in made.values()], 0)).all() and counts.sum() == 6 * 16
    assert told["classes"]["recall"] == pytest.approx((np.diag(counts) / counts.sum(1)).tolist())
    card = (tmp_path / "runs/README.md").read_text("utf-8")
    assert "3 folds, 2 seeds each" in card and f"± {100 * ua['std_folds']:.1f}" in card and "| surprised |" in card
    assert "LEAKY" not in card
    assert (tmp_path / "runs/plots/confusion_matrix.png").stat().st_size > 10_000
    before = (tmp_path / "runs/fold-1/seed-0/metrics.json").stat().st_mtime_ns
    again = folds.every("ravdess-best", [*keys, "data.fold=all"], seeds=2, out=tmp_path / "runs", quiet=True)
    assert again["results"] == rows
    assert (tmp_path / "runs/fold-1/seed-0/metrics.json").stat().st_mtime_ns == before  # nothing was run again


def test_a_leaky_fold_marks_the_whole() -> None:
    def metrics(value: float, leaky: bool) -> dict:
        row = {"direction": "left->right", "measure": "hit@1", "split": "test", "value": value}
        return {"results": [{**row, "leaky": True} if leaky else row]}

    told = aggregate.summarise([[metrics(0.2, False)], [metrics(0.6, True)]])
    (row,) = told["results"]
    assert row["leaky"] and row["mean"] == pytest.approx(0.4) and row["std_folds"] == pytest.approx(0.2 * 2**0.5)
    assert row["std_seeds"] is None and told["groups"] == [] and "classes" not in told
    card = aggregate.card(told, "ravdess")
    assert "every fold — **LEAKY**" in card and "| 40.0 LEAKY |" in card and "1 seed each" in card
    assert not aggregate.summarise([[metrics(0.2, False)]])["results"][0].get("leaky")


def test_what_has_no_folds(tmp_path: Path) -> None:
    root = actors(tmp_path / "data", range(1, 4))
    for keys, said in (
        (["data.protocol=leaky-random"], "needs data.protocol=emobox or five-fold"),
        (["data.test_actors=[1]"], "and no data.test_actors"),
    ):
        with pytest.raises(BadRecipe, match=said):
            folds.every("ravdess", [*keys, f"data.root={root}", "data.fold=all"], out=tmp_path / "runs", quiet=True)
    with pytest.raises(BadRecipe, match=r"each in turn: sensorium run RECIPE data.fold=all"):
        sensorium.run(
            "ravdess", [f"data.root={actors(tmp_path / 'all', range(1, 25))}", "data.fold=all"], out=tmp_path / "r"
        )


def test_folds_of_groups_for_any_data_with_labels_and_groups(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    label, actor = np.arange(120) % 3, np.arange(120) // 10
    x, y = (random.standard_normal((120, 6)) + 2 * np.eye(6)[label] for _ in range(2))
    np.savez(tmp_path / "a.npz", left=x, right=y, emotion=label, actor=actor, split=["train"] * 100 + ["test"] * 20)
    keys = [f"data.file={tmp_path / 'a.npz'}", "data.relevant=emotion", "data.group=actor", "objective=ridge",
            "evaluate.plots=false", "evaluate.resamples=20", "evaluate.baselines=[]"]  # fmt: skip
    with pytest.raises(BadRecipe, match="data.fold=1, but the data bring their own split.*: data.split="):
        sensorium.run("arrays", [*keys, "data.fold=1"], out=tmp_path / "b", quiet=True)
    keys.append("data.split=")
    rows = call("run", "arrays", *keys, "data.fold=all", "data.folds=4", "--out", tmp_path / "runs", "--json", "-q")
    made = [io.read_json(tmp_path / f"runs/fold-{k}/seed-0/metrics.json") for k in (1, 2, 3, 4)]
    assert all(m["pairs"][word]["groups"] == 3 for m in made for word in ("test", "validation"))
    tested = [group["name"] for m in made for group in m["breakdown"]["worst"]]
    assert sorted(tested) == sorted({str(k) for k in range(12)})  # each actor is tested once
    (row,) = [r for r in rows if r["measure"] == "precision@10" and r["direction"] == "left->right"]
    each = [r["value"] for m in made for r in m["results"] if (r["measure"], r["direction"]) ==
            ("precision@10", "left->right")]  # fmt: skip
    assert row["mean"] == pytest.approx(np.mean(each)) and row["folds"] == 4
    for wrong, said in ((["data.fold=5"], "expected 1 to 4, or all"), (["data.fold=one"], "expected 1 to 4, or all"),
                        (["data.fold=all"], "data.fold=all is 4 runs")):  # fmt: skip
        with pytest.raises(BadRecipe, match=said):
            sensorium.run("arrays", [*keys, "data.folds=4", *wrong], out=tmp_path / "b", quiet=True)
    with pytest.raises(BadRecipe, match="13 folds need 13 groups .*there are 12; type: data.folds=12"):
        sensorium.run("arrays", [*keys, "data.folds=13", "data.fold=1"], out=tmp_path / "b", quiet=True)
    with pytest.raises(BadRecipe, match="data.folds=2; expected 3 or more"):
        sensorium.run("arrays", [*keys, "data.folds=2", "data.fold=1"], out=tmp_path / "b", quiet=True)


def emodb(folder: Path) -> Path:
    """The same emotions by pitch, of two other speakers; and one class that RAVDESS lacks."""
    folder.mkdir()
    letters = {"W": 5, "E": 7, "A": 6, "F": 3, "T": 4, "N": 1, "L": 2}  # L is boredom
    for speaker in ("03", "08"):
        rng = np.random.default_rng(int(speaker))
        for letter, emotion in letters.items():
            for version in "ab":
                t = np.arange(int(0.5 * RATE)) / RATE
                pitch = 90 * 1.22**emotion * (1 + 0.02 * rng.normal())
                x = 0.02 * 1.4 ** (emotion % 4) * scipy.signal.sawtooth(2 * np.pi * pitch * t)
                x = x * (t > 0.1) + 1e-4 * rng.normal(size=len(t))
                soundfile.write(folder / f"{speaker}a01{letter}{version}.wav", x.astype(np.float32), RATE)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("cross")
    keys = [f"data.root={actors(folder / 'data', range(1, 6))}", "data.test_actors=[5]", "data.validation_actors=[4]"]
    return sensorium.run("ravdess-best", [*keys, *QUICK], out=folder / "run", quiet=True)


def test_a_run_is_judged_on_another_corpus(run: object, tmp_path: Path) -> None:
    from sklearn.metrics import balanced_accuracy_score

    root = emodb(tmp_path / "emodb")
    before = (run.folder / "metrics.json").read_bytes()
    rows = {r["measure"]: r for r in call("evaluate", run.folder, "data=emodb", f"data.root={root}", "--json", "-q")}
    assert (run.folder / "metrics.json").read_bytes() == before
    ua = rows["UA"]
    common = ["neutral", "happy", "sad", "angry", "fearful", "disgust"]  # RAVDESS's order; no calm, surprised, bored
    assert ua["classes"].split() == common and (ua["n_candidates"], ua["n_queries"]) == (6, 24)
    assert (ua["left_out"], ua["speakers"], ua["corpus"]) == (4, 2, "emodb")
    true, said = [], []
    letters = dict(zip("NFTWAE", common, strict=True))
    for path in sorted(root.glob("*.wav")):
        if path.stem[5] in letters:
            hits = [hit["id"] for hit in run.search(audio=str(path), k=8)]
            true.append(letters[path.stem[5]])
            said.append(next(name for name in hits if name in common))  # the best of the common classes
    assert ua["value"] == pytest.approx(balanced_accuracy_score(true, said)) and ua["value"] > 1 / 6
    assert rows["WA"]["value"] == pytest.approx(np.mean(np.array(true) == said))
    kept = io.read_json(run.folder / "cross-emodb.json")["results"]
    assert {r["measure"]: r["value"] for r in kept} == {m: r["value"] for m, r in rows.items()}


def test_recordings_of_the_run_itself_are_no_other_corpus(run: object, tmp_path: Path) -> None:
    root = run.recipe.values["data"]["root"]
    with pytest.raises(BadData, match="all 80 recordings are the run's own; its test split.*sensorium evaluate"):
        cross_corpus.judge(run.folder, ["data=ravdess", f"data.root={root}", "data.protocol=leaky-random"], quiet=True)
    sung = Path(root) / "Actor_01" / "03-02-03-01-01-01-01.wav"
    soundfile.write(sung, np.zeros(RATE // 2, np.float32), RATE)
    soundfile.write(sung.with_name("03-02-04-01-01-01-01.wav"), np.zeros(RATE // 2, np.float32), RATE)
    try:
        keys = ["data=ravdess", f"data.root={root}", "data.channel=both", "data.protocol=leaky-random"]
        rows = cross_corpus.judge(run.folder, keys, quiet=True)
        assert {(row["n_queries"], row["own"]) for row in rows} == {(2, 80)}
    finally:
        sung.unlink()
        sung.with_name("03-02-04-01-01-01-01.wav").unlink()


def test_corpora_with_nothing_in_common(run: object, tmp_path: Path) -> None:
    for word in ("glad", "cross"):
        (tmp_path / "own" / word / "ann").mkdir(parents=True)
        soundfile.write(tmp_path / "own" / word / "ann" / "1.wav", np.zeros(100, np.float32), RATE)
    with pytest.raises(BadData, match="has cross, glad, the run knows neutral, .*: fewer than two classes are common"):
        cross_corpus.judge(run.folder, ["data=speech_folder", f"data.root={tmp_path / 'own'}"])
