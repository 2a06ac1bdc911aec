"""Fits of objective=mixture: weights by exact ranks on validation, members as fitted alone, runs cut and gone on with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_data import assert_same_bits, train, views

import sensorium
from sensorium import heads, parts, scores
from sensorium.errors import BadRecipe
from sensorium.evaluate.hubness_corrections import Correction
from sensorium.fitting import TrainOptions, closed_form, mixing, mixture
from sensorium.heads.ensemble import Ensemble
from sensorium.heads.mixture import Mixture
from sensorium.heads.mlp import MLP
from sensorium.numerics.signed_power import signed_power
from sensorium.pairs import Pairs
from sensorium.scores import measures
from sensorium.stream import lite

MEMBERS = ["cca", {"name": "infonce", "seeds": 2, "head": {"name": "mlp", "hidden": 16, "dim": 8}}]
NAMES = {"left": "mlp", "right": "mlp"}


def mixed(folder=None, members=MEMBERS, powers=(1.0, 0.5), corrected=False, **keys):
    objective = parts.make(
        "objectives", {"name": "mixture", "members": members, "powers": powers, "corrected": corrected}
    )
    return train(folder, objective=objective, names=NAMES, **{"epochs": 2, "batch": 128, "save_seconds": 30, **keys})


@given(seed=st.integers(0, 999), same=st.booleans())
@settings(max_examples=30, deadline=None)
def test_ranks_of_score_matrices_are_the_exact_ranks(seed, same) -> None:
    random = np.random.default_rng(seed)
    n, p = 12, 25
    one, other = random.integers(0, n, p), random.integers(0, n - 1, p)
    other += (other >= one) if same else 0  # no item goes with itself
    pairs = Pairs.of(one, other, split=np.full(p, "validation"), same_table=same)
    z = random.integers(-2, 3, (2, n, 3)).astype(np.float32)  # many ties, exact in float32
    z = z[[0, 0]] if same else z
    for direction, (a, b) in (("left->right", (0, 1)), ("right->left", (1, 0))):
        relevance = pairs.relevance(direction, "validation")
        if not len(relevance.queries):
            continue
        dense = z[a][relevance.queries] @ z[b][relevance.candidates].T
        np.testing.assert_array_equal(mixing.ranks(dense, relevance), scores.ranks(z[a], z[b], relevance))


def test_the_mixture_is_its_members_with_the_weights_of_validation(tmp_path) -> None:
    fitted = mixed(tmp_path)
    left, right, pairs = views()
    rows, powers = fitted.notes["mixture"], fitted.notes["powers"]
    assert [row["member"] for row in rows] == ["cca", "infonce"] and [row["seeds"] for row in rows] == [1, 2]
    assert sum(row["weight"] for row in rows) == pytest.approx(1)
    assert fitted.names == dict.fromkeys(("left", "right"), "mixture")
    kept = [row for row in rows if row["weight"] > 0]
    assert [type(m).__name__ for m in fitted.left_head.members] == [
        {"cca": "Linear", "infonce": "Ensemble"}[row["member"]] for row in kept
    ]
    # What validation says is what exact ranks of the saved head say.
    both = [heads.apply(head, t.vectors) for head, t in ((fitted.left_head, left), (fitted.right_head, right))]
    found = []
    for direction, (a, b) in (("left->right", (0, 1)), ("right->left", (1, 0))):
        relevance = pairs.relevance(direction, "validation")
        rank = scores.ranks(both[a], both[b], relevance)
        found.append(measures.parse("MRR").summary(rank, relevance.offsets))
    assert fitted.notes["validation"] == pytest.approx(np.mean(found), abs=1e-3)
    # Never below the best member, which is the closed form as solved alone on the chosen powers.
    assert fitted.notes["validation"] >= max(row["validation"] for row in rows)
    tables = mixture.powered(left, right, powers)
    alone = closed_form.solve(*tables, pairs, MLP(), MLP(), parts.make("objectives", "cca"))
    z = heads.apply(alone.left_head, signed_power(left.vectors, powers["left"]))
    share = kept[0]["weight"]
    np.testing.assert_allclose(both[0][:, : z.shape[1]], np.sqrt(share) * z, atol=1e-5)


def test_a_member_that_does_not_help_is_left_out_and_each_that_does_says_what_it_brings() -> None:
    random = np.random.default_rng(0)
    n = 120
    pairs = Pairs.of(np.arange(n), np.arange(n), split=np.full(n, "validation"), group=np.arange(n))
    asked = [pairs.relevance(d, "validation") for d in ("left->right", "right->left")]
    truth = 2 * np.eye(n, dtype=np.float32)
    noisy = [truth + random.standard_normal((n, n)).astype(np.float32) for _ in range(2)]
    noise = 50 * random.standard_normal((n, n)).astype(np.float32)
    measured = mixing.Measured(asked, [[s, s.T] for s in (*noisy, noise)], "MRR")
    counts = measured.select()
    assert (counts[:2] > 0).all() and counts[2] == 0
    alone = [measured.value(one) for one in np.eye(3)]
    assert measured.value(counts) > max(alone)
    for k in range(2):
        brought = measured.brings(counts, k)
        assert brought["brings"] == pytest.approx(measured.value(counts) - alone[1 - k])
        assert 0 < brought["low"] < brought["brings"] < brought["high"]
    assert measured.brings(counts, 2) == {}


def test_corrected_scores_are_those_of_the_inverted_softmax() -> None:
    fitted = mixed(corrected=True)
    left, right, pairs = views()
    both = [heads.apply(head, t.vectors) for head, t in ((fitted.left_head, left), (fitted.right_head, right))]
    found = []
    for direction, (a, b) in (("left->right", (0, 1)), ("right->left", (1, 0))):
        relevance = pairs.relevance(direction, "validation")
        bank = both[a][pairs.relevance(direction, "train").queries]
        beta = 1 / (bank @ both[b][relevance.candidates].T).std()
        rank = Correction("inverted_softmax", float(beta), bank).ranks(both[a], both[b], relevance)
        found.append(measures.parse("MRR").summary(rank, relevance.offsets))
    assert fitted.notes["validation"] == pytest.approx(np.mean(found), abs=1e-3)
    assert fitted.notes["validation"] >= max(row["validation"] for row in fitted.notes["mixture"])


@pytest.mark.parametrize(("error", "cut"), [(KeyboardInterrupt, 1), (RuntimeError, 3)])
def test_cut_and_resumed_it_ends_with_the_same_bits(tmp_path, error, cut) -> None:
    def stop(event):
        if event["epoch"] == cut:
            raise error

    with pytest.raises(error):
        mixed(tmp_path, on_epoch=stop, save_seconds=0)
    begun = []
    again = mixed(tmp_path, save_seconds=0, on_epoch=lambda event: begun.append(event["epoch"]))
    whole = mixed()
    assert_same_bits(again, whole)
    assert again.notes["mixture"] == whole.notes["mixture"] and min(begun) > cut - 1
    assert [e["member"] for e in again.history] == [1, 1, 2, 2]


def test_a_run_searches_exports_and_shows_its_members(tmp_path, tiny_vectors) -> None:
    keys = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split", "train.epochs=2",
            "train.precision=fp32", "evaluate.resamples=20", "evaluate.plots=false", "evaluate.leaks=off",
            'objective={name="mixture", members=["cca", "ridge", "infonce"]}']  # fmt: skip
    run = sensorium.run("arrays", keys, out=tmp_path / "run", quiet=True)
    assert isinstance(heads.load(tmp_path / "run" / "left"), Mixture)
    rows = run.metrics["fit"]["mixture"]
    assert [row["member"] for row in rows] == ["cca", "ridge", "infonce"]
    with np.load(tiny_vectors) as file:
        x = file["image"][:5]
    expected = heads.apply(heads.load(tmp_path / "run" / "left"), x)
    np.testing.assert_allclose(lite.Head(tmp_path / "run" / "left")(x), expected, atol=1e-5)
    assert len(run.search(vector=x[0], k=3)) == 3
    card = (tmp_path / "run" / "README.md").read_text()
    assert "A mixture of" in card and all(row["member"] in card for row in rows)
    again = sensorium.run("arrays", keys, out=tmp_path / "again", quiet=True)
    assert again.metrics["fit"]["mixture"] == rows


def test_one_table_gets_one_head_and_no_validation_equal_weights() -> None:
    left, _, pairs = views()
    tied = Pairs.of(pairs.left, (pairs.left + 1) % len(left), split=pairs.split, same_table=True)
    fitted = mixed(data=(left, left, tied), heads=(MLP(dim=8, hidden=16),) * 2, members=["cca", "infonce"])
    assert fitted.left_head is fitted.right_head and isinstance(fitted.left_head, Mixture)
    left, right, pairs = views()
    fitted = mixed(data=(left, right, pairs.where("train")), members=["cca", "ridge"])
    assert [row["weight"] for row in fitted.notes["mixture"]] == [0.5, 0.5] and fitted.notes["validation"] is None
    assert fitted.notes["powers"] == {"left": 1.0, "right": 1.0} and not fitted.history


def test_seeds_of_a_member_are_one_ensemble() -> None:
    fitted = mixed(members=[MEMBERS[1]])
    (member,) = fitted.left_head.members
    assert isinstance(member, Ensemble) and len(member.members) == 2 and len(set(fitted.notes["member_seeds"])) == 2


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"members": []}, r"mixture: members=\[\]; expected a list of 1 to 100 objectives"),
        ({"members": "cca"}, "objectives?.members='cca'; expected a list"),
        ({"members": ["caa"]}, "no objective 'caa'"),
        ({"members": ["mixture"]}, r"objective.members\[0\]: a mixture cannot be a member"),
        ({"members": [{"dim": 3}]}, r"objective.members\[0\] needs a name"),
        ({"members": [{"name": "cca", "seeds": 2}]}, "'cca' is solved exactly and makes its head itself"),
        ({"members": [{"name": "infonce", "seeds": 0}]}, r"members\[0\].seeds=0; expected a whole number, 1 to 100"),
        ({"members": [{"name": "infonce", "head": "mpl"}]}, "no head 'mpl'"),
        ({"members": [{"name": "infonce", "temprature": 1}]}, "'infonce' takes no 'temprature'"),
        ({"powers": []}, r"mixture: powers=\[\]; expected one or more numbers from 0.01 to 10.0"),
        ({"powers": [0.0]}, r"mixture: powers=\[0.0\]; expected one or more"),
    ],
)
def test_misuse(keys, message) -> None:
    with pytest.raises(BadRecipe, match=message):
        parts.make("objectives", {"name": "mixture", **keys})


def test_options_that_it_does_not_take() -> None:
    objective = parts.make("objectives", "mixture")
    for options in (TrainOptions(members=2), TrainOptions(members=2, distill=True)):
        with pytest.raises(BadRecipe, match="objective=mixture counts seeds by member: type: train.members=1"):
            mixture.check(objective, options)
    with pytest.raises(BadRecipe, match="vectors that stay the same; type: data.cached=true"):
        mixture.check(objective, TrainOptions(), finetune=object())


def test_before_anything_is_embedded_heads_of_sequences_are_refused(tiny_vectors, tmp_path) -> None:
    keys = [f"data.file={tiny_vectors}", "data.left=image", "data.right=text", "data.split=split"]
    with pytest.raises(BadRecipe, match="member 'infonce' has a head of sequences or sets"):
        sensorium.run("arrays", [*keys, 'objective={name="mixture", members=["cca", {name="infonce", head="lstm"}]}'],
                      out=tmp_path / "run", quiet=True)  # fmt: skip


def test_a_mixture_has_no_cosine_to_monitor(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.eye(40, 6, dtype=np.float32) + 1, y=np.eye(40, 5, dtype=np.float32) + 1)
    keys = [
        f"data.file={tmp_path / 'a.npz'}",
        "data.left=x",
        "data.right=y",
        "objective=mixture",
        "train.monitor=cosine",
    ]
    with pytest.raises(BadRecipe, match="cosines of spaces of their own; type: train.monitor=MRR"):
        sensorium.run("arrays", keys, out=tmp_path / "run", quiet=True)
