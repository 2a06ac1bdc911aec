"""Heads: what they compute, that files give back the same bits, and every message about misuse."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA as SklearnPCA

from sensorium import heads, parts
from sensorium.errors import BadData, BadRecipe, Corrupt, Mismatch
from sensorium.heads._preprocess import MODES, Preprocess
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine, Embeddings

X = (np.random.default_rng(0).standard_normal((500, 12)) @ np.diag(np.arange(1, 13.0)) + 5).astype(np.float32)
STATS = InputStats.of(X)
SPECS = [
    "identity",
    {"name": "identity", "normalize": False},
    {"name": "linear", "dim": 5},
    {"name": "linear", "dim": 5, "preprocess": "unit"},
    {"name": "mlp", "dim": 5, "hidden": 16, "depth": 2, "layer_norm": True, "residual": True, "preprocess": "whiten"},
    {"name": "mlp", "hidden": 8, "activation": "tanh", "gain": 0.5, "preprocess": "none", "dropout": 0.3},
    {"name": "pca", "rank": 4},
    {"name": "pca", "whiten": True},
]


def built(spec, like: int | None = 7):
    one = parts.make("heads", spec)
    one.build(12, STATS, like)
    return one


def label(spec) -> str:
    return spec if isinstance(spec, str) else "-".join(map(str, spec.values()))


@pytest.mark.parametrize("spec", SPECS, ids=label)
def test_contract(spec, tmp_path: Path) -> None:
    torch.manual_seed(0)
    one = built(spec)
    z = heads.apply(one, X)
    assert z.shape == (500, one.dim) and z.dtype == np.float32
    if one.normalize:
        np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, rtol=1e-5)
    encoder = {"name": "hog", "cells": 8, "scale": 0.5, "gray": True}
    heads.save(one, tmp_path / "left", spec if isinstance(spec, str) else spec["name"], encoder)
    again, fingerprint = heads.restore(tmp_path / "left")
    assert fingerprint == encoder and again.arguments == one.arguments
    assert np.array_equal(heads.apply(again, X), z)
    assert {k: v.numpy().tobytes() for k, v in again.state_dict().items()} == {
        k: v.numpy().tobytes() for k, v in one.state_dict().items()
    }
    assert one.trainable == bool(list(one.parameters()))


@pytest.mark.parametrize("spec", SPECS, ids=label)
def test_blocks_rows_and_maps_do_not_matter(spec, tmp_path: Path) -> None:
    one = built(spec).train()
    whole = heads.apply(one, X)
    assert one.training
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_allclose(heads.apply(one, mapped, block=37), whole, rtol=0, atol=1e-6)
    rows = np.array([400, 3, 3, 77])
    np.testing.assert_allclose(heads.apply(one, mapped, rows), whole[rows], rtol=0, atol=1e-6)
    table = Embeddings(np.arange(500).astype(str), mapped, {})
    np.testing.assert_allclose(heads.project(one, table), whole, rtol=0, atol=1e-6)


def test_widths_that_are_left_open() -> None:
    assert built("linear").dim == built("mlp").dim == built("pca").dim == 7
    assert built("linear", None).dim == 12 and built("mlp", None).dim == 256 and built("pca", None).dim == 12


def test_mlp_computes_the_documents_heads() -> None:
    """EmoRAG's, perception's and Embed2Image's, against torch.nn.Sequential with the same weights."""
    x = torch.from_numpy(X)
    nn = torch.nn
    emorag = nn.Sequential(nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 6))
    perception = nn.Sequential(nn.Linear(12, 20), nn.LayerNorm(20), nn.Tanh(), nn.Linear(20, 6))
    embed2image = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Dropout(0.1), nn.Linear(20, 6))
    for theirs, arguments in (
        (emorag, {"activation": "relu"}),
        (perception, {"activation": "tanh", "layer_norm": True, "gain": 0.5}),
        (embed2image, {"activation": "gelu", "dropout": 0.1}),
    ):
        ours = built({"name": "mlp", "dim": 6, "hidden": 20, "preprocess": "none", **arguments})
        modules = [ours.layers[0], *ours.norms, ours.layers[1]]
        wanted = [m for m in theirs if list(m.parameters())]
        for mine, other in zip(modules, wanted, strict=True):
            mine.load_state_dict(other.state_dict())
        expected = nn.functional.normalize(theirs.eval()(x), dim=1)
        torch.testing.assert_close(ours.eval()(x), expected, rtol=0, atol=1e-6)


def test_gain_is_xavier() -> None:
    one = built({"name": "mlp", "dim": 300, "hidden": 400, "gain": 0.5})
    assert not one.layers[0].bias.any()
    bound = 0.5 * np.sqrt(6 / (400 + 300))
    assert float(one.layers[1].weight.detach().abs().max()) == pytest.approx(bound, rel=1e-2)


def test_dropout_only_while_training() -> None:
    one = built({"name": "mlp", "hidden": 64, "dropout": 0.5})
    x = torch.from_numpy(X)
    assert not torch.equal(one.train()(x), one.train()(x))
    assert torch.equal(one.eval()(x), one.eval()(x))


def test_preprocessing_by_its_definition() -> None:
    x = torch.from_numpy(X)
    made = {mode: Preprocess(mode, 12, STATS)(x).double().numpy() for mode in MODES}
    assert np.array_equal(made["none"], X)
    np.testing.assert_allclose(np.linalg.norm(made["unit"], axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(made["center"].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(made["standardize"].std(0), 1, rtol=1e-5)
    eigenvalues = np.linalg.eigvalsh(STATS.covariance)
    ridge = 0.01 * eigenvalues.mean()
    spread = np.linalg.eigvalsh(np.cov(made["whiten"].T, bias=True))
    np.testing.assert_allclose(spread, eigenvalues / (eigenvalues + ridge), rtol=1e-3)


def test_a_narrow_coordinate_among_many_is_kept() -> None:
    """What is constant is measured against the typical deviation, not against one that grows with the width."""
    d = 2500
    wide = np.random.default_rng(0).standard_normal((8, d)).astype(np.float32)
    wide[:, 7] *= 2e-5
    stats = InputStats(8, wide.mean(0).astype(float), np.diag(wide.var(0).astype(float)))
    made = Preprocess("standardize", d, stats)(torch.from_numpy(wide))
    assert made[:, 7].std(correction=0) == pytest.approx(1.0, rel=1e-3)


def test_constant_coordinate_is_left_out() -> None:
    constant = X.copy()
    constant[:, 3] = 2.0
    made = Preprocess("standardize", 12, InputStats.of(constant))(torch.full((1, 12), 9.0))
    assert made[0, 3] == 0 and torch.isfinite(made).all()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["none", "center", "standardize", "whiten"]), st.sampled_from(["linear", "mlp"]),
       st.booleans(), st.integers(0, 99))  # fmt: skip
def test_initialise_starts_at_the_closed_form(mode: str, name: str, normalize: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    affine = Affine(rng.standard_normal((12, 5)), rng.standard_normal(5))
    spec = {"name": name, "dim": 5, "preprocess": mode, "normalize": normalize}
    one = built(spec | ({"residual": True} if name == "mlp" else {}))
    one.initialise(affine)
    expected = affine(X.astype(np.float64))
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(heads.apply(one, X), expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    if name == "linear" and not normalize:
        back = one.affine()
        np.testing.assert_allclose(back.weight, affine.weight, rtol=0, atol=1e-5)
        np.testing.assert_allclose(back.bias, affine.bias, rtol=0, atol=1e-4)


def test_initialised_outputs_have_length_one_on_average() -> None:
    one = built({"name": "linear", "dim": 5})
    one.initialise(Affine(1e-4 * np.random.default_rng(0).standard_normal((12, 5)), np.zeros(5)))
    z = one.layers[0](one.preprocess(torch.from_numpy(X))).detach().numpy()
    assert np.sqrt(np.mean(np.sum(z**2, 1))) == pytest.approx(1, rel=1e-4)


def test_initialised_mlp_learns() -> None:
    one = built({"name": "mlp", "dim": 5, "residual": True})
    one.initialise(Affine(np.ones((12, 5)), np.zeros(5)))
    one(torch.from_numpy(X))[:, 0].sum().backward()
    assert one.layers[-1].weight.grad.abs().sum() > 0 and one.skip.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("solver", ["exact", "randomised"])
@pytest.mark.parametrize("whiten", [False, True])
def test_pca_equals_scikit_learn(whiten: bool, solver: str) -> None:
    one = built({"name": "pca", "rank": 5, "whiten": whiten, "normalize": False, "solver": solver})
    oracle = SklearnPCA(5, whiten=whiten, svd_solver="full").fit(X.astype(np.float64))
    np.testing.assert_allclose(one.affine()(X.astype(np.float64)), oracle.transform(X.astype(np.float64)),
                               rtol=0, atol=1e-4)  # fmt: skip
    exact = one._components(STATS, explicit=True)
    expected = oracle.components_.T / (np.sqrt(oracle.explained_variance_) if whiten else 1)
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-6)


def test_the_randomised_pca_finds_the_leading_components() -> None:
    """Of 300 numbers whose deviations fall off slowly: 99% of the variance that 20 components can have."""
    random = np.random.default_rng(1)
    x = (random.standard_normal((900, 300)) * np.linspace(3, 1, 300) ** 2) @ np.linalg.qr(
        random.standard_normal((300, 300))
    )[0]
    found = {}
    for solver in ("exact", "randomised"):
        one = parts.make("heads", {"name": "pca", "rank": 20, "normalize": False, "solver": solver})
        one.build(300, InputStats.of(x.astype(np.float32)))
        found[solver] = one.components.double().numpy()
    np.testing.assert_allclose(found["randomised"].T @ found["randomised"], np.eye(20), atol=1e-6)
    variance = {solver: np.var((x - x.mean(0)) @ c, axis=0).sum() for solver, c in found.items()}
    assert 0.99 < variance["randomised"] / variance["exact"] < 1 + 1e-9
    again = parts.make("heads", {"name": "pca", "rank": 20, "normalize": False, "solver": "randomised"})
    again.build(300, InputStats.of(x.astype(np.float32)))
    np.testing.assert_array_equal(again.components.double().numpy(), found["randomised"])


def test_pca_of_an_unknown_solver() -> None:
    with pytest.raises(BadRecipe, match="pca: solver 'randomized'; did you mean 'randomised'"):
        parts.make("heads", {"name": "pca", "solver": "randomized"})


def test_pca_of_few_rows() -> None:
    few = InputStats.of(X[:5])
    one = parts.make("heads", "pca")
    one.build(12, few, None)
    assert one.dim == 4
    with pytest.raises(BadRecipe, match="pca: rank 6, but 5 training rows span 4 directions"):
        parts.make("heads", {"name": "pca", "rank": 6}).build(12, few)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "mlp", "activation": "rellu"}, "mlp: activation 'rellu'; did you mean 'relu'"),
        ({"name": "mlp", "dropout": 1.0}, "mlp: dropout is 1.0"),
        ({"name": "mlp", "depth": 0}, "mlp: depth 0 and hidden 512 must be at least 1"),
        ({"name": "mlp", "gain": -1.0}, "mlp: gain=-1.0; expected a number above 0"),
        ({"name": "linear", "preprocess": "standardise"}, "preprocess 'standardise'; did you mean 'standardize'"),
        ({"name": "pca", "rank": 0}, "pca: rank is 0"),
        ({"name": "pca", "rank": 13}, "pca: rank 13 of vectors that are 12 wide"),
    ],
)
def test_bad_arguments(spec: dict, message: str) -> None:
    with pytest.raises(BadRecipe, match=message):
        built(spec)


@pytest.mark.parametrize("name", ["gru", "layers", "linear", "lstm", "mlp", "statistics", "tcn"])
@pytest.mark.parametrize("dim", [0, -1])
def test_no_output_width_below_one(name: str, dim: int) -> None:
    more = {"layers": 2} if name == "layers" else {}
    with pytest.raises(BadRecipe, match=f"dim={dim} of a head; expected 1 or more"):
        parts.make("heads", {"name": name, "dim": dim, **more})


def test_initialise_that_cannot_be() -> None:
    affine = Affine(np.ones((12, 5)), np.zeros(5))
    with pytest.raises(BadRecipe, match=r"type: left\.head\.residual=true"):
        built({"name": "mlp", "dim": 5}).initialise(affine)
    with pytest.raises(BadRecipe, match=r"a closed form of 12 to 5 numbers does not fit .* type: left\.head\.dim=5"):
        built({"name": "linear", "dim": 6}).initialise(affine)
    with pytest.raises(BadRecipe, match="with preprocess='unit' it cannot start"):
        built({"name": "linear", "dim": 5, "preprocess": "unit"}).initialise(affine)
    with pytest.raises(BadRecipe, match="'unit' is not linear"):
        built({"name": "mlp", "dim": 5, "residual": True, "preprocess": "unit"}).initialise(affine)


def test_statistics_of_another_width() -> None:
    with pytest.raises(BadData, match="statistics are 12 wide, the head's input is 10"):
        parts.make("heads", "linear").build(10, STATS)
    same = np.ones((4, 12), np.float32)
    with pytest.raises(BadData, match="all training inputs are equal"):
        parts.make("heads", {"name": "linear", "preprocess": "whiten"}).build(12, InputStats.of(same))


def test_vectors_of_another_width() -> None:
    with pytest.raises(BadData, match=r"shape \(3, 10\) do not fit the Linear head, which takes \(n, 12\)"):
        heads.apply(built("linear"), np.ones((3, 10), np.float32))


def test_frames_need_a_head_that_takes_them() -> None:
    ragged = Embeddings(np.array(["a", "b"]), X[:5], {}, offsets=np.array([0, 2, 5]))
    with pytest.raises(BadData, match="sequences of frames, but the Linear head takes one vector"):
        heads.project(built("linear"), ragged)


# Files


def test_a_head_from_elsewhere_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "double.py").write_text(
        "import torch\n"
        "class Double(torch.nn.Module):\n"
        "    trainable = False\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.arguments = {}\n"
        "    def build(self, dim_in, stats=None, like=None):\n"
        "        self.dim_in = self.dim = dim_in\n"
        "    def forward(self, x):\n"
        "        return 2 * x\n"
    )
    name = f"{tmp_path / 'double.py'}:Double"
    one = parts.make("heads", name)
    one.build(12)
    heads.save(one, tmp_path / "left", name, {})
    again, _ = heads.restore(tmp_path / "left")
    assert np.array_equal(heads.apply(again, X), 2 * X)


def test_the_tensors_file_describes_itself(tmp_path: Path) -> None:
    from safetensors import safe_open

    heads.save(built("linear"), tmp_path / "left", "linear", {"name": "hog"})
    with safe_open(tmp_path / "left.safetensors", "np") as file:
        told = json.loads(file.metadata()["sensorium"])
    beside = json.loads((tmp_path / "left.json").read_text())
    assert told == {k: v for k, v in beside.items() if k != "checksum"} and told["encoder"] == {"name": "hog"}


def test_damaged_files(tmp_path: Path) -> None:
    stem = tmp_path / "left"
    heads.save(built("linear"), stem, "linear", {})
    tensors, beside = tmp_path / "left.safetensors", tmp_path / "left.json"
    whole, text = tensors.read_bytes(), beside.read_text()

    flipped = bytearray(whole)
    flipped[-3] ^= 4
    tensors.write_bytes(flipped)
    with pytest.raises(Corrupt, match=r"left\.safetensors is damaged: checksum"):
        heads.restore(stem)
    tensors.write_bytes(whole[:-10])
    with pytest.raises(Corrupt, match="is damaged"):
        heads.restore(stem)
    tensors.unlink()
    with pytest.raises(Corrupt, match=r"left\.safetensors is missing; fit the head again"):
        heads.restore(stem)
    tensors.write_bytes(whole)
    told = json.loads(text)
    for wrong, message in (
        (told | {"format": 99}, "head format 99, expected 1"),
        ({k: v for k, v in told.items() if k != "dim_in"}, "'dim_in' is missing"),
        (told | {"dim_in": 11}, "does not hold the weights that left.json describes"),
        ([1], "head format 'list', expected 1"),
    ):
        beside.write_text(json.dumps(wrong))
        with pytest.raises(Corrupt, match=message):
            heads.restore(stem)
    beside.unlink()
    with pytest.raises(Corrupt, match=r"left\.json is missing"):
        heads.restore(stem)
    beside.write_text(text)
    assert heads.restore(stem)[0].dim == 7


def test_check_names_both_sides() -> None:
    made = {"name": "minilm", "revision": "1", "pooling": "mean"}
    heads.check(made, dict(reversed(made.items())), "runs/a: left head")
    with pytest.raises(Mismatch) as caught:
        heads.check(made, {"name": "roberta", "revision": "1", "layer": 3}, "runs/a: left head")
    message = str(caught.value)
    assert "runs/a: left head was fitted on vectors of 'minilm', these are of 'roberta'" in message
    assert "layer: (absent) against 3; name: 'minilm' against 'roberta'; pooling: 'mean' against (absent)" in message
    assert "revision" not in message
    with pytest.raises(Mismatch, match="these are of an unknown encoder"):
        heads.check(made, {}, "left head")


@pytest.mark.parametrize(
    ("value", "fault"), [(np.nan, "NaN or infinity"), (-np.inf, "NaN or infinity"), (0, "only zeros")]
)
def test_check_finite_names_the_rows(value: float, fault: str) -> None:
    bad = np.ones((50, 4), np.float32)
    bad[[7, 20, 33, 48], 0 if value else slice(None)] = value
    with pytest.raises(BadData, match=rf"left vectors: 4 of 50 rows hold {fault}, such as row 7, 20, 33; correct"):
        heads.check_finite(bad, None, "left vectors", block=16)
    ids = np.array([f"item{i}" for i in range(50)])
    with pytest.raises(BadData, match=r"such as row 7 \(id 'item7'\), 20 \(id 'item20'\)"):
        heads.check_finite(bad, ids, "left vectors", block=16)


def test_check_finite_lets_good_rows_through() -> None:
    heads.check_finite(-np.eye(5), None, "vectors")
    heads.check_finite(np.eye(5, dtype=np.int64), None, "vectors")
    heads.check_finite(np.empty((0, 5)), None, "vectors")
    with pytest.raises(BadData, match="values of type <U1, expected numbers"):
        heads.check_finite(np.array([["a"]]), None, "vectors")
