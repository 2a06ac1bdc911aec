"""CCA where a relation by class leaves one or two components: scores that do not tie, against scikit-learn's LDA."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from sensorium import heads, parts
from sensorium.fitting import TrainOptions, closed_form
from sensorium.fitting.auto import fit
from sensorium.heads.mlp import MLP
from sensorium.objectives.cca import CCA
from sensorium.pairs import Pairs
from sensorium.pairs.classes import Classes
from sensorium.types import Embeddings, as_ids

N = 900
SPLITS = np.array(["train"] * 400 + ["validation"] * 200 + ["test"] * 300)


def made(shares: tuple[float, ...], apart: float = 2.5, seed: int = 0):
    """Two tables whose rows are related by class, with classes of these shares; and the classes."""
    random = np.random.default_rng(seed)
    code = random.choice(len(shares), N, p=shares)
    tables = []
    for d in (12, 9):
        means = np.linalg.qr(random.standard_normal((d, d)))[0][: len(shares)] * apart
        spread = random.standard_normal((d, d)) / 3 + np.eye(d)
        x = means[code] @ spread + random.standard_normal((N, d)) @ spread
        tables.append(Embeddings(as_ids(np.arange(N)), x.astype(np.float32), {"name": f"made {d}"}))
    rows = np.arange(N)
    pairs = Pairs.of(rows, rows, group=rows, split=SPLITS.tolist())
    return *tables, Pairs(**{**vars(pairs), "classes": Classes(code, code)}), code


def precision(score: np.ndarray, query: np.ndarray, candidate: np.ndarray, k: int = 10) -> float:
    """Of the first k, which rank by scores (q, m); those of equal scores count as wrong ones first."""
    order = np.lexsort((query[:, None] == candidate[None], -score))[:, :k]
    return float((candidate[order] == query[:, None]).mean())


def of_discriminants(left, right, code: np.ndarray) -> np.ndarray:
    """The probability of one class, by scikit-learn's LDA of each side with classes counting alike."""
    train, test = SPLITS == "train", SPLITS == "test"
    share = np.full(len(np.unique(code)), 1 / len(np.unique(code)))
    sides = []
    for table in (left, right):
        one = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.01, priors=share)
        sides.append(one.fit(table.vectors[train].astype(np.float64), code[train]).predict_proba(table.vectors[test]))
    return sides[0] @ sides[1].T


def solved(left, right, pairs, objective=None):
    fitted = closed_form.solve(left, right, pairs, None, None, objective or CCA())
    test = np.flatnonzero(SPLITS == "test")
    z = (heads.apply(h, t.vectors, test) for h, t in ((fitted.left_head, left), (fitted.right_head, right)))
    return fitted, *z


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.85, 0.15), (0.4, 0.35, 0.25)])
@pytest.mark.parametrize("validated", [True, False])
def test_it_ranks_as_well_as_discriminants(shares, validated: bool) -> None:
    left, right, pairs, code = made(shares)
    asked = pairs if validated else pairs.take(np.flatnonzero(pairs.split != "validation"))
    fitted, x, y = solved(left, right, asked)
    of = code[SPLITS == "test"]
    wanted = of_discriminants(left, right, code)
    for score, expected in ((x @ y.T, wanted), (y @ x.T, wanted.T)):
        assert precision(score, of, of) >= precision(expected, of, of) - 0.03
        assert precision(score, of, of) > 0.8
    assert fitted.notes["scores_by"] == "size"


def test_of_two_classes_candidates_are_in_the_order_of_discriminants() -> None:
    left, right, pairs, code = made((0.5, 0.5))
    train, test = SPLITS == "train", SPLITS == "test"
    _, x, y = solved(left, right, pairs, CCA(strengths=1e-6))
    one = LinearDiscriminantAnalysis(solver="lsqr").fit(right.vectors[train].astype(np.float64), code[train])
    expected = one.decision_function(right.vectors[test])
    for score in x @ y.T:
        order = abs(np.corrcoef(np.argsort(np.argsort(score)), np.argsort(np.argsort(expected)))[0, 1])
        assert order > 0.999
        assert len(np.unique(score)) > 0.99 * len(score)


def test_of_one_number_each_the_nearest_is_found() -> None:
    random = np.random.default_rng(3)
    z = random.standard_normal((300, 1))
    tables = [Embeddings(as_ids(np.arange(300)), (s * (z + 1e-3 * random.standard_normal(z.shape))).astype(np.float32),
                         {"name": "made"}) for s in (1.0, -4.0)]  # fmt: skip
    rows = np.arange(300)
    pairs = Pairs.of(rows, rows, split=["train"] * 200 + ["test"] * 100)
    fitted = closed_form.solve(*tables, pairs, None, None, CCA())
    x, y = (heads.apply(h, t.vectors, rows[200:]) for h, t in
            zip((fitted.left_head, fitted.right_head), tables, strict=True))  # fmt: skip
    best = np.argmax(x @ y.T, 1)
    assert np.median(abs(z[200 + best, 0] - z[200:, 0])) < 0.02
    assert fitted.notes["scores_by"] == "distance"


def test_one_table_has_one_head() -> None:
    left, _, pairs, _ = made((0.5, 0.5))
    tied = Pairs(**{**vars(pairs), "right": np.roll(pairs.right, 1), "same_table": True})
    fitted = closed_form.solve(left, left, tied, None, None, parts.make("objectives", "cca"))
    assert fitted.left_head is fitted.right_head
    z = heads.apply(fitted.left_head, left.vectors, np.flatnonzero(SPLITS == "test"))
    score = z @ z.T
    assert len(np.unique(np.round(score[0], 6))) > 0.9 * len(score)


def test_auto_of_two_classes_keeps_no_member_whose_scores_tie() -> None:
    left, right, pairs, code = made((0.6, 0.4), apart=1.5)
    objective = parts.make("objectives", {"name": "auto", "trained": [], "seconds": 0.0})
    fitted = fit(left, right, pairs, MLP(dim=4, hidden=8), MLP(dim=4, hidden=8), objective, TrainOptions(),
                 names={"left": "mlp", "right": "mlp"})  # fmt: skip
    kept = [row for row in fitted.notes["mixture"] if row["weight"] > 0]
    assert min(row["validation"] for row in kept) > 0.5
    assert next(row for row in fitted.notes["mixture"] if row["member"] == "cca")["validation"] > 0.5
    test = np.flatnonzero(SPLITS == "test")
    x, y = (heads.apply(h, t.vectors, test) for h, t in ((fitted.left_head, left), (fitted.right_head, right)))
    of = code[test]
    for score in (x @ y.T, y @ x.T):
        assert precision(score, of, of) >= precision(of_discriminants(left, right, code), of, of) - 0.05
        assert np.mean([len(np.unique(row)) for row in score]) > 0.9 * len(score)
