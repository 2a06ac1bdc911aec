"""Fits of objective=auto: never below the best closed form on validation, within the time, right on poor data."""

import time
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import t as student
from training_data import train, views

import sensorium
from sensorium import heads, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting import TrainOptions, auto, mixing
from sensorium.fitting.budget import Budget
from sensorium.heads.mixture import Mixture
from sensorium.pairs import Pairs
from sensorium.pairs.classes import Classes
from sensorium.types import Embeddings

SMALL = {"name": "mlp", "hidden": 16, "dim": 8}
KERNEL = {"name": "cca", "dim": 8, "head": {"name": "random_features", "features": 64}}
TRAINED = [
    {"name": "infonce", "head": SMALL},
    {"name": "infonce", "head": {**SMALL, "hidden": 8}, "options": {"lr": 3e-3}},
]
NAMES = {"left": "mlp", "right": "mlp"}


def fitted(folder=None, data=None, keys=None, **options):
    own = {
        "closed": ["ridge", "cca", KERNEL],
        "trained": TRAINED,
        "most": 3,
        "least": 0,
        "powers": [1.0],
        "seconds": 0.0,
        **(keys or {}),
    }
    objective = parts.make("objectives", {"name": "auto", **own})
    given = {"epochs": 2, "batch": 128, "save_seconds": 30, **options}
    return train(folder, objective=objective, names=NAMES, **given, **({} if data is None else {"data": data}))


def test_the_result_is_never_below_the_best_closed_form_on_validation(tmp_path) -> None:
    found = fitted(tmp_path)
    rows, beside = found.notes["mixture"], found.notes["closed_form"]
    named = [row["member"] for row in rows]
    assert named[:3] == ["ridge", "cca", "cca (random_features)"] and len(rows) == 6
    assert named[3:5] == ["infonce (mlp, 16)", "infonce (mlp, 8)"] and named[5].endswith("seed 2")
    best = max(rows[:3], key=lambda row: row["validation"])
    assert beside["member"] == best["member"] and beside["validation"] == best["validation"]
    assert found.notes["validation"] >= best["validation"] - 1e-9
    assert isinstance(found.left_head, Mixture) and found.names == {"left": "mixture", "right": "mixture"}
    assert sum(row["weight"] for row in rows) == pytest.approx(1)
    z = heads.apply(found.left_head, views()[0].vectors[:4])
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    assert auto.summary(found.notes).startswith(("a mixture of", named[0], named[1], "cca", "infonce"))
    assert {"infonce-1-1", "infonce-2-1"} < {event["member"] for event in found.history}


def test_the_surest_closed_form_comes_first_where_there_is_one_second(tmp_path) -> None:
    found = fitted(tmp_path, keys={"closed": None, "trained": None, "seconds": 1e-6})
    assert [row["member"] for row in found.notes["mixture"]] == ["cca"] and found.notes["out_of_time"]


def test_few_pairs_get_the_closed_form_and_say_so(tmp_path) -> None:
    found = fitted(tmp_path, keys={"least": 10**6})
    rows = found.notes["mixture"]
    assert [row["member"] for row in rows] == ["ridge", "cca"] and not found.history
    assert found.notes["few"] > 0 and "training items are few: trained heads were not tried" in auto.summary(
        found.notes
    )


def two_noisy_members(seed: int, n: int = 12, noises: tuple[float, float] = (1.0, 1.0)) -> mixing.Board:
    """Two members whose scores have noise of their own, on as many validation groups as items."""
    random = np.random.default_rng(seed)
    pairs = Pairs.of(np.arange(n), np.arange(n), split=np.full(n, "validation"), group=np.arange(n))
    asked = [pairs.relevance(d, "validation") for d in ("left->right", "right->left")]
    table = Embeddings(np.arange(n).astype(str), np.zeros((n, 2), np.float32), {}, {})
    board = mixing.Board(table, table, ("left->right", "right->left"), asked, (), "MRR")
    for noise in noises:
        scores = 1.2 * np.eye(n) + noise * random.standard_normal((n, n))
        board.scores.append([scores.astype(np.float32), scores.T.astype(np.float32)])
        board.values.append(mixing.Measured(asked, board.scores[-1:], "MRR").value(np.ones(1)))
    return board


def test_a_mixture_must_be_better_by_a_standard_error() -> None:
    mixed = []
    for seed in range(12):
        board = two_noisy_members(seed, 40, (1.0, 1.8))
        best = int(np.argmax(board.values))
        found, beside = board.choose([best], 30)
        if "gain" in beside:
            error = (beside["gain"] - beside["low"]) / 1.96
            mixed.append(beside["gain"] >= error)
            assert (min(found.weights) > 0) == mixed[-1] == ("kept" not in beside)
            assert found.validation >= board.values[best]
    assert {True, False} == set(mixed)


def test_with_few_validation_groups_the_mixture_must_be_surely_better() -> None:
    board = two_noisy_members(0)
    free, beside = board.choose([0], 0)
    assert min(free.weights) > 0 and beside["gain"] > 0 > beside["low"]
    strict, kept = board.choose([0], 30)
    assert strict.weights == [1.0, 0.0] and kept["kept"] and strict.validation == board.values[0]


def test_with_three_validation_groups_the_interval_is_that_of_students_t() -> None:
    taken = []
    for seed in range(60):
        board = two_noisy_members(seed, 3, (0.6, 0.9))
        board.asked = [replace(asked, group=asked.group % 3) for asked in board.asked]
        best = int(np.argmax(board.values))
        found, beside = board.choose([best], 30)
        if beside.get("gain", 0.0) > 0:
            errors = 1.96 * beside["gain"] / (beside["gain"] - beside["low"])
            taken.append(errors)
            assert (min(found.weights) > 0) == (errors > student.ppf(0.975, 2))
    assert any(1.96 < errors < student.ppf(0.975, 2) for errors in taken)


def test_a_budget_of_one_second_gives_a_whole_result(tmp_path) -> None:
    started = time.monotonic()
    found = fitted(tmp_path, seconds=1.0, epochs=10**6)
    assert time.monotonic() - started < 20 and found.notes["out_of_time"]
    assert found.notes["validation"] is not None and isinstance(found.left_head, Mixture)


def test_the_loop_stops_in_time_at_a_learning_rate_near_zero(tmp_path, monkeypatch) -> None:
    ticks = count()  # a clock that each look at it moves by a hundredth of a second
    monkeypatch.setattr("sensorium.fitting.budget.time", SimpleNamespace(monotonic=lambda: 0.01 * next(ticks)))
    found = train(tmp_path, epochs=10**6, batch=128, seconds=0.6)
    assert found.notes["out_of_time"] and found.notes["stopped_early"] and found.notes["validation"] is not None
    rates = [event["lr"] for event in found.history]
    assert rates[-1] < 0.3 * max(rates) and found.history[-1]["step"] < 10**6


def test_ctrl_c_gives_the_best_so_far(tmp_path) -> None:
    def press(event):
        raise KeyboardInterrupt

    found = fitted(tmp_path, on_epoch=press)
    assert [row["member"] for row in found.notes["mixture"]] == ["ridge", "cca", "cca (random_features)"]
    assert found.notes["out_of_time"]


def test_budgets_end_with_what_they_are_parts_of() -> None:
    whole = Budget(100.0)
    part = whole.part(0.25)
    assert 24 < part.left() <= 25 and part.spent() < 0.1 and not part.over()
    part.stop()
    assert whole.over() and whole.left() == 0 and part.left() == 0
    free = Budget()
    assert free.left() == np.inf and free.part(0.5).left() == np.inf and free.spent() == 0
    assert Budget.of(0.0) is None and Budget.of(2.0).left() > 1


def test_a_class_table_gets_discriminants_and_logistic_regression() -> None:
    random = np.random.default_rng(3)
    n, c = 330, 3
    label = np.arange(n) % c
    x = (random.standard_normal((n, 6)) + 1.5 * np.eye(c, 6)[label]).astype(np.float32)
    left = Embeddings(np.arange(n).astype(str), x, {"name": "x"}, {})
    right = Embeddings(np.array(["a", "b", "c"]), np.eye(c, dtype=np.float32), {"name": "onehot"}, {})
    split = np.array(["train"] * 210 + ["validation"] * 60 + ["test"] * 60)
    pairs = Pairs.of(np.arange(n), label, split=split, group=np.arange(n))
    keys = {"closed": None, "trained": [], "least": 1}
    found = fitted(data=(left, right, pairs), keys=keys)
    rows = {row["member"]: row for row in found.notes["mixture"]}
    assert {"lda (posterior)", "logistic (posterior)", "knn (posterior)", "ridge (random_features)"} <= set(rows)
    test = pairs.where("test")
    scores = heads.apply(found.left_head, x[test.left]) @ heads.apply(found.right_head, right.vectors).T
    assert (scores.argmax(1) == test.right).mean() > 0.65
    from sklearn.linear_model import LogisticRegression

    train_rows = pairs.where("train").left
    z = (x - x[train_rows].mean(0)) / x[train_rows].std(0)
    oracle = LogisticRegression(C=1 / (0.01 * len(train_rows)), tol=1e-8, max_iter=1000).fit(
        z[train_rows], label[train_rows]
    )
    solution = parts.make("objectives", {"name": "logistic", "strengths": 0.01}).solve_items(left, right, pairs)
    mine = solution.left(x.astype(np.float64))
    shift = mine - z @ oracle.coef_.T - oracle.intercept_
    np.testing.assert_allclose(shift - shift.mean(1, keepdims=True), 0, atol=2e-3)


def test_a_validation_split_of_one_class_chooses_nothing_and_the_run_says_so() -> None:
    random = np.random.default_rng(3)
    label = np.concatenate([np.arange(90) % 3, np.zeros(30, np.int64), np.arange(30) % 3])
    x = (random.standard_normal((150, 6)) + 2 * np.eye(3, 6)[label]).astype(np.float32)
    left = Embeddings(np.arange(150).astype(str), x, {"name": "x"}, {})
    right = Embeddings(np.array(["a", "b", "c"]), np.eye(3, dtype=np.float32), {"name": "onehot"}, {})
    split = np.repeat(["train", "validation", "test"], [90, 30, 30])
    pairs = Pairs.of(np.arange(150), label, split=split, group=np.arange(150))
    found = fitted(data=(left, right, pairs), keys={"closed": None, "trained": None, "least": 1})
    assert [row["member"] for row in found.notes["mixture"]] == ["logistic (posterior)"]
    assert found.notes["unjudged"] and not found.history
    assert found.notes["said"] == (
        "logistic (posterior) alone, as in the validation split every candidate is right, so that nothing can be chosen "
        "by it"
    )
    scores = heads.apply(found.left_head, x[120:]) @ heads.apply(found.right_head, right.vectors).T
    assert (scores.argmax(1) == label[120:]).mean() > 0.8


def test_a_validation_split_of_one_label_chooses_nothing() -> None:
    random = np.random.default_rng(3)
    label = np.concatenate([np.arange(90) % 3, np.zeros(30, np.int64), np.arange(30) % 3])
    rows = np.arange(150)
    left, right = (
        Embeddings(rows.astype(str), (random.standard_normal((150, 6)) + 2 * np.eye(3, 6)[label]).astype(np.float32),
                   {"name": "x"}, {}) for _ in range(2))  # fmt: skip
    pairs = Pairs.of(rows, rows, split=np.repeat(["train", "validation", "test"], [90, 30, 30]))
    pairs = replace(pairs, classes=Classes(label, label))
    found = fitted(data=(left, right, pairs), keys={"closed": None, "trained": None, "least": 1})
    assert found.notes["unjudged"] and [row["member"] for row in found.notes["mixture"]] == ["logistic (posterior)"]
    assert "logistic (posterior) alone, as in the validation split every candidate is right" in found.notes["said"]


def test_frames_get_a_seed_ensemble_of_the_recipes_heads() -> None:
    random = np.random.default_rng(0)
    n = 90
    label = np.arange(n) % 3
    frames = (random.standard_normal((4 * n, 5)) + 2 * np.eye(3, 5)[np.repeat(label, 4)]).astype(np.float32)
    left = Embeddings(np.arange(n).astype(str), frames, {"name": "x"}, {}, 4 * np.arange(n + 1))
    right = Embeddings(np.array(["a", "b", "c"]), np.eye(3, dtype=np.float32), {"name": "onehot"}, {})
    pairs = Pairs.of(np.arange(n), label, split=np.array(["train"] * 60 + ["validation"] * 30), group=np.arange(n))
    both = (
        parts.make("heads", {"name": "lstm", "hidden": 8}),
        parts.make("heads", {"name": "identity", "normalize": False}),
    )
    objective = parts.make("objectives", {"name": "auto", "most": 2})
    found = train(None, data=(left, right, pairs), heads=both, objective=objective, seconds=20.0, epochs=30, lr=1e-2,
                  names={"left": "lstm", "right": "identity"})  # fmt: skip
    own = parts.make("objectives", {"name": "auto", "own": {"name": "infonce", "temperature": 0.3}})
    assert auto.of_frames(left, right, pairs, both[1], own).temperature == pytest.approx(0.3)
    assert found.notes["members"] == 2 and found.names == {"left": "ensemble"}
    assert found.notes["validation"] > 0.75


def test_one_table_gets_one_head() -> None:
    left, _, pairs = views()
    tied = Pairs.of(pairs.left, (pairs.left + 1) % len(left), split=pairs.split, same_table=True)
    found = fitted(data=(left, left, tied), keys={"closed": None, "trained": [], "least": 10**6})
    assert found.left_head is found.right_head


def test_equal_vectors_are_refused_and_all_equal_labels_are_no_classes() -> None:
    left, right, pairs = views()
    flat = replace(right, vectors=np.ones((len(right), right.dim), np.float32))
    with pytest.raises(BadData, match=r"all [\d,]+ right vectors of the training pairs are equal"):
        fitted(data=(left, flat, pairs))
    one = Pairs.of(np.arange(len(left)), np.zeros(len(left), np.int64), split=np.full(len(left), "train"))
    with pytest.raises(BadData, match="no member applies to these data; logistic: "):
        fitted(data=(left, right, one), keys={"closed": ["lda", "logistic"], "trained": []})


def test_more_numbers_than_rows_and_ten_rows(tmp_path) -> None:
    random = np.random.default_rng(0)
    for n in (60, 10):
        z = random.standard_normal((n, 4))
        both = [(z @ random.standard_normal((4, d))).astype(np.float32) for d in (90, 70)]
        np.savez(tmp_path / f"{n}.npz", left=both[0], right=both[1])
        keys = [f"data.file={tmp_path / f'{n}.npz'}", "objective=auto", "evaluate.plots=false", "evaluate.resamples=20"]
        run = sensorium.run("arrays", keys, out=tmp_path / str(n), quiet=True)
        assert run.metrics["fit"]["few"] == n - 2 * max(1, n // 10)
        assert len(run.search(vector=both[0][0], k=2)) == 2
        assert ("numbers say nothing" in run.metrics["verdict"]) == (n == 10)
    assert "trained heads were not tried" in (tmp_path / "60" / "README.md").read_text()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"closed": "cca"}, "closed='cca'; expected a list"),
        ({"closed": ["infonce"]}, r"objective.closed\[0\]: 'infonce' is trained; name it in objective.trained"),
        ({"trained": ["cca"]}, r"objective.trained\[0\]: 'cca' is a closed form; name it in objective.closed"),
        ({"closed": [], "trained": []}, "expected one objective at least"),
        ({"closed": ["auto"]}, "a mixture cannot be a member"),
        ({"most": 101}, "most=101; expected 0 to 100"),
        ({"most": -1}, "most=-1; expected 0 to 100"),
        ({"least": -1}, "least=-1; expected 0 to 1,000,000,000"),
        ({"seconds": -1.0}, "seconds=-1.0; expected 0 to 1,000,000,000"),
        ({"powers": [0.0]}, "powers"),
        ({"trained": [{"name": "infonce", "options": 3}]}, "options=3; expected keys of .train."),
    ],
)
def test_misuse(keys, message) -> None:
    with pytest.raises(BadRecipe, match=message):
        parts.make("objectives", {"name": "auto", **keys})


def test_options_that_it_does_not_take() -> None:
    with pytest.raises(
        BadRecipe, match="objective=auto counts seeds by member: type: train.members=1, and set objective.most=20"
    ):
        fitted(members=2)
    with pytest.raises(BadRecipe, match="seconds"):
        TrainOptions(seconds=-1.0)
    with pytest.raises(BadRecipe, match="strengths"):
        parts.make("objectives", {"name": "logistic", "strengths": 0.0})


def test_logistic_regression_ends_with_its_time() -> None:
    random = np.random.default_rng(0)
    code = np.arange(400) % 4
    x = (random.standard_normal((4, 30))[code] + random.standard_normal((400, 30))).astype(np.float32)
    table = Embeddings(np.array([f"k{i}" for i in range(400)]), x, {"encoder": "made"})
    rows = np.arange(400)
    split = ["train"] * 300 + ["validation"] * 100
    pairs = replace(Pairs.of(rows, rows, split=split), classes=Classes(code, code))
    whole = parts.make("objectives", "logistic")
    short = parts.make("objectives", "logistic")
    asked = []
    short.seconds_left = lambda: asked.append(1) or 0.0
    found, full = short.solve_items(table, table, pairs), whole.solve_items(table, table, pairs)
    assert list(found.notes["left"]["tried"]) == [0.3] and len(full.notes["left"]["tried"]) == 5
    assert len(asked) == 4  # once a side after five rounds, and once before another strength
    right = (found.left(x).argmax(1) == code).mean()
    assert 0.8 < right <= (full.left(x).argmax(1) == code).mean() + 0.02
