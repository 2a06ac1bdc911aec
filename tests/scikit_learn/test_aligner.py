"""``sensorium.sklearn.Aligner``: scikit-learn's own checks, its pipelines and searches, and the numbers of its library."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from sensorium.errors import BadRecipe
from sensorium.sklearn import Aligner

#: Checks that cannot apply, and why. None: class labels, vectors and one number a row are all taken.
INAPPLICABLE: dict[str, str] = {}


def two(n=200, d=10, m=6, noise=0.3, seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, d))
    return x, x @ random.standard_normal((d, m)) + noise * random.standard_normal((n, m))


def check_id(check):
    return getattr(check, "func", check).__name__


@pytest.mark.parametrize(
    ("estimator", "check"), list(estimator_checks_generator(Aligner())), ids=lambda one: check_id(one) if callable(one) else ""
)  # fmt: skip
def test_scikit_learns_own_checks(estimator, check):
    name = check_id(check)
    if name in INAPPLICABLE:
        pytest.skip(INAPPLICABLE[name])
    if name == "check_array_api_input":
        pytest.skip("SCIPY_ARRAY_API is not set: the check itself skips without it")
    check(estimator)


def test_cca_finds_the_correlations_that_scikit_learn_finds():
    x, y = two(400, 8, 5, noise=1.0)
    ours = Aligner({"name": "cca", "dim": 3, "strengths": 1e-9, "powers": 0.0}, validation=0.0).fit(x, y)
    theirs = CCA(3, scale=False, max_iter=5000, tol=1e-12).fit(x, y)
    zx, zy = theirs.transform(x, y)
    expected = sorted(abs(np.corrcoef(zx[:, i], zy[:, i])[0, 1]) for i in range(3))
    own_x, own_y = (unnormalised(head, v) for head, v in ((ours.left_head_, x), (ours.right_head_, y)))
    found = sorted(abs(np.corrcoef(own_x[:, i], own_y[:, i])[0, 1]) for i in range(3))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def unnormalised(head, vectors):
    """The output before it is scaled to unit length."""
    import torch

    head.normalize = False
    with torch.inference_mode():
        return head(torch.from_numpy(vectors)).numpy()


def test_ridge_maps_onto_the_direction_of_ridge():
    x, y = two(300)
    ours = Aligner({"name": "ridge", "strengths": 1e-9}, validation=0.0).fit(x, y)
    expected = Ridge(alpha=1e-6).fit(x - x.mean(0), y - y.mean(0)).predict(x - x.mean(0))
    z = ours.transform(x)
    cosine = (z * expected).sum(1) / np.linalg.norm(z, axis=1) / np.linalg.norm(expected, axis=1)
    assert np.median(cosine) > 0.98


def test_score_is_the_mean_reciprocal_rank_and_predict_the_nearest_row():
    x, y = two()
    model = Aligner("ridge").fit(x[:150], y[:150])
    z, targets = model.transform(x[150:]), model.transform_y(y[150:])
    scores = z @ targets.T
    ranks = [1 + sum(scores[i] > scores[i, i]) for i in range(50)]
    assert model.score(x[150:], y[150:]) == pytest.approx(np.mean(1 / np.array(ranks)))
    nearest = (z @ model.transform_y(y[:150]).T).argmax(1)
    np.testing.assert_array_equal(model.predict(x[150:]), y[:150][nearest])
    chance = Aligner("ridge").fit(x[:150], np.random.default_rng(1).permutation(y[:150])).score(x[150:], y[150:])
    assert model.score(x[150:], y[150:]) > 0.8 > 0.4 > chance


@pytest.mark.parametrize(
    "labels", [np.array([0, 1, 2]), np.array(["ant", "bee", "cat"]), np.array([False, True, True])]
)
@pytest.mark.parametrize("objective", ["cca", "cross_entropy"])
def test_class_labels_are_predicted(labels, objective):
    random = np.random.default_rng(0)
    code = random.integers(0, 3, 180)
    x = np.eye(3)[code] @ random.standard_normal((3, 7)) * 3 + random.standard_normal((180, 7))
    y = labels[code]
    train = {"epochs": 20, "lr": 0.01} if objective == "cross_entropy" else None
    model = Aligner(objective, train=train, left={"head": {"name": "mlp", "hidden": 16}} if train else None).fit(
        x[:120], y[:120]
    )
    assert model.score(x[120:], y[120:]) > 0.8 and set(model.predict(x)) <= set(labels.tolist())
    with pytest.raises(ValueError, match="which is none of the fitted classes"):
        model.transform_y(np.array(["zebra"]) if labels.dtype.kind == "U" else np.array([7]))


def test_it_works_in_pipelines_and_searches():
    x, y = two()
    pipe = make_pipeline(StandardScaler(), Aligner())
    assert pipe.fit(x, y).score(x, y) > 0.5 and pipe.transform(x).shape == (200, 6)
    assert pipe.get_feature_names_out().tolist() == [f"aligner{i}" for i in range(6)]
    grid = {"aligner__objective": ["cca", "ridge"], "aligner__validation": [0.0, 0.2]}
    search = GridSearchCV(pipe, grid, cv=3).fit(x, y)
    assert search.best_score_ > 0.5 and search.best_params_["aligner__objective"] in ("cca", "ridge")
    narrow = GridSearchCV(Aligner(), {"dim": [1, 6]}, cv=3).fit(x, y)
    assert narrow.best_params_ == {"dim": 6} and narrow.best_estimator_.transform(x).shape == (200, 6)
    assert cross_val_score(Aligner("procrustes"), x, y, cv=3).min() > 0


def test_a_trained_objective_and_its_width():
    x, y = two()
    model = Aligner("infonce", dim=12, train={"epochs": 3}).fit(x, y)
    assert model.transform(x).shape == (200, 12) and model.score(x, y) > 0.1
    np.testing.assert_array_equal(clone(model).fit(x, y).transform(x), model.transform(x))  # one seed, one result
    assert np.abs(clone(model).set_params(seed=1).fit(x, y).transform(x) - model.transform(x)).max() > 1e-3
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(x), model.transform(x))


BAD = [
    ({"objective": "rigde"}, "no objective 'rigde'; did you mean 'ridge'?"),
    ({"objective": "ridge", "dim": 3}, "dim=3: 'ridge' maps X onto y; leave dim out, or take objective='cca'"),
    ({"left": {"encoder": "minilm"}}, "left: Aligner takes vectors and no encoder; encode first"),
    ({"left": "mlp"}, "left='mlp'; expected a section"),
    ({"train": {"epoch": 1}}, "no key 'train.epoch'; did you mean 'epochs'?"),
    ({"validation": 2}, "validation=2; expected a share"),
    ({"seed": -1}, "seed=-1; expected a whole number"),
    ({"dim": 0}, "dim is 0; expected at least 1"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD, ids=[str(p) for p, _ in BAD])
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(BadRecipe, match=message):
        Aligner(**parameters).fit(*two(40))


def test_bad_data_are_value_errors():
    x, y = two(40)
    model = Aligner("ridge").fit(x, y)
    with pytest.raises(ValueError, match="y has 2 columns; it was fitted on 6"):
        model.transform_y(y[:, :2])
    with pytest.raises(ValueError, match="y has 39 rows and X 40; expected as many"):
        model.score(x, y[1:])
    with pytest.raises(ValueError, match="holds the one class 1; expected 2 classes or more"):
        Aligner().fit(x, np.ones(40, int))


def test_without_scikit_learn_the_extra_is_named():
    code = "import sys; sys.modules['sklearn'] = None\nimport sensorium\ntry: sensorium.sklearn\nexcept Exception as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'sensorium[sklearn]'" in done.stdout, done.stderr
