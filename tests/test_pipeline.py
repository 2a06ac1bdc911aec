"""The main path on vectors of one's own: the folder, the numbers, late stages, interruptions, refusals."""

import json
import shutil

import numpy as np
import pytest

import sensorium
from sensorium import io
from sensorium.errors import BadData, BadRecipe, Busy, Corrupt, Mismatch

FAST = ["objective=infonce", "train.epochs=4", "train.precision=fp32", "evaluate.resamples=50"]

ONE_TABLE = '''"""Garments of outfits: both sides are one table, with unrelated pairs too."""
import numpy as np
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

class Looks:
    """20 outfits of 5 garments; garments of one outfit are related (1), some are known not to be (0)."""
    def load(self):
        random = np.random.default_rng(0)
        outfit = np.repeat(np.arange(20), 5)
        style = random.standard_normal((20, 6))[outfit]
        x = np.hstack([style + 0.2 * random.standard_normal((100, 6)), 4 * random.standard_normal((100, 10))])
        ids = np.array([f"garment {i}" for i in range(100)])
        a, b = np.array([(i, j) for i in range(100) for j in range(i) if outfit[i] == outfit[j]]).T
        c, d = np.array([(5 * o, 5 * (o ^ 1)) for o in range(0, 20)]).T  # known not to go together
        pairs = Pairs.of(np.r_[a, c], np.r_[b, d], label=np.r_[np.ones(len(a), int), np.zeros(len(c), int)],
                         group=np.r_[outfit[a], outfit[c]] // 2, same_table=True)
        return Data(Items(ids, x.astype(np.float32), "vector", {"outfit": outfit}), None, pairs, {})
'''


@pytest.fixture(scope="module")
def made(tiny_vectors, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "mine"
    return sensorium.run(
        "arrays",
        [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split", *FAST],
        out=out,
        quiet=True,
    )


def test_the_folder_holds_everything_and_nothing_is_left_beside_it(made):
    names = {p.name for p in made.folder.iterdir()}
    assert {
        "recipe.toml",
        "metrics.json",
        "history.jsonl",
        "README.md",
        "left.safetensors",
        "left.json",
        "right.safetensors",
        "right.json",
        "index",
        "plots",
        "per_query.npz",
    } <= names
    assert {p.name for p in (made.folder / "plots").iterdir()} >= {
        "training_history.png",
        "ranks.png",
        "similarities.png",
    }
    assert {p.name for p in made.folder.parent.iterdir()} <= {"mine", "embeddings"}


def test_metrics_carry_what_a_number_needs(made):
    metrics = json.loads((made.folder / "metrics.json").read_text())
    assert {"data", "split", "recipe", "seconds", "results", "validation", "baselines", "verdict", "leaks"} <= set(
        metrics
    )
    for result in metrics["results"]:
        assert set(result) >= {
            "direction",
            "measure",
            "value",
            "low",
            "high",
            "n_queries",
            "n_candidates",
            "split",
            "seed",
        }
        assert result["low"] <= result["value"] <= result["high"] and result["split"] == "test"
    by = {(r["direction"], r["measure"]): r for r in metrics["results"]}
    assert by["left->right", "hit@10"]["n_queries"] == 60 and by["left->right", "hit@10"]["n_candidates"] == 300
    assert by["right->left", "hit@10"]["n_queries"] == 300 and by["right->left", "hit@10"]["n_candidates"] == 60
    assert set(metrics["baselines"]) == {"ridge", "procrustes", "cca"}


def test_numbers_equal_a_brute_force_reading_of_the_saved_heads(made, tiny_vectors):
    from sensorium import heads

    arrays = np.load(tiny_vectors)
    zl = heads.apply(made.head("left"), arrays["image"])
    zr = heads.apply(made.head("right"), arrays["text"].reshape(-1, 16))
    test = np.flatnonzero(arrays["split"] == "test")
    candidates = (test[:, None] * 5 + np.arange(5)).ravel()
    scores = zl[test].astype(np.float64) @ zr[candidates].astype(np.float64).T
    own = np.repeat(np.arange(60), 5)[None] == np.arange(60)[:, None]
    best = np.where(own, scores, -np.inf).max(1)
    hit10 = ((scores > best[:, None]) & ~own).sum(1) < 10
    value = {(r["direction"], r["measure"]): r["value"] for r in made.metrics["results"]}
    assert value["left->right", "hit@10"] == pytest.approx(hit10.mean(), abs=1e-9)


def test_history_has_the_hyper_parameters_first_and_an_event_an_epoch(made):
    first, *events = [json.loads(line) for line in (made.folder / "history.jsonl").read_text().splitlines()]
    assert "lr" in json.dumps(first)
    assert len([e for e in events if "loss" in e]) == 4
    assert all({"step", "loss", "pairs_per_second"} <= set(e) for e in events if "loss" in e)


def test_the_same_seed_gives_the_same_run(made, tiny_vectors, tmp_path):
    overrides = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split", *FAST]
    again = sensorium.run("arrays", overrides, out=tmp_path / "again", quiet=True)
    assert (again.metrics["data"], again.metrics["split"]) == (made.metrics["data"], made.metrics["split"])
    assert [r["value"] for r in again.metrics["results"]] == [r["value"] for r in made.metrics["results"]]
    other = sensorium.run("arrays", overrides, out=tmp_path / "other", quiet=True, seed=1)
    assert other.metrics["split"] == made.metrics["split"], "the split does not follow the seed"
    assert [r["value"] for r in other.metrics["results"]] != [r["value"] for r in made.metrics["results"]]


def test_search_by_id_and_vector_agree(made, tiny_vectors):
    vector = np.load(tiny_vectors)["image"][7]
    by_vector = made.search(vector=vector, k=5)
    by_id = made.search(id="im7", side="left", k=5)
    assert [h["id"] for h in by_vector] == [h["id"] for h in by_id]
    assert [h["rank"] for h in by_id] == [1, 2, 3, 4, 5]
    assert by_id == sorted(by_id, key=lambda h: -h["score"])
    assert "im7" not in [h["id"] for h in made.search(id="im7", side="left", to="left", k=300)]


def test_filters_narrow_and_may_leave_nothing(made):
    hits = made.search(id="im7", side="left", to="left", k=5, where={"names": ["picture 3", "picture 4"]})
    assert {h["names"] for h in hits} == {"picture 3", "picture 4"}
    assert made.search(id="im7", side="left", to="left", k=5, where={"names": "nobody"}) == []


@pytest.mark.parametrize(
    ("question", "error", "message"),
    [
        ({}, BadRecipe, "exactly one of text"),
        ({"text": "a", "id": "b"}, BadRecipe, "exactly one of text"),
        ({"text": "a"}, BadRecipe, "no side of .* takes text"),
        ({"text": " "}, BadRecipe, "text is empty; give the words"),
        ({"id": "im9999"}, BadData, "no item 'im9999'.*did you mean 'im"),
        ({"id": "im7", "k": 0}, BadRecipe, "k=0; expected 1 or more"),
        ({"id": "im7", "side": "up"}, BadRecipe, "side 'up'; expected .*left or right"),
        ({"vector": np.ones(3)}, BadData, "vector has 3 values; .* takes 24, .* 16"),
        ({"vector": np.full(24, np.nan)}, BadData, "query vector"),
        ({"vector": np.zeros(24)}, BadData, "query vector"),
        ({"vector": np.ones((2, 24))}, BadData, "2 rows; a search takes one"),
    ],
)
def test_questions_that_cannot_be_meant(made, question, error, message):
    with pytest.raises(error, match=message):
        made.search(**question)


def test_judging_again_changes_only_the_numbers(made, tmp_path):
    from sensorium import pipeline

    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    again = pipeline.evaluate_again(copy, ["evaluate.resamples=50", "evaluate.measures=['hit@2']"], quiet=True)
    assert {r["measure"] for r in again.metrics["results"]} == {"hit@2"}
    assert io.checksum(copy / "left.safetensors") == io.checksum(made.folder / "left.safetensors")
    assert again.metrics["index"] == made.metrics["index"]
    with pytest.raises(BadRecipe, match="would change the fit.*Type: sensorium run"):
        pipeline.evaluate_again(copy, ["train.epochs=5"], quiet=True)


def test_another_index_over_the_same_heads(made, tmp_path):
    from sensorium import pipeline

    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    expected = [h["id"] for h in made.search(id="im7", side="left", k=3)]
    again = pipeline.index_again(copy, ["index=faiss", "index.factory=HNSW16"], quiet=True)
    assert [h["id"] for h in again.search(id="im7", side="left", k=3)] == expected
    assert again.metrics["results"] == made.metrics["results"]
    points = again.metrics["index"]["right"]["speed"]
    assert points[0]["index"] == "exact" and points[-1]["recall"] > 0.99
    assert (copy / "plots" / "speed.png").is_file() and "plots/speed.png" in (copy / "README.md").read_text()


def test_a_stale_index_is_refused_as_it_is_and_rebuilt_at_opening(made, tmp_path):
    from sensorium.search import run as search

    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    (copy / "run.json").unlink()  # as in a run made before there were checksums, whose head was fitted again
    stamp = json.loads((copy / "index" / "right.json").read_text())
    (copy / "index" / "right.json").write_text(json.dumps({**stamp, "head": "0" * 32}))
    with pytest.raises(Mismatch, match=r"right index was made with head 00000000….*type: sensorium index"):
        search.open(copy).search(id="im7", side="left")
    found = sensorium.open(copy).search(id="im7", side="left", k=3)
    assert found == made.search(id="im7", side="left", k=3)
    assert json.loads((copy / "index" / "right.json").read_text())["head"] == stamp["head"]


def test_one_table_under_one_head(tmp_path):
    (tmp_path / "looks.py").write_text(ONE_TABLE)
    run = sensorium.run(
        {
            "name": "looks",
            "data": {"name": f"{tmp_path}/looks.py:Looks", "test": 0.2, "validation": 0.2},
            "left": {"head": {"name": "linear", "dim": 8}},
            "objective": "infonce",
            "train": {"epochs": 30, "lr": 0.02, "precision": "fp32"},
            "evaluate": {"resamples": 100},
        },
        out=tmp_path / "runs" / "looks",
        quiet=True,
    )
    value = {(r["direction"], r["measure"]): r["value"] for r in run.metrics["results"]}
    assert value["left->right", "hit@5"] > 0.6, "chance is about 0.5 of 4 relevants among 19"
    assert value["left->right", "hit@5"] == value["right->left", "hit@5"], "one table has one direction"
    assert run.sides == ("left",) and not (run.folder / "right.safetensors").exists()
    hits = run.search(id="garment 3", k=100)
    assert "garment 3" not in [h["id"] for h in hits] and len(hits) == 99
    assert set(run.metrics["baselines"]["ridge"]) == {"not_applicable"} and "results" in run.metrics["baselines"]["cca"]


def test_a_damaged_head_is_refused(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    content = bytearray((copy / "left.safetensors").read_bytes())
    content[-3] ^= 1
    (copy / "left.safetensors").write_bytes(content)
    with pytest.raises(Corrupt, match=r"left.safetensors"):
        sensorium.open(copy).head("left")


def test_what_is_not_a_run(tmp_path):
    with pytest.raises(BadData, match="is not a run .no metrics.json.; make one with: sensorium run"):
        sensorium.open(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path, tiny_vectors):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(BadRecipe, match="not empty and not a run; choose another folder with --out"):
        sensorium.run("arrays", [f"data.file={tiny_vectors}", *FAST], out=tmp_path, quiet=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_failed_run_leaves_the_earlier_one_as_it_was(made, tmp_path, tiny_vectors):
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    before = {p: io.checksum(p) for p in copy.rglob("*") if p.is_file()}
    with pytest.raises(BadRecipe):
        sensorium.run(
            "arrays", [f"data.file={tiny_vectors}", "data.left=image", "data.right=nothing"], out=copy, quiet=True
        )
    assert {p: io.checksum(p) for p in copy.rglob("*") if p.is_file()} == before
    assert {p.name for p in tmp_path.iterdir()} <= {"copy", "embeddings"}


def test_two_writers_of_one_run(tmp_path, tiny_vectors):
    with io.lock(tmp_path / ".mine.building"), pytest.raises(Busy, match="being written by another process"):
        sensorium.run("arrays", [f"data.file={tiny_vectors}", *FAST], out=tmp_path / "mine", quiet=True)


def test_an_interrupted_fit_goes_on_where_it_was(tmp_path, tiny_vectors):
    overrides = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split", *FAST]
    whole = sensorium.run("arrays", overrides, out=tmp_path / "whole", quiet=True)

    def stop_at_two(event):
        if event.get("epoch") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sensorium.run("arrays", overrides, out=tmp_path / "broken", quiet=True, on_epoch=stop_at_two)
    with pytest.raises(BadData, match="it was interrupted; type: sensorium run"):
        sensorium.open(tmp_path / "broken")
    resumed = sensorium.run("arrays", overrides, out=tmp_path / "broken", quiet=True)
    assert io.checksum(resumed.folder / "left.safetensors") == io.checksum(whole.folder / "left.safetensors")
    events = [json.loads(line) for line in (resumed.folder / "history.jsonl").read_text().splitlines()]
    assert [e["epoch"] for e in events if "loss" in e] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (
            ["data.split=", "data.test=0.0", "data.validation=0.1"],
            BadData,
            r"test split has no related pair.*data.test=",
        ),
        (["left.encoder=hashing"], BadRecipe, "left.encoder is set, but the image items are vectors already"),
    ],
)
def test_recipes_that_do_not_fit_the_data(tmp_path, tiny_vectors, overrides, error, message):
    with pytest.raises(error, match=message):
        sensorium.run(
            "arrays",
            [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", *FAST, *overrides],
            out=tmp_path / "mine",
            quiet=True,
        )
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["left.head=mlp", "left.head.dropout=1.5"], "mlp: dropout is 1.5"),
        (["right.head=mlp", "right.head.hidden=-3"], "hidden -3"),
        (["objective=infonce", "objective.temperature=-1"], "temperature=-1; expected a number above 0"),
        (['evaluate.baselines=["infonce"]'], "'infonce' is trained; expected closed forms"),
        (['evaluate.baselines=["rigde"]'], "did you mean 'ridge'"),
    ],
)
def test_what_a_part_cannot_take_is_said_before_anything_is_loaded(tmp_path, monkeypatch, overrides, message):
    monkeypatch.setattr("sensorium.datasets.arrays.Arrays.load", lambda self: pytest.fail("the data were loaded"))
    with pytest.raises(BadRecipe, match=message):
        sensorium.run("arrays", ["data.file=none.npz", *overrides], out=tmp_path / "run", quiet=True)
    assert not any(tmp_path.iterdir())


def test_the_second_encoder_is_refused_before_the_first_takes_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr("sensorium.store.embed", lambda *_, **__: pytest.fail("something was embedded"))
    with pytest.raises(BadRecipe, match="right.encoder 'hog' takes image, but the right items are text"):
        sensorium.run("glyphs", ["right.encoder=hog"], out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize(("row", "value", "message"), [(3, np.nan, "im3"), (5, np.inf, "im5"), (9, 0.0, "im9")])
def test_vectors_that_cannot_be_meant_are_named(tmp_path, tiny_vectors, row, value, message):
    arrays = dict(np.load(tiny_vectors))
    arrays["image"][row] = value
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(BadData, match=message):
        sensorium.run(
            "arrays",
            [f"data.file={tmp_path / 'bad.npz'}", "data.left=image", "data.right=text"],
            out=tmp_path / "mine",
            quiet=True,
        )
