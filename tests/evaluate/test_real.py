"""The audit, the doctor and the corrections on real vectors."""

import numpy as np
import pytest

from sensorium.evaluate import diagnostics, hubness, leaks, modality_gap
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import emotions
from sensorium.pairs import Pairs
from sensorium.types import Embeddings


@pytest.fixture(scope="module")
def ravdess(shared_data):
    with np.load(shared_data / "ravdess-yamnet-style-a01-12.npz", allow_pickle=False) as file:
        return {name: file[name] for name in ("ids", "audio_mean", "emotion", "actor")}


def emotion_pairs(data, split):
    classes, right = np.unique(data["emotion"], return_inverse=True)
    return Pairs.of(np.arange(len(right)), right, group=data["actor"], split=split), np.eye(len(classes))


def test_actors_apart_are_clean_and_dealt_at_random_leak(ravdess):
    apart = emotions.folds(ravdess["actor"])[0]
    pairs, classes = emotion_pairs(ravdess, apart)
    assert not leaks.audit(pairs, ravdess["audio_mean"], classes).leaky
    dealt = apart[np.random.default_rng(0).permutation(len(apart))]
    pairs, classes = emotion_pairs(ravdess, dealt)
    report = leaks.audit(pairs, ravdess["audio_mean"], classes)
    assert report.leaky
    assert report.count("shared_group") == len(np.unique(ravdess["actor"][dealt == "test"]))


def test_captions_that_repeat_are_counted_without_a_stamp(shared_data):
    with np.load(shared_data / "flickr8k-pairs-4000.npz", allow_pickle=False) as file:
        captions, split = file["captions"].ravel(), np.repeat(file["split"], 5)
    pairs = Pairs.of(np.repeat(np.arange(4000), 5), np.arange(20_000), split=split)
    report = leaks.audit(pairs, right_content=captions, right_ids=captions)
    seen = set(captions[(split != "test")].tolist())
    assert report.count("twin", "right") == sum(c in seen for c in captions[split == "test"].tolist())
    assert not report.leaky


def test_doctor_on_real_vectors(ravdess):
    found = {f["check"]: f for f in diagnostics.examine(Embeddings(ravdess["ids"], ravdess["audio_mean"], {}))}
    assert found["NaN or infinity"]["state"] == "good"
    assert "720 items" in found["shape"]["found"]


def test_gap_and_hubness_on_real_vectors(shared_data):
    """Two views of the same digits, each standardised and cut to 40 principal axes."""
    with np.load(shared_data / "uci-mfeat-two-views-2000.npz", allow_pickle=False) as file:
        views = [np.concatenate([file[f"{v}_tr"], file[f"{v}_te"]]).astype(np.float32) for v in ("I", "T")]
    z = []
    for x in views:
        x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)
        z.append(np.linalg.svd(x, full_matrices=False)[0][:, :40])
    split = np.array(["train", "validation", "test"])[np.arange(2000) % 3]
    pairs = Pairs.of(np.arange(2000), np.arange(2000), split=split)
    told = modality_gap.gap(z[0] + 0.1, z[1] - 0.1, pairs)
    assert told["distance"] > 1 > modality_gap.gap(*z, pairs)["distance"]
    report = hubness.report(Projected.of(z[0], z[1], pairs), "left->right")
    assert np.isfinite(report["skewness"])
    assert 0 <= report["never_found"] < 1
