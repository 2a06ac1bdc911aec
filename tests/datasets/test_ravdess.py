"""The recipes on synthetic voices and on real ones: from files to a run whose stream equals its files."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from made_corpus import RATE, actors
from made_voice import streamed

import sensorium
from sensorium import heads, io, parts, pipeline, recipe
from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate.protocols.emotions import recognition
from sensorium.modalities.audio import augment
from sensorium.modalities.audio.augment import Variant


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("ravdess")
    root = actors(folder / "data", range(1, 7))
    return sensorium.run("ravdess-best", [
        f"data.root={root}", "data.test_actors=[5, 6]", "data.validation_actors=[4]", "data.copies=1",
        "train.batch=32", "train.epochs=40", "left.head.hidden=32", "left.head.members=2",
    ], out=folder / "run", quiet=True)  # fmt: skip


def test_the_run_recognises_unseen_actors(run: object) -> None:
    results = {row["measure"]: row for row in io.read_json(run.folder / "metrics.json")["results"]}
    assert results["hit@1"]["n_queries"] == 32 and results["hit@1"]["n_candidates"] == 8
    assert results["hit@1"]["value"] > 0.6


def test_classes_are_judged_by_the_words_of_the_field(run: object) -> None:
    """UA, WA, macro-F1 by scikit-learn from the run's own hits; each test actor by itself."""
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

    told = run.metrics
    results = {row["measure"]: row for row in told["results"]}
    table = run.index("left").table
    test = np.isin(np.asarray(table.columns["speaker"]), ["5", "6"])
    ids, true = table.ids[test], np.asarray(table.columns["emotion"])[test]
    said = np.array([run.search(id=str(i), side="left", k=1)[0]["id"] for i in ids])
    assert results["UA"]["value"] == pytest.approx(balanced_accuracy_score(true, said))
    assert results["WA"]["value"] == pytest.approx(accuracy_score(true, said)) == results["hit@1"]["value"]
    assert results["macro-F1"]["value"] == pytest.approx(f1_score(true, said, average="macro"))
    assert all(row["low"] <= row["value"] <= row["high"] for row in results.values())
    by_actor = {row["name"]: row for row in told["breakdown"]["worst"]}
    actor = np.asarray(table.columns["speaker"])[test]
    assert set(by_actor) == {"5", "6"}
    for name, row in by_actor.items():
        mine = actor == name
        assert row["n"] == mine.sum() == 16
        assert row["UA"] == pytest.approx(balanced_accuracy_score(true[mine], said[mine]))
    recall = dict(zip(told["classes"]["names"], told["classes"]["recall"], strict=True))
    assert recall["happy"] == pytest.approx((said == "happy")[true == "happy"].mean())
    assert np.sum(told["classes"]["confusion"]) == 32
    card = (run.folder / "README.md").read_text()
    assert "| UA |" in card and "Groups, worst first, by WA" in card and "Recall of each class" in card


def test_show_lists_the_actors(run: object) -> None:
    from typer.testing import CliRunner

    from sensorium.cli import app

    told = CliRunner().invoke(app, ["show", str(run.folder), "--table"]).output
    assert "Groups, worst first, by WA" in told and "macro-F1" in told


def test_a_clip_and_its_file_find_the_same(run: object) -> None:
    root = Path(run.recipe.values["data"]["root"])
    clip = next(root.rglob("03-01-05-*-06.wav"))
    by_file, by_id = run.search(audio=str(clip), k=8), run.search(id=clip.relative_to(root).as_posix(), k=8)
    assert [h["id"] for h in by_file] == [h["id"] for h in by_id]
    np.testing.assert_allclose([h["score"] for h in by_file], [h["score"] for h in by_id], atol=1e-5)


def test_a_leaky_split_is_stamped(tmp_path: Path) -> None:
    made = sensorium.run("ravdess-best", [
        f"data.root={actors(tmp_path / 'data', range(1, 4))}", "data.protocol=leaky-random", "data.copies=0",
        "train.batch=16", "train.epochs=1", "evaluate.plots=false",
    ], out=tmp_path / "run", quiet=True)  # fmt: skip
    assert made.metrics["leaks"]["leaky"] and all(row["leaky"] for row in made.metrics["results"])
    assert "LEAKY" in (made.folder / "README.md").read_text()
    # a correction for hubness is in every number of a class table, or in none
    corrected = pipeline.evaluate_again(made.folder, ["evaluate.correction=csls"], quiet=True)
    value = {row["measure"]: row["value"] for row in corrected.metrics["results"]}
    assert value["WA"] == pytest.approx(value["hit@1"])
    counts = np.array(corrected.metrics["classes"]["confusion"])
    assert np.trace(counts) / counts.sum() == pytest.approx(value["hit@1"])


def test_changed_copies_train_but_are_not_found(run: object) -> None:
    metrics = io.read_json(run.folder / "metrics.json")
    assert metrics["dataset"]["augmented"] == 3 * 16
    assert metrics["index"]["left"]["items"] == 6 * 16


def test_a_stream_ends_where_the_file_does(run: object, tmp_path: Path) -> None:
    """Features and head together, from raw chunks: what the index says of the file, the stream says at its end."""
    from sensorium.stream.lite import Lite

    left, _ = heads.restore(run.folder / "left")
    plan = recipe.load(run.folder / "recipe.toml")
    encoder = plan.part("left.encoder")
    path = next(Path(plan.values["data"]["root"]).rglob("03-01-05-01-01-01-06.wav"))
    frames = encoder.encode([str(path)])[0]
    with torch.inference_mode():
        offline = left(torch.from_numpy(frames)[None], torch.tensor([len(frames)]))[0].numpy()
    samples, rng = soundfile.read(path, dtype="float32")[0], np.random.default_rng(0)
    for _ in range(5):
        cuts = np.sort(rng.integers(0, len(samples), 9))
        with torch.inference_mode():
            z = left.step(torch.from_numpy(streamed(encoder, np.split(samples, cuts)))[None])[0][0, -1].numpy()
        np.testing.assert_allclose(z, offline, atol=1e-5)
    lite = Lite(run.folder / "left")
    np.testing.assert_allclose(
        np.concatenate([lite.push(samples), lite.push(samples[:0], last=True)])[-1], offline, atol=1e-5
    )


def test_the_document_recipe_trains(tmp_path: Path) -> None:
    root = actors(tmp_path / "data", range(1, 5))
    made = sensorium.run("ravdess", [
        f"data.root={root}", "data.test_actors=[4]", "data.validation_actors=[3]", "left.head.hidden=24",
        "train.epochs=20", "data.copies=0",
    ], out=tmp_path / "run", quiet=True)  # fmt: skip
    # what the document promises, by its names
    assert {p.name for p in (made.folder / "plots").iterdir()} >= {"training_history.png", "confusion_matrix.png"}
    assert {p.stem for p in (made.folder / "checkpoints").rglob("*") if p.is_file()} == {"epoch-0010", "epoch-0020"}
    kept = made.recipe.values
    assert kept["objective"]["weights"] == "balanced" and kept["left"]["head"]["dropout"] == 0.3
    assert {key: kept["train"][key] for key in ("schedule", "patience", "checkpoint_every", "lr", "weight_decay")} == {
        "schedule": "plateau", "patience": 15, "checkpoint_every": 10, "lr": 1e-3, "weight_decay": 0.0}  # fmt: skip
    assert (made.folder / "history.jsonl").read_text().count("\n") >= 3
    left, fingerprint = heads.restore(made.folder / "left")
    assert fingerprint["name"] == "mfcc" and left.dim_in == 13 and left.dim == 8
    mean = left.state_dict()["preprocess.mean"]
    assert mean.shape == (13,) and mean.abs().sum() > 1  # statistics of the training frames, not neutral ones


def test_variants_are_what_they_say(tmp_path: Path) -> None:
    root = actors(tmp_path, range(1, 2))
    path = str(next(root.rglob("*-05-*.wav")))
    plain = Variant(path).samples(RATE)
    hum = lambda x: np.argmax(np.abs(np.fft.rfft(x[2000:6000] * np.hanning(4000)))) * RATE / 4000  # noqa: E731
    faster = Variant(path, speed=1.25).samples(RATE)
    assert len(faster) == pytest.approx(len(plain) / 1.25, abs=2)
    assert hum(faster) == pytest.approx(1.25 * hum(plain), rel=0.03)
    higher = Variant(path, semitones=4.0).samples(RATE)
    assert len(higher) == pytest.approx(len(plain), abs=20)
    assert hum(higher) == pytest.approx(2 ** (4 / 12) * hum(plain), rel=0.03)
    np.testing.assert_allclose(Variant(path, gain=-6.0).samples(RATE), plain * 10**-0.3, rtol=1e-5)
    noisy = Variant(path, noise=20.0, seed=1).samples(RATE) - plain
    assert 10 * np.log10(np.mean(plain**2) / np.mean(noisy**2)) == pytest.approx(20, abs=0.3)
    assert Variant(path, speed=1.1, noise=20.0).description() == "speed 1.10, noise 20 dB"
    assert len(augment.stretch(plain[:50], 1.5, RATE)) == 75


def test_copies_depend_on_nothing_but_the_seed(tmp_path: Path) -> None:
    root = actors(tmp_path, range(1, 5))

    def load(**more: object) -> dict[str, Variant]:
        data = parts.make("datasets", {"name": "ravdess", "root": str(root), "copies": 2, **more}).load()
        made = {i: v for i, v in zip(data.left.ids.tolist(), data.left.values, strict=True) if isinstance(v, Variant)}
        train = data.pairs.left[data.pairs.split == "train"]
        assert set(made) <= set(data.left.ids[train].tolist())
        return made

    one, other = load(test_actors=[1]), load(test_actors=[2])
    shared = set(one) & set(other)
    assert shared and all(one[i] == other[i] for i in shared)
    assert any(load(test_actors=[1], split_seed=1)[i] != one[i] for i in one)


def test_bad_recordings_are_counted_and_may_be_skipped(tmp_path: Path) -> None:
    root = actors(tmp_path / "data", range(1, 5))
    cut, lying, nan = (root / f"Actor_02/03-01-0{e}-01-01-01-02.wav" for e in (3, 4, 5))
    cut.write_bytes(cut.read_bytes()[:600])
    lying.write_text("this is no sound")
    soundfile.write(nan, np.full(800, np.nan, np.float32), RATE, subtype="FLOAT")
    keys = [f"data.root={root}", "data.test_actors=[4]", "data.validation_actors=[3]", "data.copies=0",
            "train.batch=16", "train.epochs=1", "evaluate.plots=false"]  # fmt: skip
    with pytest.raises(
        BadData, match=r"3 of 64 recordings cannot be read, such as: .*03-01-03-01-01-01-02.wav is trunc"
    ):
        sensorium.run("ravdess-best", keys, out=tmp_path / "run", quiet=True)
    made = sensorium.run("ravdess-best", [*keys, "data.bad=skip"], out=tmp_path / "run", quiet=True)
    told = made.metrics["dataset"]
    assert told["recordings"] == 61 and told["unreadable"] == 3
    assert [next(p.name for p in (cut, lying, nan) if p.name in text) for text in told["unreadable_such_as"]] == [
        cut.name, lying.name, nan.name]  # fmt: skip
    for query, said in ((cut, "truncated"), (lying, "cannot be read as sound"), (nan, "800 of 800 samples are NaN")):
        with pytest.raises(BadData, match=said):
            made.search(audio=str(query))
    with pytest.raises(BadRecipe, match="expected stop or skip"):
        sensorium.run("ravdess-best", [*keys, "data.bad=ignore"], out=tmp_path / "run", quiet=True)


def test_real_actors(shared_data: Path, tmp_path: Path) -> None:
    """Four actors of the real corpus: learns from two, beats chance on one it never heard."""
    with tarfile.open(shared_data / "ravdess-actors01-12-flac16k.tar") as archive:
        wanted = [m for m in archive if any(f"Actor_{a:02d}/" in m.name for a in (1, 2, 3, 4))]
        archive.extractall(tmp_path, wanted, filter="data")
    root = next(tmp_path.rglob("Actor_01")).parent
    plan = recipe.load("ravdess-best", [f"data.root={root}", "data.test_actors=[1, 2]", "data.validation_actors=[3]",
                                        "data.copies=0", "train.batch=30", "train.epochs=30"])  # fmt: skip
    data = plan.part("data").load()
    left, right = pipeline.embed(plan, data, tmp_path / "stores", progress=False)
    fitted = pipeline.fit_heads(plan, left, right, data.pairs, None, progress=False)
    test = data.pairs.where("test")
    told = recognition(test.right, heads.project(fitted.left_head, left)[test.left].argmax(1))
    assert told["UA"] > 0.2  # chance is 0.125
