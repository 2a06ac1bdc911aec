"""The recipes captions and clotho end to end, on small made corpora, against the faults of the original project."""

import json

import made_captions as made
import numpy as np
import pytest
from typer.testing import CliRunner

import sensorium
from sensorium import recipe as recipes
from sensorium.cli import app
from sensorium.search import add_table

FAST = ["left.encoder=functionals", "left.encoder.levels=0", "left.encoder.relations=false", "right.encoder=hashing",
        "right.encoder.dim=64", "train.epochs=2", "evaluate.baselines=[]", "evaluate.plots=false",
        "evaluate.resamples=20"]  # fmt: skip


def measured(run, direction, measure):
    return next(r for r in run.metrics["results"] if (r["direction"], r["measure"]) == (direction, measure))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the recipe clotho on the three splits of a made corpus, and its folder."""
    folder = tmp_path_factory.mktemp("clotho")
    made.clotho(folder / "root")
    sensorium.run("clotho", [f"data.root={folder / 'root'}", *FAST], out=folder / "runs" / "c", quiet=True)
    return folder


def test_clotho_from_files_each_sound_is_embedded_once_and_only_unseen_sounds_are_measured(run):
    opened = sensorium.open(run / "runs" / "c")
    there, back = (measured(opened, d, "recall@1") for d in ("left->right", "right->left"))
    assert (there["n_queries"], there["n_candidates"], back["n_queries"], back["n_candidates"]) == (5, 25, 25, 5)
    assert there["protocol"] == "captions" and opened.metrics["dataset"]["split"] == "given"
    stores = sorted((run / "runs" / "embeddings").iterdir())
    sizes = {len(sensorium.store.open(store).ids) for store in stores}
    assert sizes == {19, 95}  # five captions a sound, and the sound once
    assert not opened.metrics["leaks"]["leaky"]


def test_a_caption_finds_sounds_and_a_sound_its_captions(run):
    opened = sensorium.open(run / "runs" / "c")
    hits = opened.search(text="a deep tone", k=3)
    assert len(hits) == 3 and all(hit["id"].partition("/")[0] in made.CLOTHO for hit in hits)
    sound = run / "root" / "clotho_audio_files" / "evaluation" / "twice.wav"
    captions = opened.search(audio=str(sound), k=5)
    assert {hit["metadata"]["clip"].partition("/")[0] for hit in captions} <= set(made.CLOTHO)
    assert all(hit["metadata"]["number"] in range(1, 6) and hit["metadata"]["caption"] for hit in captions)
    assert opened.search(text="tone", k=9, where={"duration": {">": 0.2}}) and not opened.search(
        text="tone", k=9, where={"duration": {">": 1.0}})  # fmt: skip


def test_sounds_are_added_by_a_table_with_their_durations(run, tmp_path):
    sensorium.open(run / "runs" / "c").save(tmp_path / "c")
    names = made.sounds(tmp_path / "new", 2, first=40, seconds=0.5)
    table = made.table(tmp_path / "new" / "t.csv", made.wide(names, first=40))
    opened = sensorium.open(tmp_path / "c")
    add_table.add(opened, table, "left", add_table.Options())
    hits = sensorium.open(tmp_path / "c").search(text="tone", k=9, where={"duration": {">": 0.4}})
    assert sorted(hit["id"] for hit in hits) == names


def test_one_cache_is_measured_on_clips_that_were_never_fitted(tmp_path):
    folder = made.cache(tmp_path / "development", n=40, each=5)
    words = [
        "run",
        "clotho",
        f"data.cache={folder}",
        "data.test=8",
        "data.validation=4",
        *FAST[5:],
        "--out",
        str(tmp_path / "r"),
        "--json",
    ]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    opened = sensorium.open(tmp_path / "r")
    assert measured(opened, "right->left", "recall@1")["n_queries"] == 40
    assert measured(opened, "left->right", "recall@1")["n_candidates"] == 40
    notes = json.dumps(opened.metrics["notes"])
    assert "the sound items are vectors already" in notes and "the caption items are vectors already" in notes


def test_every_caption_of_a_clip_counts_not_the_one_of_its_row_alone(tmp_path):
    """The clip's first caption is of no use, its second says what it is: recall along the diagonal would be 0."""
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((60, 8))
    text = np.stack([rng.standard_normal((60, 8)), audio + 0.01 * rng.standard_normal((60, 8))], 1)
    np.savez(tmp_path / "v.npz", audio=audio, text=text)
    keys = [
        f"data.file={tmp_path / 'v.npz'}",
        "data.test=20",
        "objective=ridge",
        "left.head=linear",
        "right.head=linear",
    ]
    run = sensorium.run("captions", [*keys, *FAST[5:]], out=tmp_path / "r", quiet=True)
    there = measured(run, "left->right", "hit@1")
    assert (there["n_queries"], there["n_candidates"]) == (20, 40) and there["value"] > 0.9
    assert measured(run, "left->right", "recall@1")["value"] == pytest.approx(there["value"] / 2)


@pytest.mark.parametrize("name", ["captions", "clotho"])
def test_the_recipes_are_the_document_s(name):
    plan = recipes.load(name, ["data.root=x"])
    for side in ("left", "right"):
        head = plan.values[side]["head"]
        assert (head["name"], head["hidden"], head["dim"], head["dropout"]) == ("mlp", 512, 256, 0.1)
    train = plan.train_options()
    assert (train.lr, train.weight_decay, train.batch, train.epochs, train.schedule, train.keep) == (
        5e-4, 1e-4, 256, 10, "cosine", "best")  # fmt: skip
    assert plan.values["objective"]["temperature"] == 0.07 and plan.values["objective"]["both"]
    assert plan.values["data"]["validation"] == 0.1 and plan.values["evaluate"]["protocol"] == "captions"
