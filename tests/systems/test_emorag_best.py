"""The recipe emorag-best in one command: on a file of vectors with labels, and on a folder of clips."""

import shutil

import numpy as np
import pytest
from made_corpus import actors

import sensorium
from sensorium import heads
from sensorium.errors import BadRecipe
from sensorium.types import Embeddings

EMOTIONS = np.array(["angry", "calm", "happy", "sad"])
QUICK = ["evaluate.baselines=[]", "evaluate.resamples=20", "evaluate.plots=false"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """240 clips of 10 actors, each actor with an offset of his own, and three captions of each clip's emotion."""
    rng = np.random.default_rng(0)
    n, path = 240, tmp_path_factory.mktemp("vectors") / "voices.npz"
    emotion, actor = np.arange(n) % 4, np.arange(n) // 24
    audio = rng.normal(size=(4, 16))[emotion] + 4 * rng.normal(size=(10, 16))[actor] + rng.normal(size=(n, 16))
    text = rng.normal(size=(4, 8))[emotion][:, None] + 0.2 * rng.normal(size=(n, 3, 8))
    np.savez(path, text=text.astype(np.float16), audio=audio.astype(np.float16), emotion=EMOTIONS[emotion], actor=actor,
             split=np.array(["train"] * 5 + ["dev"] * 2 + ["test"] * 3)[actor])  # fmt: skip
    return path


def settings(file, *more):
    return [f"data.file={file}", "data.left=text", "data.right=audio", "data.relevant=emotion", "data.group=actor",
            "data.split=split", *QUICK, *more]  # fmt: skip


def value(run, measure, direction="left->right"):
    found = {(row["measure"], row["direction"]): row["value"] for row in run.metrics["results"]}
    return found[measure, direction]


@pytest.fixture(scope="module")
def run(file, tmp_path_factory):
    return sensorium.run("emorag-best", settings(file), out=tmp_path_factory.mktemp("runs") / "best", quiet=True)


def test_the_first_clips_of_unseen_actors_carry_the_emotion(run, file, tmp_path):
    assert run.metrics["pairs"]["test"] == {"pairs": 216, "related": 4 * 54 * 18, "groups": 3, "left": 216, "right": 72}
    assert value(run, "precision@10") > 0.75  # chance: 0.25
    apart = sensorium.run("emorag-best", settings(file, "right.center=emotion"), out=tmp_path / "no", quiet=True)
    assert value(apart, "precision@10") < 0.5  # nothing is left of the emotion: the mean of each one is the same
    assert not run.metrics["leaks"]["leaky"]


def test_precision_is_counted_by_hand(run, file):
    """Of the test captions, over the test actors' clips, by plain inner products of what the heads give."""
    with np.load(file) as columns:
        emotion, test = columns["emotion"], columns["split"] == "test"
    zl, zr = run.index("left").vectors(), run.index("right").vectors()
    np.testing.assert_allclose(zr.sum(1), 1, atol=1e-5)  # probabilities, not of unit length
    asked, carried = np.repeat(emotion[test], 3), emotion[test]
    scores = zl[np.repeat(test, 3)].astype(np.float64) @ zr[test].T.astype(np.float64)
    first = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    right = carried[first] == asked[:, None]
    assert value(run, "precision@1") == pytest.approx(right[:, 0].mean(), abs=1e-6)
    assert value(run, "precision@10") == pytest.approx(right.mean(), abs=1e-6)


def test_speakers_means_are_kept_for_clips_that_come_later(run, file):
    with np.load(file) as columns:
        raw, actor = columns["audio"].astype(np.float32), columns["actor"]
    table = run.index("right").table
    kept = run.centers["right"]
    assert run.centers["left"] is None and kept.by == "speaker" and len(kept.names) == 10
    moved = kept.moved(raw, actor)
    vectors = Embeddings(table.ids, moved, {})
    np.testing.assert_allclose(heads.project(run.head("right"), vectors), run.index("right").vectors(), atol=1e-6)


def test_data_without_speakers_are_not_centred_and_said(file, tmp_path):
    with np.load(file) as columns:
        np.savez(tmp_path / "bare.npz", **{name: columns[name] for name in columns if name != "actor"})
    given = [one for one in settings(tmp_path / "bare.npz") if not one.startswith("data.group")]
    found = sensorium.run("emorag-best", given, out=tmp_path / "run", quiet=True)
    said = "the clip items have no column 'speaker', so they are not centred by it; type: right.center=COLUMN"
    assert said in found.metrics["notes"] and found.centers["right"] is None
    assert "center" not in found.recipe.values["right"]
    with pytest.raises(BadRecipe, match="right.center=voice: the clip items have no such column"):
        sensorium.run("emorag-best", [*given, "right.center=voice"], out=tmp_path / "no", quiet=True)


def test_a_folder_of_clips_and_the_written_sentences(tmp_path):
    root = actors(tmp_path / "voices", range(1, 7))
    clips = [f"data.root={root}", "data.test=2", "data.validation=2",
             "left.encoder=hashing", "right.encoder.levels=0", "right.encoder.relations=false"]  # fmt: skip
    found = sensorium.run("emorag-best", [*clips, *QUICK], out=tmp_path / "run", quiet=True)
    assert found.metrics["fit"]["classes"] == 8
    hits = found.search(text="I can't believe you did this!", k=3)
    assert len(hits.ids) == 3 and all(0 <= score <= 1 for score in hits.scores)


def test_a_clip_added_live_is_moved_by_its_speaker(run, file, tmp_path):
    shutil.copytree(run.folder, tmp_path / "copy")
    live = sensorium.open(tmp_path / "copy")
    with np.load(file) as columns:
        raw, actor = columns["audio"][[30, 31]].astype(np.float32), int(columns["actor"][30])
    before = live.index("right").vectors()[[30, 31]]
    live.add(raw, ids=["known", "unknown"], metadata={"speaker": [actor, None]}, side="right")
    after = live.index("right").vectors()[-2:]
    np.testing.assert_allclose(after[0], before[0], atol=1e-6)
    np.testing.assert_allclose(after[1], heads.apply(live.head("right"), raw[1:])[0], atol=1e-6)
