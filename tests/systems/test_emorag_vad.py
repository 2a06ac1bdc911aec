"""The recipe emorag-vad in one command: ratings of both sides, nearest by Euclidean distance, found again from disk."""

import numpy as np
import pytest
import torch
from made_corpus import actors

import sensorium
from sensorium import heads
from sensorium.numerics import affect, gaussian_features


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = actors(tmp_path_factory.mktemp("voices"), range(1, 7))
    overrides = [f"data.root={root}", "data.test=2", "data.validation=2", "left.encoder=hashing",
                 "right.encoder.levels=0", "right.encoder.relations=false", "evaluate.baselines=[]",
                 "evaluate.resamples=50", "evaluate.plots=false"]  # fmt: skip
    return sensorium.run("emorag-vad", overrides, out=tmp_path_factory.mktemp("runs") / "vad", quiet=True)


def ratings(run, side, vectors):
    return run.head(side).ratings(torch.from_numpy(np.atleast_2d(vectors).astype(np.float32))).detach().numpy()


def test_hits_are_the_nearest_in_valence_arousal_and_dominance(run):
    text = "I can't believe you did this!"
    asked = ratings(run, "left", run.encoder("left").encode([text]))
    clips = gaussian_features.points_of(run.index("right").vectors())
    distance = np.linalg.norm(clips.astype(np.float64) - asked, axis=1)
    hits = run.search(text=text, k=len(clips))
    by_id = dict(zip(run.index("right").table.ids.tolist(), distance.tolist(), strict=True))
    found = np.array([by_id[hit["id"]] for hit in hits])
    assert np.abs(found - np.sort(distance)).max() < 2e-3
    np.testing.assert_allclose([hit["score"] for hit in hits], np.exp(-(found**2) / 6), atol=1e-5)
    again = sensorium.open(run.folder).search(text=text, k=len(clips))
    assert again.ids == hits.ids and again.scores == hits.scores


def test_a_clip_finds_clips_by_distance_too(run):
    table, clips = run.index("right").table, gaussian_features.points_of(run.index("right").vectors())
    hits = run.search(id=str(table.ids[3]), side="right", to="right", k=5)
    distance = np.linalg.norm(clips - clips[3], axis=1)
    assert table.ids[3] not in hits.ids
    assert max(distance[table.rows[one]] for one in hits.ids) < np.sort(distance)[5] + 2e-3


def test_clips_of_unseen_speakers_are_placed_by_their_emotion(run):
    assert run.recipe.part_name("left.head") == run.recipe.part_name("right.head") == "vad"
    assert heads.restore(run.folder / "right")[0].dim_in == run.encoder("right").dim
    table, clips = run.index("right").table, gaussian_features.points_of(run.index("right").vectors())
    truth = affect.vads(table.columns["emotion"].tolist())
    assert np.corrcoef(clips[:, 1], truth[:, 1])[0, 1] > 0.5
    notes = run.metrics["fit"]
    assert notes["left"]["chosen_by"] == notes["right"]["chosen_by"] == "validation"
    assert any(row["measure"] == "nDCG@10" for row in run.metrics["results"])
