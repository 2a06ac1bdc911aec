"""The cache of the Embed2Image document as data: clips folded, splits by folder, captions joined by their ids."""

import json

import made_captions as made
import numpy as np
import pytest

from sensorium import parts


def load(name="clotho", **keys):
    spec = {"name": name, **{k: str(v) if k in ("root", "cache") else v for k, v in keys.items()}}
    return parts.make("datasets", spec, "data").load()


def one_split_a_clip(pairs):
    return len(np.unique(np.stack([pairs.left.astype(str), pairs.split], 1), axis=0)) == len(np.unique(pairs.left))


def test_a_cache_of_one_split_folds_clips_and_draws_splits_by_clip(tmp_path):
    import torch

    folder = made.cache(tmp_path / "development", n=8, each=5)
    data = load(cache=folder)
    audio, text = (torch.load(folder / f"{name}_embeddings.pt").numpy() for name in ("audio", "text"))
    assert (data.left.kind, data.left.name, data.right.name) == ("vector", "sound", "caption")
    assert data.left.ids.tolist() == [f"development/x{at}.wav" for at in range(8)]
    assert data.right.ids.tolist() == [f"development/x{at}.wav#{k + 1}" for at in range(8) for k in range(5)]
    assert np.array_equal(data.left.values, audio[::5]) and np.array_equal(data.right.values, text)
    assert data.right.meta["number"].tolist() == [1, 2, 3, 4, 5] * 8
    assert data.left.source["audio_encoder"] == "AudioEncoder" and data.left.source["audio_sample_rate"] == 32000
    assert not (data.pairs.split != "").any()
    drawn = data.pairs.split_by_group({"test": 0.2, "validation": 0.2})
    assert one_split_a_clip(drawn) and set(drawn.split.tolist()) == {"train", "validation", "test"}
    assert load("captioned", cache=folder).left.ids[0] == "x0.wav"


def test_several_caches_are_the_splits_and_doubled_names_stay_apart(tmp_path):
    for at, split in enumerate(("development", "validation", "evaluation")):
        made.cache(tmp_path / split, n=4 + at, each=2)  # all three have an x0.wav
    data = load(cache=tmp_path)
    assert len(data.left) == 15 and len(data.right) == 30 and data.notes["split"] == "given"
    assert {id for id in data.left.ids.tolist() if id.endswith("/x0.wav")} == {
        f"{split}/x0.wav" for split in ("development", "validation", "evaluation")}  # fmt: skip
    of = {
        data.left.ids[a].partition("/")[0]: s for a, s in zip(data.pairs.left, data.pairs.split.tolist(), strict=True)
    }
    assert of == {"development": "train", "validation": "validation", "evaluation": "test"}
    both = load("captioned", cache=tmp_path)
    assert both.left.ids.tolist() == data.left.ids.tolist()


def test_development_and_validation_alone_leave_a_test_of_training_clips(tmp_path):
    made.cache(tmp_path / "development", n=10)
    made.cache(tmp_path / "validation", n=4, first=20)
    data = load(cache=tmp_path, test=0.2)
    split = dict(zip(data.left.ids[data.pairs.left].tolist(), data.pairs.split.tolist(), strict=True))
    assert [s for id, s in split.items() if id.startswith("validation")] == ["validation"] * 4
    assert list(split.values()).count("test") == 2 and one_split_a_clip(data.pairs)
    assert data.notes["test"] == "drawn from the training clips"


@pytest.mark.parametrize("ids", ["numbers", "none", "one a caption"])
def test_without_numbered_ids_rows_of_equal_audio_are_one_clip(tmp_path, ids):
    folder = made.cache(tmp_path / "development", n=6, each=3)
    about = json.loads((folder / "metadata.json").read_text())
    if ids == "none":
        (folder / "metadata.json").unlink()
    else:
        about["ids"] = list(range(18)) if ids == "numbers" else [f"caption-{at}" for at in range(18)]
        (folder / "metadata.json").write_text(json.dumps(about))
    data = load("captioned", cache=folder)
    assert len(data.left) == 6 and len(data.right) == 18 and np.bincount(data.pairs.left).tolist() == [3] * 6
    assert data.right.ids[4] == {"none": "sample_4", "numbers": "4", "one a caption": "caption-4"}[ids]
    assert ("has no metadata.json" in str(data.notes)) == (ids == "none")


def test_the_captions_of_the_lists_are_joined_to_the_cache_by_their_ids(tmp_path):
    root, first = made.clotho(tmp_path / "root"), 0
    for split, n in made.CLOTHO.items():
        names = [f"s{at}.wav" for at in range(first, first + n - 1)] + ["twice.wav"]
        made.cache(tmp_path / "cache" / split, n=n, ids=[f"{name}#{k + 1}" for name in names for k in range(5)])
        first += n
    data = load(root=root, cache=tmp_path / "cache")
    assert data.right.kind == "vector"
    assert data.right.meta["caption"].tolist() == [text for at in range(19) for text in made.captions(at)]
    assert "caption" not in load(cache=tmp_path / "cache").right.meta
