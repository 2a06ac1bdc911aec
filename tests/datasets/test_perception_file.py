"""training_data.npz: vectors of faces beside those of their prompts, read, checked, grouped and run."""

import numpy as np
import pytest

from sensorium import pipeline
from sensorium.datasets import _perception_shots as shots
from sensorium.datasets.perception import Perception
from sensorium.errors import BadData, BadRecipe


def faces(n, seed=0, people=None):
    """Vectors (n, 1441): shapes of people, each row a person of its own unless ``people`` (n,) says."""
    rng = np.random.default_rng(seed)
    people = np.arange(n) if people is None else np.asarray(people)
    of = {p: rng.standard_normal((478, 3)) for p in np.unique(people).tolist()}
    points = np.array([of[p] for p in people.tolist()]) + 0.01 * rng.standard_normal((n, 478, 3))
    points = 0.5 + 0.1 * points + 0.1 * rng.random((n, 1, 3))
    return np.concatenate([points.reshape(n, -1), rng.dirichlet(np.ones(7), n)], axis=1).astype(np.float32)


def saved(path, x, prompt, width=16, **more):
    vectors = np.random.default_rng(1).standard_normal((int(np.max(prompt)) + 1, width)).astype(np.float32)
    np.savez(path, perception_embeddings=x, clip_embeddings=vectors[prompt], **more)
    return str(path)


def test_equal_rows_are_one_prompt_and_rows_stay_together(tmp_path):
    x, prompt = faces(60), np.random.default_rng(2).integers(0, 5, 60)
    data = Perception(saved(tmp_path / "t.npz", x, prompt)).load()
    assert (data.left.kind, data.right.kind, len(data.left), len(data.right)) == ("vector", "vector", 60, 5)
    assert np.array_equal(data.left.values, x)
    stored = np.load(tmp_path / "t.npz")["clip_embeddings"]
    assert np.array_equal(data.right.values[data.pairs.right], stored[data.pairs.left])
    assert data.right.ids.tolist() == [f"prompt-00{k}" for k in range(1, 6)]
    assert data.right.meta["faces"].sum() == 60
    assert data.pairs.right[0] == 0, "prompts are in the order of their first rows"


def test_vectors_of_one_prompt_may_differ_in_their_last_digits(tmp_path):
    x, prompt = faces(40), np.arange(40) % 4
    vectors = np.random.default_rng(1).standard_normal((4, 16)).astype(np.float32)[prompt]
    vectors *= 1 + 1e-6 * np.random.default_rng(3).standard_normal(vectors.shape).astype(np.float32)
    np.savez(tmp_path / "t.npz", perception_embeddings=x, clip_embeddings=vectors)
    assert len(Perception(str(tmp_path / "t.npz")).load().right) == 4


def test_texts_labels_persons_files_and_splits_are_read_where_they_are(tmp_path):
    x, prompt = faces(30), np.arange(30) % 3
    words = np.array(["a calm face", "a sad face", "a happy face"])
    more = {"prompts": words[prompt], "labels": np.array(["neutral", "sad", "happy"])[prompt],
            "persons": np.arange(30) // 10, "files": np.array([f"f{i}.png" for i in range(30)], object),
            "split": np.array(["train", "dev", "test"])[np.arange(30) // 10]}  # fmt: skip
    data = Perception(saved(tmp_path / "t.npz", x, prompt, **more)).load()
    assert data.right.ids.tolist() == words.tolist()
    assert data.right.meta["label"].tolist() == ["neutral", "sad", "happy"]
    assert data.left.ids[7] == "f7.png"
    assert data.left.meta["person"].tolist() == [str(i // 10) for i in range(30)]
    assert data.pairs.split.tolist() == ["train"] * 10 + ["validation"] * 10 + ["test"] * 10
    assert len(np.unique(data.pairs.group)) == 3
    assert data.notes["group"] == "person"


def test_frames_of_one_video_are_one_group(tmp_path):
    """Nobody says which rows are of one video: the landmarks do, also of two faces that alternate, and of copies."""
    rng, n = np.random.default_rng(0), 40
    people = np.concatenate([np.zeros(n), 1 + np.arange(n) % 2, np.arange(3, 3 + n)]).astype(int)
    x = faces(3 * n, people=people)
    for person in (0, 1, 2):  # the head moves and turns, a little from frame to frame
        rows = np.flatnonzero(people == person)
        for step, row in enumerate(rows):
            points = x[row, :1434].reshape(478, 3)
            angle, at = 0.02 * step, 0.01 * step
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            points[:, :2] = (points[:, :2] - 0.5) @ turn.T * (1 + 0.01 * step) + 0.5 + at
    copies = rng.choice(np.arange(2 * n, 3 * n), 5, replace=False)
    x = np.concatenate([x, x[copies]])
    prompt = np.arange(len(x)) % 4
    data = Perception(saved(tmp_path / "t.npz", x, prompt)).load()
    group = data.pairs.group[np.argsort(data.pairs.left)]
    for person in (0, 1, 2):
        assert len(np.unique(group[:-5][people == person])) == 1
    assert np.array_equal(group[-5:], group[copies])
    assert len(np.unique(group)) == 3 + n
    assert data.notes["group"].startswith("shots")
    assert len(np.unique(Perception(str(tmp_path / "t.npz"), group="row").load().pairs.group)) == len(x)


def test_too_few_groups_are_refused_with_what_to_type(tmp_path):
    path = saved(tmp_path / "t.npz", faces(20, people=np.arange(20) // 10), np.arange(20) % 4)
    assert "the faces are in 2 groups (shots, by" in Perception(path).load().notes["said"][-1]
    with pytest.raises(BadRecipe, match=r"only 2 groups of items .*data\.group=row"):
        pipeline.run("perception", [f"data.file={path}"], out=tmp_path / "run", quiet=True)
    assert "said" not in Perception(path, group="row").load().notes


def test_shots_do_not_depend_on_place_and_size():
    points = np.random.default_rng(0).standard_normal((9, 478, 3))
    assert np.allclose(shots.shapes(points), shots.shapes(points * 3 + 7), atol=1e-5)
    angle = np.linspace(0, 0.5, 9)[:, None]
    flat = (points[..., 0] + 1j * points[..., 1]) * np.exp(1j * angle)
    turned = np.stack([flat.real, flat.imag, points[..., 2]], axis=2)
    upright = points[:1].repeat(9, axis=0)
    assert np.ptp(shots.shapes(upright), axis=0).max() < 1e-5
    flat = (upright[..., 0] + 1j * upright[..., 1]) * np.exp(1j * angle)
    assert np.ptp(shots.shapes(np.stack([flat.real, flat.imag, upright[..., 2]], axis=2)), axis=0).max() < 1e-5
    assert len(set(shots.groups(turned).tolist())) == 9
    assert shots.groups(points).tolist() == list(range(9))
    assert shots.groups(np.repeat(points, 2, axis=0)).tolist() == (np.arange(18) // 2 * 2).tolist()


FAULTS = [
    ("width", lambda x, y: (x[:, :-7], y), "1434 numbers.*data.emotions=false"),
    ("irises", lambda x, y: (np.delete(x, range(1404, 1434), 1), y), "1411 numbers.*data.points=468"),
    ("other width", lambda x, y: (x[:, :500], y), "500 numbers.*sensorium run arrays"),
    ("rows", lambda x, y: (x[:-1], y), "29 rows in.*30 in"),
    ("nan", lambda x, y: (np.where(np.arange(30)[:, None] == 4, np.nan, x), y), r"1 of 30 rows.*row 5.*NaN"),
    ("nan target", lambda x, y: (x, np.where(np.arange(30)[:, None] == 4, np.nan, y)), r"row 5.*clip_embeddings"),
    ("zeros", lambda x, y: (x * (np.arange(30) != 2)[:, None], y), "row 3.*nothing but zeros"),
    ("percent", lambda x, y: (np.concatenate([x[:, :-7], 100 * x[:, -7:]], 1), y), "30 of 30.*no probabilities"),
    ("one prompt", lambda x, y: (x, np.repeat(y[:1], 30, 0)), "one prompt"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "said"), FAULTS, ids=[one[0] for one in FAULTS])
def test_a_file_that_cannot_be_used_is_refused_with_its_rows(tmp_path, name, spoil, said):
    x, y = spoil(faces(30), np.random.default_rng(1).standard_normal((5, 16)).astype(np.float32)[np.arange(30) % 5])
    np.savez(tmp_path / "t.npz", perception_embeddings=x, clip_embeddings=y)
    with pytest.raises(BadData, match=f"(?s){said}"):
        Perception(str(tmp_path / "t.npz")).load()


def test_bad_rows_can_be_left_out(tmp_path):
    x = faces(30)
    x[[3, 8]] = np.nan
    data = Perception(saved(tmp_path / "t.npz", x, np.arange(30) % 5), bad="skip").load()
    assert len(data.left) == 28
    assert data.notes["rows_left_out"] == 2
    assert "3" not in data.left.ids
    assert data.left.values.shape == (28, 1441)


def test_missing_arrays_are_named_with_those_that_are_there(tmp_path):
    np.savez(tmp_path / "t.npz", vectors=np.zeros((3, 4)), other=np.zeros((3, 5)))
    with pytest.raises(BadRecipe, match=r"no 'perception_embeddings'.*it holds vectors \[3, 4\], other \[3, 5\]"):
        Perception(str(tmp_path / "t.npz")).load()
    with pytest.raises(BadRecipe, match="or data.file=training_data.npz"):
        Perception().load()
    with pytest.raises(BadRecipe, match=r"data\.points=2; expected 3 to 10000"):
        Perception(points=2)
    x = saved(tmp_path / "u.npz", faces(9), np.arange(9) % 3)
    with pytest.raises(BadRecipe, match="data.group=actor: u.npz has no such array"):
        Perception(x, group="actor").load()


def test_a_pickle_is_never_executed(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (tmp_path.joinpath("executed").touch, ())

    rows = np.array([Harmful()] * 3, object)
    np.savez(tmp_path / "t.npz", perception_embeddings=faces(3), clip_embeddings=np.eye(3), prompts=rows)
    with pytest.raises(BadData, match="prompts"):
        Perception(str(tmp_path / "t.npz")).load()
    assert not (tmp_path / "executed").exists()


def test_zeros_as_emotions_and_other_sums_are_counted_and_said(tmp_path):
    x = faces(30)
    x[:4, -7:] = 0
    x[5, -7:] *= 0.5
    said = Perception(saved(tmp_path / "t.npz", x, np.arange(30) % 5)).load().notes["said"]
    assert "4 of 30 faces have zeros in place of the 7 emotion probabilities" in said[0]
    assert "1 of 30 faces do not add up to 1, such as 0.5" in said[1]


@pytest.mark.parametrize(("width", "keys"), [(1434, {"emotions": False}), (1411, {"points": 468}),
                                             (143, {"points": 68}), (1493, {})])  # fmt: skip
def test_other_layouts_are_read_when_they_are_named(tmp_path, width, keys):
    x = np.resize(faces(30)[:, :1434], (30, width)).copy()
    if keys.get("emotions", True):
        x[:, -7:] = 1 / 7
    assert Perception(saved(tmp_path / "t.npz", x, np.arange(30) % 5), **keys).load().left.values.shape == (30, width)


def test_a_run_from_the_file_alone(tmp_path):
    rng, prompt = np.random.default_rng(0), np.arange(80) % 4
    x = faces(80)
    x[:, -7:] = rng.dirichlet(np.ones(7), 80) * 0.2 + 0.8 * np.eye(7)[prompt]
    path = saved(tmp_path / "training_data.npz", x, prompt)
    keys = [f"data.file={path}", "train.epochs=20", "left.head.hidden=32", "evaluate.plots=false"]
    run = pipeline.run("perception", keys, out=tmp_path / "run", quiet=True)
    assert run.metrics["protocol"]["name"] == "prompts"
    hits = run.search(id="1", side="left", k=2)
    assert hits[0]["id"].startswith("prompt-")
    assert run.metrics["dataset"]["prompts"] == 4
