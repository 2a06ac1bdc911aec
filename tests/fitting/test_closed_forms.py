"""Closed forms against scikit-learn and SciPy, on moments and on tables."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.cross_decomposition import CCA as SklearnCCA
from sklearn.linear_model import Ridge as SklearnRidge

from sensorium import fitting, parts
from sensorium import heads as head
from sensorium.contracts import Head
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting import closed_form
from sensorium.numerics.moments import Moments
from sensorium.objectives.cca import CCA
from sensorium.objectives.procrustes import Procrustes
from sensorium.objectives.ridge import Ridge
from sensorium.pairs import Pairs
from sensorium.pairs.classes import Classes
from sensorium.types import Embeddings, as_ids


def related(
    n: int = 600, d_x: int = 8, d_y: int = 5, noise: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, min(d_x, d_y)))
    x = z @ rng.standard_normal((z.shape[1], d_x)) + noise * rng.standard_normal((n, d_x)) + 3
    return x, z @ rng.standard_normal((z.shape[1], d_y)) + noise * rng.standard_normal((n, d_y)) - 2


def moments(x: np.ndarray, y: np.ndarray) -> Moments:
    return Moments(x.shape[1], y.shape[1]).update(x, y)


def unit(z: np.ndarray) -> np.ndarray:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "d_x"), [(600, 8), (30, 50)])
@pytest.mark.parametrize("strength", [1e-2, 1.0, (0.5, 0.5)])  # two are solved by decomposition
def test_ridge_equals_scikit_learn(n: int, d_x: int, strength) -> None:
    x, y = related(n, d_x)
    mean_eigenvalue = np.cov(x.T, bias=True).trace() / d_x
    oracle = SklearnRidge(alpha=n * np.max(strength) * mean_eigenvalue).fit(x, y)
    found = Ridge(strength, center=False).solve(moments(x, y))
    np.testing.assert_allclose(found.left.weight, oracle.coef_.T, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.left(x), oracle.predict(x), rtol=0, atol=1e-8)
    assert found.right is None
    centred = Ridge(strength).solve(moments(x, y))
    np.testing.assert_allclose(centred.left(x), oracle.predict(x) - y.mean(0), rtol=0, atol=1e-8)
    np.testing.assert_allclose(centred.right(y), y - y.mean(0), rtol=0, atol=1e-12)


def test_ridge_without_penalty_is_the_least_norm_solution() -> None:
    x, y = related(20, 30)
    found = Ridge(0.0).solve(moments(x, y))
    oracle = np.linalg.lstsq(x - x.mean(0), y - y.mean(0), rcond=None)[0]
    np.testing.assert_allclose(found.left.weight, oracle, rtol=0, atol=1e-7)


def test_ridge_takes_what_validation_prefers() -> None:
    x, y = related()
    norms = {}

    def validate(left, right) -> float:
        norms[float(np.linalg.norm(left.weight))] = right
        return -abs(len(norms) - 2)  # the second tried is the best

    found = Ridge((1.0, 0.1, 0.01)).solve(moments(x, y), validate)
    assert found.notes["strength"] == 0.1
    assert len(norms) == 3 and sorted(norms) == list(norms)  # less penalty, longer weights
    assert found.notes["chosen_by"] == "validation"


def test_ridge_without_validation_uses_generalised_cross_validation() -> None:
    x, y = related(40, 8, noise=2.0)
    strengths = (1e-3, 1e-2, 0.1, 1.0, 10.0)
    found = Ridge(strengths).solve(moments(x, y))
    losses = []  # by the definition: hat matrix of each strength, intercept included
    c = x - x.mean(0)
    for s in strengths:
        penalty = 40 * s * np.trace(c.T @ c / 40) / 8
        hat = c @ np.linalg.solve(c.T @ c + penalty * np.eye(8), c.T) + 1 / 40
        losses.append(np.mean(np.sum((y - hat @ y) ** 2, 1)) / (1 - np.trace(hat) / 40) ** 2)
    np.testing.assert_allclose(list(found.notes["tried"].values()), losses, rtol=1e-9)
    assert found.notes["strength"] == strengths[int(np.argmin(losses))]


def test_procrustes_equals_scipy() -> None:
    x, y = related(d_x=6, d_y=6)
    rotation, _ = orthogonal_procrustes(x, y)
    found = Procrustes(center=False).solve(moments(x, y))
    np.testing.assert_allclose(found.left.weight, rotation, rtol=0, atol=1e-9)
    assert found.right is None and not found.left.bias.any()
    centred, total = orthogonal_procrustes(x - x.mean(0), y - y.mean(0))
    scaled = Procrustes(scaling=True).solve(moments(x, y))
    scale = total / np.sum((x - x.mean(0)) ** 2)
    np.testing.assert_allclose(scaled.left(x), scale * (x - x.mean(0)) @ centred, rtol=0, atol=1e-8)
    both = Procrustes(center=False, scaling=True).solve(moments(x, y))
    expected = np.linalg.svd(x.T @ y, compute_uv=False)
    np.testing.assert_allclose(both.left.weight, expected.sum() / np.sum(x**2) * rotation, rtol=0, atol=1e-9)
    np.testing.assert_allclose(both.notes["singular_values"], expected[:10] / len(x), rtol=1e-9)


@pytest.mark.parametrize(("d_x", "d_y"), [(9, 4), (4, 9)])
def test_procrustes_is_semi_orthogonal(d_x: int, d_y: int) -> None:
    x, y = related(d_x=d_x, d_y=d_y)
    weight = Procrustes().solve(moments(x, y)).left.weight
    gram = weight.T @ weight if d_x > d_y else weight @ weight.T
    np.testing.assert_allclose(gram, np.eye(4), rtol=0, atol=1e-12)
    # No other semi-orthogonal map agrees better with the pairs.
    cross = np.cov(x.T, y.T, bias=True)[:d_x, d_x:]
    rng = np.random.default_rng(0)
    for _ in range(50):
        q = np.linalg.qr(rng.standard_normal((9, 4)))[0]
        assert np.sum((q if d_x > d_y else q.T) * cross) <= np.sum(weight * cross) + 1e-9


def test_cca_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((800, 5))  # correlations well apart, which the iterations of the oracle need
    x = np.hstack([z, rng.standard_normal((800, 2))]) @ rng.standard_normal((7, 7)) + 3
    y = (z + [0.2, 0.6, 1.2, 3, 9] * rng.standard_normal((800, 5))) @ rng.standard_normal((5, 5))
    oracle = SklearnCCA(3, scale=False, max_iter=5000, tol=1e-14).fit(x, y)
    ox, oy = oracle.transform(x, y)
    found = CCA(3, strengths=0.0, powers=0.0).solve(moments(x, y))
    zx, zy = found.left(x), found.right(y)
    correlations = [np.corrcoef(zx[:, i], zy[:, i])[0, 1] for i in range(3)]
    expected = [np.corrcoef(ox[:, i], oy[:, i])[0, 1] for i in range(3)]
    np.testing.assert_allclose(correlations, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.notes["correlations"], expected, rtol=0, atol=1e-6)
    for mine, other in ((zx, ox), (zy, oy)):
        np.testing.assert_allclose(np.abs(np.corrcoef(mine.T, other.T)[:3, 3:]), np.eye(3), rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.cov(zx.T, bias=True), np.eye(3), rtol=0, atol=1e-9)
    np.testing.assert_allclose(zx.mean(0), 0, atol=1e-9)


def test_cca_power_weighs_by_correlation() -> None:
    x, y = related(800, 7, 5)
    plain = CCA(3, strengths=0.1, powers=0.0).solve(moments(x, y))
    weighted = CCA(3, strengths=0.1, powers=2.0).solve(moments(x, y))
    s = np.array(plain.notes["correlations"])
    np.testing.assert_allclose(weighted.left.weight, plain.left.weight * s**2, rtol=0, atol=1e-12)
    np.testing.assert_allclose(weighted.right.weight, plain.right.weight * s**2, rtol=0, atol=1e-12)


def test_strong_cca_points_as_procrustes() -> None:
    x, y = related(d_x=6, d_y=6)
    strong = CCA(strengths=1e9, powers=0.0).solve(moments(x, y))
    cosine = unit(strong.left(x)) @ unit(strong.right(y)).T
    rotated = Procrustes().solve(moments(x, y))
    np.testing.assert_allclose(cosine, unit(rotated.left(x)) @ unit(rotated.right(y)).T, rtol=0, atol=1e-6)


def test_cca_without_rows_enough_is_still_finite() -> None:
    x, y = related(12, 30, 20)
    found = CCA(strengths=(0.0,), powers=0.0).solve(moments(x, y))
    assert np.isfinite(found.left.weight).all() and max(found.notes["correlations"]) <= 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ridge(-1.0), r"ridge: strengths are \[-1.0\]"),
        (lambda: Ridge(()), r"ridge: strengths are \[\]"),
        (lambda: CCA(0), "cca: dim is 0"),
        (lambda: CCA(powers=float("nan")), "cca: powers are"),
        (lambda: CCA(6).solve(moments(*related())), "the narrower side has 5 components"),
    ],
)
def test_bad_arguments(make, message: str) -> None:
    with pytest.raises(BadRecipe, match=message):
        make()


def test_sides_that_do_not_vary() -> None:
    x, y = related()
    with pytest.raises(BadData, match="cross-covariance of the two sides is zero"):
        Procrustes().solve(moments(x, 0 * y))
    with pytest.raises(BadData, match="one side is constant over the training pairs"):
        CCA().solve(moments(0 * x, y))


# On tables


def table(vectors: np.ndarray) -> Embeddings:
    return Embeddings(np.arange(len(vectors)).astype(str), vectors.astype(np.float32), {})


def many_to_many() -> tuple[Embeddings, Embeddings, Pairs]:
    """Two left items for each right one, shuffled, with unrelated pairs that must not count."""
    x, y = related(600, 12, 8, noise=0.2)
    order = np.random.default_rng(0).permutation(1200)
    left = np.concatenate([x, x + 0.1])[order]
    right_of = np.tile(np.arange(600), 2)[order]
    split = np.where(right_of < 400, "train", np.where(right_of < 500, "validation", "test"))
    rows = np.arange(1200)
    pairs = Pairs.of(np.append(rows, rows), np.append(right_of, 599 - right_of),
                     np.repeat([1, 0], 1200), np.append(right_of, right_of), np.append(split, split))  # fmt: skip
    return table(left), table(y), pairs


def heads(*specs) -> list:
    return [parts.make("heads", spec) for spec in specs]


def hit_at_1(fitted: fitting.Fitted, left: Embeddings, right: Embeddings, pairs: Pairs) -> float:
    test = pairs.where("test", label=1)
    z, candidates = head.project(fitted.left_head, left)[test.left], head.project(fitted.right_head, right)
    within = np.unique(test.right)
    return float(np.mean(within[(z @ candidates[within].T).argmax(1)] == test.right))


@pytest.mark.parametrize("objective", ["ridge", "procrustes", "cca"])
@pytest.mark.parametrize("right_head", ["identity", {"name": "pca", "rank": 6}, "mlp"])
def test_solve_settles_heads_that_retrieve(objective: str, right_head) -> None:
    left, right, pairs = many_to_many()
    fitted = fitting.solve(left, right, pairs, *heads("mlp", right_head), parts.make("objectives", objective))
    assert hit_at_1(fitted, left, right, pairs) > 0.5
    assert fitted.names["left"] == "linear" and fitted.notes["pairs"] == 800
    for one, vectors in ((fitted.left_head, left), (fitted.right_head, right)):
        np.testing.assert_allclose(np.linalg.norm(head.project(one, vectors), axis=1), 1, rtol=1e-5)


def test_solution_is_that_of_the_training_pairs() -> None:
    left, right, pairs = many_to_many()
    train = pairs.where("train", label=1)
    x, y = left.vectors[train.left].astype(np.float64), right.vectors[train.right].astype(np.float64)
    fitted = fitting.solve(left, right, pairs, *heads("linear", "linear"), Ridge(0.1))
    expected = Ridge(0.1).solve(moments(x, y))
    np.testing.assert_allclose(head.project(fitted.left_head, left), unit(expected.left(left.vectors)), atol=1e-5)
    np.testing.assert_allclose(head.project(fitted.right_head, right), unit(expected.right(right.vectors)), atol=1e-5)


def test_pca_on_the_right_is_what_the_left_is_solved_into() -> None:
    left, right, pairs = many_to_many()
    pca = {"name": "pca", "rank": 4}
    fitted = fitting.solve(left, right, pairs, *heads("linear", pca), Ridge(0.1, center=False))
    assert "right" not in fitted.names and type(fitted.right_head).__name__ == "PCA"
    centred = fitting.solve(left, right, pairs, *heads("linear", pca), Ridge(0.1))
    # Components are centred on the unique training rows, the pairs repeat each twice: the same mean.
    np.testing.assert_allclose(
        head.project(centred.right_head, right), head.project(fitted.right_head, right), rtol=0, atol=1e-4
    )


def test_many_float32_pairs_agree_with_scikit_learn_to_1e_6() -> None:
    x, y = related(100_000, 24, 16, noise=1.0)
    left, right = table(x), table(y)
    pairs = Pairs.of(np.arange(100_000), np.arange(100_000))
    fitted = fitting.solve(left, right, pairs, *heads("linear", "linear"), Ridge(0.1, center=False))
    x, y = left.vectors.astype(np.float64), right.vectors.astype(np.float64)
    penalty = 100_000 * 0.1 * x.var(0).mean()
    oracle = SklearnRidge(alpha=penalty).fit(x, y)
    found = fitted.left_head.affine().weight
    np.testing.assert_allclose(found, oracle.coef_.T, rtol=0, atol=1e-6 * np.abs(oracle.coef_).max())


def test_memory_mapped_and_in_memory_agree(tmp_path) -> None:
    left, right, pairs = many_to_many()
    np.save(tmp_path / "left.npy", left.vectors)
    mapped = Embeddings(left.ids, np.load(tmp_path / "left.npy", mmap_mode="r"), {})
    a, b = (fitting.solve(t, right, pairs, *heads("linear", "identity"), Ridge()) for t in (left, mapped))
    assert np.array_equal(head.project(a.left_head, left), head.project(b.left_head, left))


def test_one_table_is_solved_with_one_head() -> None:
    rng = np.random.default_rng(0)
    what, other = rng.standard_normal((300, 4)), rng.standard_normal((600, 8))
    mixing = rng.standard_normal((12, 12))
    vectors = np.hstack([np.repeat(what, 2, 0) + 0.03 * rng.standard_normal((600, 4)), 3 * other]) @ mixing
    even = np.arange(0, 600, 2)
    pairs = Pairs.of(even, even + 1, split=np.repeat(["train", "validation", "test"], 100), same_table=True)
    one = table(vectors)
    fitted = fitting.solve(one, one, pairs, *heads("linear", "linear"), CCA())
    assert fitted.left_head is fitted.right_head
    z, raw = head.project(fitted.left_head, one), unit(vectors - vectors.mean(0))

    def found(z: np.ndarray) -> float:
        score = z[400:] @ z[400:].T
        np.fill_diagonal(score, -np.inf)
        return float(np.mean(score.argmax(1) == np.arange(200) ^ 1))

    assert found(z) > 0.8 > 0.3 > found(raw)
    with pytest.raises(BadRecipe, match="both sides are one table here; type: objective=cca"):
        fitting.solve(one, one, pairs, *heads("linear", "linear"), Ridge())


def test_tied_cca_needs_a_positive_correlation() -> None:
    x = related()[0]
    x -= x.mean(0)
    both = moments(x, -x).update(-x, x)
    with pytest.raises(BadData, match="correlate positively in no direction"):
        CCA().solve_tied(both)


def test_a_head_without_training_that_is_not_linear() -> None:
    left, right, pairs = many_to_many()

    class Strange(torch.nn.Module, Head):
        trainable, arguments = False, {}

        def build(self, dim_in, stats=None, like=None):
            self.dim_in = self.dim = dim_in

    strange = Strange()
    with pytest.raises(BadRecipe, match=r"the Strange head is not trained and its affine\(\) is None"):
        fitting.solve(left, right, pairs, *heads("linear"), strange, Ridge())


def test_unusable_tables() -> None:
    left, right, pairs = many_to_many()
    ragged = Embeddings(np.array(["a"]), np.ones((5, 12), np.float32), {}, offsets=np.array([0, 5]))
    with pytest.raises(BadData, match="left items are sequences of frames, which no closed form takes"):
        fitting.solve(ragged, right, pairs, *heads("linear", "linear"), Ridge())
    with pytest.raises(BadData, match="no related pair"):
        fitting.solve(left, right, pairs.where(label=0), *heads("linear", "linear"), Ridge())


def test_a_relation_by_class_is_solved_as_all_its_pairs():
    """Classes of equal size: every pair of a class counts as often, so that the listed pairs are an oracle."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(24, 4)), rng.normal(size=(12, 3))
    code = np.arange(12) % 3
    left, right = (Embeddings(as_ids(np.arange(len(v))), v.astype(np.float32), {"name": "made"}) for v in (x, y))
    rows = np.arange(24)
    pairs = Pairs.of(rows, rows % 12, group=rows, split=["train"] * 24)
    by_class = replace(pairs, classes=Classes(code[rows % 12], code))
    i, j = np.nonzero(code[rows % 12][:, None] == code[None])
    every = Pairs.of(i, j, group=i, split=["train"] * len(i))
    found, expected = (closed_form.moments_between(left, right, one, None, None, ("xx", "yy", "xy"))
                       for one in (by_class, every))  # fmt: skip
    for name in ("mean_x", "mean_y", "cov_xx", "cov_yy", "cov_xy"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6, err_msg=name)
