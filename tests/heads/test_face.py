"""The face head: place, size and roll of a face do not matter; blocks scaled on their own; every message."""

import functools
import json

import made_faces
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sensorium
from sensorium import fitting, heads, parts
from sensorium.errors import BadRecipe
from sensorium.fitting.build import build
from sensorium.numerics import face_shape
from sensorium.pairs import Pairs
from sensorium.stream.lite import Head as Lite
from sensorium.types import Embeddings

MADE = made_faces.perception(n=70, people=2, dim=12)
FEW = ["train.epochs=3", "train.precision=fp32", "evaluate.resamples=20", "evaluate.plots=false"]


def table(x: np.ndarray) -> Embeddings:
    return Embeddings(np.arange(len(x)).astype(str), x, {})


def built(x: np.ndarray = MADE.vectors, **arguments: object) -> torch.nn.Module:
    """A head with the statistics of x and random weights."""
    torch.manual_seed(0)
    head, other = parts.make("heads", {"name": "face", **arguments}), parts.make("heads", "identity")
    rows = np.arange(len(x))
    build(table(x), table(np.zeros((len(x), 12), np.float32)), Pairs.of(rows, rows), head, other)
    return head.eval()


@functools.cache
def usual() -> torch.nn.Module:
    return built(components=16)


def moved(x: np.ndarray, shift: tuple[float, float], scale: float, degrees: float, points: int = 478) -> np.ndarray:
    """Vectors whose faces are elsewhere in the picture, larger and rolled."""
    axes = (x.shape[1] - 7) // points
    shape = x[:, : axes * points].reshape(len(x), points, axes).astype(np.float64) - 0.5
    a = np.deg2rad(degrees)
    shape[..., :2] = shape[..., :2] @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    shape = shape * scale + 0.5
    shape[..., :2] += shift
    return np.concatenate([shape.reshape(len(x), -1), x[:, axes * points :]], 1).astype(np.float32)


def emotions_only(x: np.ndarray) -> np.ndarray:
    return np.concatenate([np.full_like(x[:, :-7], 0.5) + np.linspace(0, 0.1, x.shape[1] - 7), x[:, -7:]], 1)


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)), st.floats(0.5, 2.0), st.floats(-180, 180))
def test_place_size_and_roll_of_a_face_do_not_matter(shift, scale, degrees):
    x = MADE.vectors[::7]
    before, after = (face_shape.features(v, 478, 7, face_shape.EYES[478], True)
                     for v in (x, moved(x, shift, scale, degrees)))  # fmt: skip
    np.testing.assert_allclose(after, before, atol=1e-5)
    z = heads.apply(usual(), x)
    np.testing.assert_allclose(heads.apply(usual(), moved(x, shift, scale, degrees)), z, atol=1e-5)


def test_a_raw_head_is_not_so():
    """What the tests above find is the head's doing, not that of the made faces."""
    torch.manual_seed(0)
    head = parts.make("heads", {"name": "mlp", "dim": 12, "preprocess": "none"})
    head.build(1441)
    x = MADE.vectors[:5]
    assert np.abs(heads.apply(head.eval(), moved(x, (0.2, 0.1), 1.5, 30)) - heads.apply(head, x)).max() > 0.01


def test_the_eyes_are_level_and_between_them_is_the_origin():
    shape = face_shape.features(MADE.vectors, 478, 7, face_shape.EYES[478], False)[:, :1434].reshape(-1, 478, 3)
    right, left = (shape[:, list(side)].mean(1) for side in face_shape.EYES[478])
    np.testing.assert_allclose(right + left, 0, atol=1e-12)
    assert np.abs(right[:, 1]).max() < 1e-12 and (left[:, 0] > 0).all()
    flat = shape[..., :2] - shape[..., :2].mean(1, keepdims=True)
    np.testing.assert_allclose(np.square(flat).sum(2).mean(1), 1)


def test_every_block_is_scaled_on_its_own():
    """Each emotion has deviation 1 over the training rows, the landmarks' components have ``weight``."""
    x = torch.from_numpy(MADE.vectors)
    prepared = built(components=4, weight=0.25).inputs(x)
    assert prepared.shape == (70, 11)
    np.testing.assert_allclose(prepared.std(0, unbiased=False)[4:], 1, rtol=1e-3)
    np.testing.assert_allclose(prepared.std(0, unbiased=False)[:4], 0.25, rtol=0.02)
    np.testing.assert_allclose(prepared.mean(0), 0, atol=1e-4)
    larger = built(components=4, weight=25.0).inputs(x)
    np.testing.assert_allclose(larger[:, 4:], prepared[:, 4:], atol=1e-6)
    coordinates = built(components=0, weight=0.25).inputs(x)
    assert coordinates.shape == (70, 1441) and abs(float(coordinates[:, 100].std(unbiased=False)) - 0.25) < 1e-4


def test_without_a_weight_the_emotions_alone_decide():
    head = built(weight=0.0)
    other = emotions_only(MADE.vectors)
    np.testing.assert_allclose(heads.apply(head, other), heads.apply(head, MADE.vectors), atol=1e-6)


def test_the_components_are_those_of_the_upright_shapes():
    """Against NumPy's SVD."""
    x = MADE.vectors
    shape = face_shape.features(x, 478, 7, face_shape.EYES[478], True)[:, :1434]
    centred = shape - shape.mean(0)
    basis = np.linalg.svd(centred, full_matrices=False)[2][:5]
    found = built(components=5).inputs.components.numpy()
    np.testing.assert_allclose(np.abs(np.einsum("dk,kd->k", found, basis)), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("width", "points"),
    [(1441, 478), (1441 + 52, None), (478 * 2 + 7, None), (68 * 2 + 7, 68), (68 * 3 + 7, None), (468 * 3 + 7, 468)],
)
def test_numpy_alone_equals_the_head_of_every_layout(width, points, tmp_path):
    x = np.random.default_rng(0).uniform(0.01, 0.9, (40, width)).astype(np.float32)
    for arguments in ({}, {"components": 0, "depth": 0, "normalize": False, "logarithm": False}):
        head = built(x, points=points, **arguments)
        heads.save(head, tmp_path / "left", "face", {})
        np.testing.assert_allclose(Lite(tmp_path / "left")(x), heads.apply(head, x), atol=1e-5, rtol=1e-5)
        again, _ = heads.restore(tmp_path / "left")
        assert np.array_equal(heads.apply(again, x), heads.apply(head, x))


def test_landmarks_all_at_one_place_give_finite_vectors(tmp_path):
    x = MADE.vectors[:3].copy()
    x[:, :1434] = 0.5
    head = built()
    assert np.isfinite(heads.apply(head, x)).all()
    heads.save(head, tmp_path / "left", "face", {})
    np.testing.assert_allclose(Lite(tmp_path / "left")(x), heads.apply(head, x), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": 478}, "takes 478 landmarks and 7 emotions, vectors of 1441 .*, not 143; type: left.head.points=68"),
        ({"points": 99, "eyes": [[0], [1]]}, "99 landmarks .* not 143; type: left.head.points=68"),
        ({"emotions": 0}, "478 landmarks and 0 emotions, vectors of 1434 .* not 143; type: left.head.emotions=7"),
        ({"points": 68, "emotions": 0}, "68 landmarks and 0 emotions, .* not 143; type: left.head.emotions=7"),
        ({"eyes": [[0], [70]]}, "expected two lists of landmarks from 0 to 67"),
        ({"points": 70}, "where the eyes are among 70 landmarks is known for 478, 468, 68 only; type: left.head.eyes="),
        ({"points": 68, "eyes": [[0], [68]]}, r"expected two lists of landmarks from 0 to 67, such as"),
        ({"points": 68, "eyes": [[3], [3]]}, "expected two lists of landmarks"),
        ({"points": 68, "eyes": [[3]]}, "expected two lists of landmarks"),
        ({"points": 1}, "points=1, emotions=None; expected 2 to 100000 landmarks"),
        ({"emotions": -1}, "emotions=-1; expected 2 to 100000 landmarks and 0 to 100000 probabilities"),
        ({"weight": -1.0}, "weight=-1.0; expected 0 to 100000 components and a weight from 0 to 100"),
        ({"components": -1}, "components=-1, weight"),
        ({"activation": "rleu"}, "activation 'rleu'; did you mean 'relu'"),
        ({"depth": 101}, "face: depth=101"),
        ({"depth": -1}, "face: depth=-1"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"hidden": 0}, "hidden=0, dim=None; expected 1 to 100000; for one linear map depth=0"),
        ({"dim": 10**6}, "dim=1000000; expected 1 to 100000"),
        ({"dim": 0}, "dim=0 of a head"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(BadRecipe, match=message):
        built(np.ones((5, 143), np.float32), **arguments)


def test_68_points_without_emotions_and_a_width_of_nothing():
    assert built(np.random.default_rng(0).random((9, 136), np.float32)).inputs.dim == 32
    with pytest.raises(BadRecipe, match="not 10; choose another head, such as left.head=mlp"):
        built(np.ones((5, 10), np.float32))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("faces") / "faces.npz"
    made = made_faces.perception(n=210, people=6, dim=12)
    split = np.array(["train", "train", "train", "train", "validation", "test"])[np.arange(210) * 6 // 210]
    noise = np.random.default_rng(0).normal(0, 1e-3, made.targets.shape).astype(np.float32)
    np.savez(path, face=made.vectors, prompt=made.targets + noise, split=split, label=np.array(made.labels))
    return path


def run(file, out, *keys):
    return sensorium.run("arrays", [f"data.file={file}", "data.left=face", "data.right=prompt", "data.split=split",
                                    "left.head=face", "right.head=identity", "left.head.components=8", *FEW, *keys],
                         out=out, quiet=True)  # fmt: skip


@pytest.mark.parametrize("objective", ["ridge", "cca"])
def test_a_closed_form_is_solved_on_what_the_layers_take(file, tmp_path, objective):
    one = run(file, tmp_path / "run", f"objective={objective}", "left.head.depth=0", "evaluate.baselines=[]",
              *(["right.head=linear"] if objective == "cca" else []))  # fmt: skip
    saved = json.loads((one.folder / "left.json").read_text())
    assert saved["name"] == "face" and saved["arguments"]["depth"] == 0
    x = MADE.vectors[:4]
    np.testing.assert_allclose(one.project("left", moved(x, (0.1, 0.0), 1.3, 20)), one.project("left", x), atol=1e-4)
    with pytest.raises(BadRecipe, match="cannot hold or start at a closed form; type: left.head.depth=0"):
        run(file, tmp_path / "deep", f"objective={objective}", *(["right.head=linear"] if objective == "cca" else []))


def test_ridge_on_the_layers_inputs_is_ridge_on_them(file):
    """Against the objective on a table of the prepared inputs."""
    with np.load(file) as saved:
        faces, prompts = saved["face"][:150], saved["prompt"][:150]
    rows = np.arange(150)
    pairs = Pairs.of(rows, rows)
    ridge = parts.make("objectives", {"name": "ridge", "strengths": 0.1})
    head = parts.make("heads", {"name": "face", "depth": 0, "components": 8, "normalize": False})
    ours = fitting.solve(table(faces), table(prompts), pairs, head, parts.make("heads", "identity"), ridge).left_head
    prepared = ours.inputs(torch.from_numpy(faces)).numpy()
    linear = parts.make("heads", {"name": "linear", "normalize": False})
    theirs = fitting.solve(table(prepared), table(prompts), pairs, linear, parts.make("heads", "identity"), ridge)
    np.testing.assert_allclose(heads.apply(ours, faces), heads.apply(theirs.left_head, prepared), atol=1e-4)


def test_a_trained_run_beats_the_document_head_on_moved_faces(file, tmp_path):
    """Trained on people at one place, asked about the same faces elsewhere in the picture."""
    keys = ["objective=cosine", "train.epochs=20", "train.lr=1e-3", "train.batch=32", "evaluate.baselines=[]"]
    ours = run(file, tmp_path / "face", *keys)
    raw = run(file, tmp_path / "raw", *keys, "left.head=mlp", "left.head.preprocess=none", "left.head.layer_norm=true",
              "left.head.activation=tanh")  # fmt: skip
    with np.load(file) as saved:
        test = saved["split"] == "test"
        x, label, y = moved(saved["face"][test], (-0.3, 0.2), 0.6, 40), saved["label"][test], saved["prompt"]
        labels = saved["label"]
    centres = np.stack([y[labels == name].mean(0) for name in np.unique(labels)])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    right = [np.mean(np.unique(labels)[(one.project("left", x) @ centres.T).argmax(1)] == label) for one in (ours, raw)]
    assert right[0] > 0.5 and right[0] > right[1] + 0.3, right
