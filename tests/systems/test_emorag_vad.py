"""The recipe emorag-vad in one command: ratings of both sides, nearest by Euclidean distance, found again from disk."""

import numpy as np
import pytest
import torch
from made_corpus import actors

import sensorium
from sensorium import heads
from sensorium.errors import BadData
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
    rows = {(row["direction"], row["measure"]): row for row in run.metrics["results"]}
    assert ("left->right", "nDCG@10") in rows
    clip = rows["right->left", "CCC_arousal"]
    assert clip["n_groups"] == 2 and clip["low"] <= clip["value"] <= clip["high"] and clip["n_queries"] == 32
    assert rows["left->right", "CCC_valence"]["n_queries"] > 50


def tables(folder, scale, n=120, holes=()):
    """Text vectors and a table of clips' ratings on a scale; the ratings lie in the vectors."""
    random = np.random.default_rng(5)
    truth = random.uniform(-0.9, 0.9, (n, 3))
    vectors = truth @ np.random.default_rng(6).standard_normal((3, 16)) + 0.05 * random.standard_normal((n, 16))
    names = np.array([f"clip_{i:03}.wav" for i in range(n)])
    np.savez(folder / "text.npz", text_emb=vectors.astype(np.float32), filename=names)
    low, high = {"1..7": (1, 7), "0..1": (0, 1), "-1..1": (-1, 1)}[scale]
    lines = ["FileName,EmoAct,EmoDom,EmoVal"]
    for i, (v, a, d) in enumerate(low + (truth + 1) / 2 * (high - low)):
        lines.append(f"{names[i]},{a:.6f},{d:.6f},{'nan' if i in holes else f'{v:.6f}'}")
    (folder / f"vad {scale}.csv").write_text("\n".join(lines) + "\n")
    return [f"data.text={folder / 'text.npz'}", f"data.audio={folder / f'vad {scale}.csv'}", "evaluate.baselines=[]",
            "evaluate.resamples=20", "evaluate.plots=false"]  # fmt: skip


def test_text_vectors_find_clips_of_a_table_of_ratings_on_any_scale(tmp_path):
    found = {}
    for scale in ("1..7", "0..1", "-1..1"):
        run = sensorium.run("emorag-vad", [*tables(tmp_path, scale), f"data.scale={scale}"],
                            out=tmp_path / "runs" / scale.replace("..", "_"), quiet=True)  # fmt: skip
        queries = np.load(tmp_path / "text.npz")["text_emb"][:20]
        found[scale] = [hits.ids for hits in run.search_many(list(queries), k=10, side="left")]
        rows = {row["measure"]: row["value"] for row in run.metrics["results"] if row["direction"] == "left->right"}
        assert rows["hit@10"] > 0.6 and min(rows[f"CCC_{name}"] for name in affect.DIMENSIONS) > 0.9
    assert found["1..7"] == found["0..1"] == found["-1..1"]


def test_holes_in_a_table_of_ratings_are_refused_or_left_out(tmp_path):
    given = tables(tmp_path, "1..7", holes=(3, 40))
    with pytest.raises(BadData, match=r"vad 1..7.csv: 2 of 120 rows have no number in .*, such as row 5, row 42"):
        sensorium.run("emorag-vad", given, out=tmp_path / "runs" / "a", quiet=True)
    run = sensorium.run("emorag-vad", [*given, "data.bad=skip"], out=tmp_path / "runs" / "b", quiet=True)
    assert len(run.index("right")) == 118 and run.metrics["dataset"]["audio_without_ratings"] == 2
    with pytest.raises(BadData, match=r"outside 0\.\.1 in valence, .*; state the scale of the source: scale=1\.\.7"):
        sensorium.run(
            "emorag-vad", [*given, "data.bad=skip", "data.scale=0..1"], out=tmp_path / "runs" / "c", quiet=True
        )


def test_fusion_is_measured_by_the_emotions_that_both_sides_share(run):
    from sensorium.search import fusion_weights

    both = sensorium.fuse(run.folder, run, weights="validation")
    assert len(both.chosen) == 21 and len(set(both.chosen.values())) == 1  # one run twice: any weights do
    row = {r["measure"]: r["value"] for r in run.metrics["results"] if r["direction"] == "left->right"}
    measured = fusion_weights.measured(both, "test")
    for name in ("precision@1", "precision@5", "precision@10", "nDCG@10"):
        assert measured[name] == pytest.approx(row[name], abs=0.02)
