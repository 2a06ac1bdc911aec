"""Members of objective=auto: the recipe's own heads, seeds as one choice, one head that learns from them, the time."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from training_data import assert_same_bits, train, views

from sensorium import heads, parts
from sensorium import recipe as recipes
from sensorium.errors import BadRecipe
from sensorium.fitting import TrainOptions, mixing, mixture, tried
from sensorium.fitting.budget import Budget
from sensorium.fitting.validation import Once
from sensorium.heads.linear import Linear
from sensorium.heads.mixture import Mixture
from sensorium.heads.mlp import MLP
from sensorium.numerics.moments import InputStats
from sensorium.objectives import _members
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

NAMES = {"left": "mlp", "right": "mlp"}
OWN = {"name": "infonce"}
NOISY = {"name": "infonce", "head": {"input_dropout": 0.2}}


def small():
    return MLP(dim=8, hidden=16, dropout=0.1), MLP(dim=8, hidden=16)


def fitted(folder=None, keys=None, both=None, **options):
    own = {"closed": ["ridge", "cca"], "trained": [OWN, NOISY], "most": 3, "least": 0, "powers": [1.0], "seconds": 0.0}
    objective = parts.make("objectives", {"name": "auto", **own, **(keys or {})})
    given = {"epochs": 2, "batch": 128, "save_seconds": 30, **options}
    return train(folder, objective=objective, names=NAMES, heads=both or small(), **given)


def test_the_recipes_own_heads_are_members_with_their_seeds(tmp_path) -> None:
    found = fitted(tmp_path)
    named = [row["member"] for row in found.notes["mixture"]]
    assert named[:4] == ["ridge", "cca", "infonce (own heads)", "infonce (own heads, input_dropout 0.2)"]
    assert named[4].endswith(", seed 2") and named[4].removesuffix(", seed 2") in named
    kept = [row for row in found.notes["mixture"] if row["weight"] > 0]
    specs = found.left_head.arguments["members"]
    assert [spec["name"] for spec in specs] == ["linear" if "own" not in row["member"] else "mlp" for row in kept]
    assert all(spec["hidden"] == 16 for spec in specs if spec["name"] == "mlp")


def test_without_a_limit_of_time_the_result_repeats_to_the_bit(tmp_path) -> None:
    one, other = (fitted(tmp_path / name) for name in "ab")
    assert_same_bits(one, other)
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in of.notes["mixture"]] for of in (one, other)]
    assert rows[0] == rows[1] and not one.notes.get("out_of_time")


def test_its_first_member_is_the_recipes_own_fit(tmp_path) -> None:
    left = views()[0]
    alone = train(None, heads=small(), objective=parts.make("objectives", OWN), epochs=2, batch=128)
    found = fitted(keys={"closed": [], "trained": [OWN], "most": 1})
    z = [heads.apply(of.left_head, left.vectors) for of in (alone, found)]
    np.testing.assert_array_equal(z[0], z[1])


def test_members_that_do_not_apply_or_repeat_another_are_left_out() -> None:
    found = fitted(keys={"trained": [OWN, NOISY, OWN], "most": 2}, both=(Linear(dim=8), Linear(dim=8)))
    assert found.notes["left_out"] == {
        "infonce (own heads, input_dropout 0.2)": "the Linear head takes no 'input_dropout'",
        "infonce (own heads)": "the same as infonce (own heads)",
    }
    fixed = tuple(parts.make("heads", "identity") for _ in range(2))
    left, right, pairs = views()
    same = Embeddings(right.ids, left.vectors[:, ::-1].copy(), right.fingerprint)
    objective = parts.make("objectives", {"name": "auto", "closed": ["cca"], "trained": [OWN], "least": 0})
    found = train(
        None, data=(left, same, pairs), heads=fixed, objective=objective, names=dict.fromkeys(NAMES, "identity")
    )
    assert found.notes["left_out"] == {"infonce (own heads)": "the recipe's own heads are not trained"}


def test_input_dropout_is_of_the_wider_side_where_one_is_much_wider() -> None:
    objective = parts.make("objectives", {"name": "auto"})
    pairs = Pairs.of(np.arange(4), np.arange(4))
    for widths, expected, name in (
        ((9, 3), (0.3, None), "left input_dropout 0.3"),
        ((3, 9), (None, 0.3), "right input_dropout 0.3"),
        ((5, 4), (0.3, 0.3), "input_dropout 0.3"),
    ):
        left, right = (Embeddings(np.arange(4).astype(str), np.ones((4, w), np.float32), {}) for w in widths)
        noisy = [one for one in objective.chosen(left, right, pairs) if not one.objective.closed_form][1]
        both = mixture.heads_of(noisy, *small(), False)
        assert tuple(head.arguments["input_dropout"] for head in both) == expected
        assert tried.called_of(noisy) == f"infonce (own heads, {name})"


def test_keys_of_the_recipes_own_heads_change_trained_ones_alone() -> None:
    member = _members.member(NOISY, "objective.trained[0]")
    left, right = mixture.heads_of(member, MLP(dim=8, hidden=16), parts.make("heads", "identity"), False)
    assert left.arguments["input_dropout"] == 0.2 and left.arguments["hidden"] == 16
    assert right.arguments == parts.make("heads", "identity").arguments
    with pytest.raises(BadRecipe, match="is solved exactly"):
        _members.member({"name": "cca", "head": {"input_dropout": 0.2}}, "objective.closed[0]")


def test_the_recipes_own_objective_is_kept_and_comes_first() -> None:
    plan = recipes.load("glyphs", ["objective=auto"])
    objective = plan.part("objective")
    assert plan.values["objective"]["own"] == {"name": "infonce", "temperature": 0.1}
    assert recipes.load(plan.values).hash == plan.hash
    trained = [member for member in objective.members if not member.objective.closed_form]
    assert trained[0].head is None and not trained[0].options and objective.own.temperature == pytest.approx(0.1)
    heads_of = {"own" if mixture.own_heads(one) else "named": one.objective.temperature for one in trained}
    assert heads_of == {"own": pytest.approx(0.1), "named": pytest.approx(0.07)}
    assert "own" not in recipes.load("glyphs", ["objective=ridge", "objective=auto"]).values["objective"]
    assert "own" not in recipes.load("arrays", ["data.file=x.npz"]).values["objective"]
    kept = recipes.load("glyphs", ["objective=siglip", "objective=auto"])
    assert kept.values["objective"]["own"] == {"name": "siglip"}


def test_the_fit_of_the_recipes_own_objective_is_the_recipes() -> None:
    left = views()[0]
    own = {"name": "infonce", "temperature": 0.2}
    alone = train(None, heads=small(), objective=parts.make("objectives", own), epochs=2, batch=128)
    found = fitted(keys={"closed": [], "trained": None, "own": own, "most": 1})
    z = [heads.apply(of.left_head, left.vectors) for of in (alone, found)]
    np.testing.assert_array_equal(z[0], z[1])


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("infonce", "own='infonce'; expected an objective with its keys, such as '{name = \"infonce\", temperature"),
        ({"temperature": 0.1}, "own={'temperature': 0.1}; expected an objective with its keys"),
        ({"name": "cca"}, "objective.own: 'cca' is no trained objective; expected one, such as infonce"),
        ({"name": "auto"}, "objective.own: 'auto' is no trained objective; expected one, such as infonce"),
        ({"name": "infonce", "temperatur": 0.1}, "temperatur"),
    ],
)
def test_what_is_no_objective_of_ones_own_is_refused(own, message) -> None:
    with pytest.raises(BadRecipe, match=re.escape(message)):
        parts.make("objectives", {"name": "auto", "own": own})


def test_input_statistics_come_from_the_pairs_where_all_items_count_alike() -> None:
    left, right, pairs = views()
    twice = pairs.take(np.concatenate([np.arange(len(pairs)), np.flatnonzero(pairs.split == "train")]))
    more = pairs.take(np.concatenate([np.arange(len(pairs)), np.arange(3)]))
    for of, alike in ((pairs, True), (twice, True), (more, False)):
        one = tried.Tried(left, right, of, small(), TrainOptions(), Budget(), 0, NAMES, False)
        one.begin(None, SimpleNamespace(events=[]), dict.fromkeys(NAMES, 1.0), 1, False)
        one.solve(_members.member("cca", "x"))
        rows = pairs.where("train").left
        for side, table in enumerate((left, right)):
            assert (one._of_moments(of.where("train").left, side) is not None) == alike
            found, expected = one._statistics(table, side), InputStats.of(table.vectors, rows)
            assert found.n == expected.n
            np.testing.assert_allclose(found.mean, expected.mean, atol=1e-10)
            np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-10)


def test_rows_that_both_directions_read_are_projected_once() -> None:
    asked = []
    once = Once(lambda side, rows: asked.append(side) or np.eye(9)[rows])
    rows = np.array([3, 1])
    np.testing.assert_array_equal(once(0, rows), once(0, rows.copy()))
    assert once(1, rows).shape == (2, 9) and once(0, rows[:1]).shape == (1, 9) and asked == [0, 1, 0]


def test_one_head_learns_from_the_mixture(tmp_path) -> None:
    found = fitted(tmp_path, keys={"closed": ["cca"], "trained": [OWN]}, distill=True, epochs=30)
    notes = found.notes
    assert notes["distilled"] and isinstance(found.left_head, MLP) and found.left_head.dim == 8
    assert isinstance(found.ensemble["left"][0], Mixture) and found.ensemble["left"][1] == "mixture"
    assert notes["ensemble_validation"] >= max(row["validation"] for row in notes["mixture"]) - 0.02
    assert notes["validation"] > 0.25 * notes["ensemble_validation"]
    assert "one head learned from it" in notes["said"] and found.history[-1]["member"] in ("distilled", "all")


def test_a_head_that_learned_too_little_is_not_taken(tmp_path) -> None:
    found = fitted(tmp_path, distill=True, epochs=1, lr=1e-6)
    notes = found.notes
    values = {row["member"]: row["validation"] for row in notes["mixture"]}
    assert notes["instead"] == max(values, key=values.get) and notes["validation"] == max(values.values())
    assert notes["learned_validation"] < 0.5 * notes["validation"] and "alone is taken" in notes["said"]
    assert len(found.left_head.arguments["members"]) == 1 and found.names == {"left": "mixture", "right": "mixture"}
    assert isinstance(found.ensemble["left"][0], Mixture)


def test_a_closed_form_alone_is_one_head_already(tmp_path) -> None:
    found = fitted(tmp_path, keys={"least": 10**6, "closed": ["cca"]}, distill=True)
    assert "distilled" not in found.notes and isinstance(found.left_head, Mixture) and not found.ensemble


def board(scores, n):
    pairs = Pairs.of(np.arange(n), np.arange(n), split=np.full(n, "validation"), group=np.arange(n))
    asked = [pairs.relevance(d, "validation") for d in ("left->right", "right->left")]
    return mixing.Measured(asked, [[s, s.T] for s in scores], "MRR")


def test_seeds_are_one_choice_and_weights_are_drawn_towards_equal_ones() -> None:
    random = np.random.default_rng(0)
    n = 150
    made = [(1.5 * np.eye(n) + random.standard_normal((n, n))).astype(np.float32) for _ in range(4)]
    useless = random.standard_normal((n, n)).astype(np.float32)
    measured = board([*made, useless], n)
    counts = measured.select([[1, 2, 3]])
    assert counts[1] == counts[2] == counts[3] > 0 and counts[4] == 0
    assert measured.value(counts) >= max(measured.value(one) for one in np.eye(5))
    free = measured.select()
    assert free[4] == 0 and np.count_nonzero(free) >= 3
    alone = board([made[0], useless], n).select()
    assert alone.tolist() == [1.0, 0.0]


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is moved."""
    now = SimpleNamespace(now=0.0)
    now.monotonic = lambda: now.now
    monkeypatch.setattr("sensorium.fitting.budget.time", now)
    monkeypatch.setattr("sensorium.fitting.tried.time", now)
    return now


@pytest.mark.parametrize(
    ("seconds", "tried_members", "fits"), [(100.0, 3, 10), (45.0, 2, 4), (30.0, 2, 3), (12.0, 2, 2)]
)
def test_how_the_time_is_divided(clock, monkeypatch, seconds, tried_members, fits) -> None:
    """Fits of 10 s each: all members are tried where there is time for repeats, else the best is repeated."""
    left, right, pairs = views()
    one = tried.Tried(left, right, pairs, small(), TrainOptions(), Budget(seconds), 0, NAMES, False)
    log = SimpleNamespace(events=[])
    one.begin(None, log, dict.fromkeys(NAMES, 1.0), 20, False)
    begun = []

    def fit(turn, both, names, objective, options, seed, called, budget):
        begun.append((called, round(budget.left(), 6)))
        clock.now += min(10.0, budget.left())
        return train(None, heads=both, objective=objective, epochs=1, seed=seed)

    monkeypatch.setattr(tried.Fits, "one", lambda self, *given: fit(*given))
    one.train([_members.member({**OWN, "learnable": k > 0, "temperature": 0.07 + k / 100}, "x") for k in range(3)], 20)
    assert len(one.of) == tried_members and len(begun) == fits == len(one.done)
    assert begun[0] == ("infonce-1-1", seconds / 2) and clock.now <= seconds + 1e-6
    assert sum(len(of) for of in one.of.values()) == fits


def test_a_noisy_member_is_repeated_first_unless_it_is_surely_worse(clock) -> None:
    left, right, pairs = views()
    one = tried.Tried(left, right, pairs, small(), TrainOptions(), Budget(), 0, NAMES, False)
    one.begin(None, SimpleNamespace(events=[]), dict.fromkeys(NAMES, 1.0), 20, False)
    n = len(pairs.where("validation"))
    trained = [_members.member(spec, "x") for spec in (OWN, NOISY, {**OWN, "learnable": True})]
    for noise, orders in ((1.0, [1, 0, 2]), (3.0, [0, 2, 1])):
        one.board.scores, one.board.values = [], []
        for k, of in enumerate((1.0, noise, 1.2)):
            scores = (3 * np.eye(n) + of * np.random.default_rng(k).standard_normal((n, n))).astype(np.float32)
            one.board.scores.append([scores, scores.T])
            one.board.values.append(mixing.Measured(one.board.asked, one.board.scores[-1:], "MRR").value(np.ones(1)))
        one.board.values[0] += 0.01 * (noise == 1.0)  # the best, by less than its interval
        one.done, one.of = [None] * 3, {k: [k] for k in range(3)}
        assert one._order(trained) == orders


def test_the_input_dropout_of_the_fused_step_is_that_of_the_module() -> None:
    """Its expectation is the input, each number is kept or zero, and evaluation has none."""
    from sensorium.fitting.fused import FusedStep
    from sensorium.fitting.weights import Weights
    from sensorium.objectives.infonce import InfoNCE

    head = MLP(dim=3, hidden=4, activation="relu", preprocess="none", normalize=False, input_dropout=0.25)
    head.build(6)
    with torch.no_grad():
        for layer in head.layers:
            layer.weight.fill_(1.0)
            layer.bias.fill_(0.0)
    modules = [head, head, InfoNCE()]
    weights = Weights(modules, 0.0, 0.0, torch.device("cpu"), {})
    step = FusedStep(modules, weights, TrainOptions(), torch.float32)
    torch.manual_seed(0)
    x = torch.ones(4000, 6)
    z = step.outputs(SimpleNamespace(left=x.clone(), right=x.clone()))[0][:, 0]
    kept = z / 4 * 0.75  # of the six numbers of a row, all of which reach each hidden unit
    assert torch.allclose(kept, kept.round(), atol=1e-3) and set(kept.round().int().tolist()) <= set(range(7))
    assert abs(kept.mean().item() / 6 - 0.75) < 0.01
    head.train()
    own = head(torch.ones(4000, 6))[:, 0] / 4 * 0.75
    assert abs(own.mean().item() / 6 - 0.75) < 0.01 and own.std().item() > 0.5
    head.eval()
    assert torch.equal(head(torch.ones(2, 6)), torch.full((2, 3), 24.0))
    with pytest.raises(BadRecipe, match="input_dropout is 1.0; expected a probability from 0 to below 1"):
        MLP(input_dropout=1.0)


def test_perceptrons_of_wide_inputs_are_trained_on_components_and_written_back() -> None:
    left, _, pairs = views()
    values = np.linalg.svd(_standardised(left, pairs), full_matrices=False)[1] ** 2
    held = (values[:5].sum() + values[:6].sum()) / 2 / values.sum()
    keys = {"closed": [], "trained": [{**OWN, "variance": float(held)}], "most": 1}
    for residual in (False, True):
        both = tuple(MLP(dim=8, hidden=16, residual=residual) for _ in NAMES)
        found = fitted(keys=keys, both=both, epochs=6)
        head = found.left_head.members[0]
        assert head.dim_in == 24 and head.arguments["preprocess"] == "none" and found.notes["validation"] > 0.1
        x = np.asarray(left.vectors)[pairs.where("train").left]
        z = (x - x.mean(0)) / x.std(0)
        basis = np.linalg.svd(z, full_matrices=False)[2]
        away = x + (np.random.default_rng(0).standard_normal((len(x), 18)) @ basis[6:] * x.std(0)).astype(np.float32)
        np.testing.assert_allclose(heads.apply(head, x), heads.apply(head, away), atol=2e-3)
        inside = x + ((2 * np.ones((len(x), 5))) @ basis[:5] * x.std(0)).astype(np.float32)
        assert np.abs(heads.apply(head, x) - heads.apply(head, inside)).max() > 0.05
    whole = fitted(keys={**keys, "trained": [{**OWN, "variance": 0.999}]}, epochs=1)
    assert whole.left_head.members[0].arguments["preprocess"] == "standardize"
    with pytest.raises(BadRecipe, match=r"variance=-1; expected a share from 0 to 1, such as 0.92"):
        _members.member({**OWN, "variance": -1}, "objective.trained[0]")


def _standardised(table, pairs):
    x = np.asarray(table.vectors)[pairs.where("train").left]
    return (x - x.mean(0)) / x.std(0)
