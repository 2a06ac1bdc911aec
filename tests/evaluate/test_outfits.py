"""Numbers of outfits against plain loops and scikit-learn; what must not change them; what is refused."""

import dataclasses
import json
import random
import tarfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torch import nn

from sensorium import heads
from sensorium.contracts import SetHead
from sensorium.errors import BadData
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import _cir, _negatives, outfits
from sensorium.evaluate.protocols._cir import Retrieval
from sensorium.evaluate.protocols._scorer import Scorer
from sensorium.pairs import Pairs
from sensorium.pairs.sets import ItemSets, Questions, ragged
from sensorium.types import Data, Embeddings, Items

KINDS = np.array(["bag", "shoe", "top", "hat"])


class Shifted(nn.Module, SetHead):
    """A head of sets whose queries depend on the category asked for, so that neither order nor scale hides a mistake."""

    normalize = False

    def __init__(self, categories=()):
        super().__init__()
        self.categories = list(categories)
        self.arguments = {"categories": self.categories}

    def build(self, dim_in, stats=None, like=None):
        self.dim_in = self.dim = dim_in
        generator = torch.Generator().manual_seed(0)
        self.slots = nn.Parameter(torch.randn(len(self.categories) + 1, dim_in, generator=generator))

    def forward(self, x):
        return x / (1 + x.square().sum(-1, keepdim=True)).sqrt()

    def compose(self, x, lengths, category, slot):
        there = torch.arange(x.shape[1]) < lengths[:, None]
        weighed = self.forward(x) * (1 + self.slots[category].tanh())
        return (weighed * there[:, :, None]).sum(1) * self.slots[slot]


def table(seed=0, outfits_=24, items=80, d=6, labelled=True, questions=True, test=True):
    """Data of one table: outfits of 1 to 5 items, some shared, made-up ones, questions and pairs; all of one split."""
    generator = np.random.default_rng(seed)
    category = KINDS[np.arange(items) % len(KINDS)]
    sizes = generator.integers(1, 6, outfits_)
    looks = [generator.choice(items, size, replace=False) for size in sizes]
    false = [generator.choice(items, 3, replace=False) for _ in range(outfits_ if labelled else 0)]
    split = np.full(len(looks) + len(false), "test")
    sets = ItemSets.of(looks + false, np.repeat([1, 0], [len(looks), len(false)]), split=split)
    asked = None
    if questions:
        answers = np.stack([generator.choice(items, 4, replace=False) for _ in range(30)])
        context = ragged([generator.choice(items, generator.integers(1, 5), replace=False) for _ in range(30)])
        asked = Questions(context, answers, generator.integers(0, 4, 30), np.full(30, "test"), np.arange(30) // 2)
    left, right = (generator.integers(0, items, 60) for _ in range(2))
    kept = left != right
    pairs = Pairs.of(left[kept], right[kept], label=(np.arange(kept.sum()) % 3 > 0).astype(int), same_table=True,
                     split=np.full(kept.sum(), "test"))  # fmt: skip
    pairs = dataclasses.replace(pairs, sets=sets, questions=asked)
    x = generator.standard_normal((items, d)).astype(np.float32)
    ids = np.array([f"{i:03d}" for i in generator.permutation(items)])
    return Data(Items(ids, x, "vector", {"category": category}), None, pairs, {})


def measured(data, head=None, z=None, resamples=20):
    """The report of the protocol, the head's outputs being ``z``, by default its own or the vectors themselves."""
    x = data.left.values
    z = x if head is None and z is None else z if head is None else heads.apply(head, x)
    left = Embeddings(data.left.ids, x, {}, data.left.meta)
    options = EvaluateOptions(resamples=resamples, plots=False)
    return outfits.report(data, Projected(left, left, data.pairs, z, z, head), options, {}, None)


def values(report, rows=None):
    return {row["measure"]: row["value"] for row in (report.results if rows is None else rows)}


def set_head(data):
    head = Shifted(sorted(KINDS[:3]))  # one category is none of the head's
    head.build(data.left.values.shape[1])
    return head


def score_by_head(head, x, category):
    """s(context, item) by one call for one query: the oracle of everything that is batched."""
    if head is None:
        return lambda context, item: float(np.mean([x[c].astype(float) @ x[item] for c in context]))
    code = np.array([head.categories.index(c) if c in head.categories else -1 for c in category])
    z = heads.apply(head, x)

    def score(context, item):
        with torch.no_grad():
            query = head.compose(torch.from_numpy(x[context])[None], torch.tensor([len(context)]),
                                 torch.from_numpy(code[context])[None], torch.tensor([code[item]]))  # fmt: skip
        return float(query[0].double().numpy() @ z[item])

    return score


def oracle(data, head=None):
    """Every number again, one task at a time."""
    x, category = data.left.values, np.asarray(data.left.meta["category"])
    s, pairs = score_by_head(head, x, category), data.pairs
    whole = lambda look: np.mean([s([c for c in look if c != item], item) for item in look])  # noqa: E731
    looks = np.split(pairs.sets.items.values, pairs.sets.items.offsets[1:-1])
    label = [int(label) for label, look in zip(pairs.sets.label, looks, strict=True) if len(look) > 1]
    looks = [look.tolist() for look in looks if len(look) > 1]
    found = {"compatibility_AUC": sklearn_metrics.roc_auc_score(label, [np.float32(whole(look)) for look in looks])}
    right = []
    for context, answers, correct in zip(np.split(pairs.questions.context.values, pairs.questions.context.offsets[1:-1]),
                                         pairs.questions.answers, pairs.questions.correct, strict=True):  # fmt: skip
        scored = [s(context.tolist(), int(answer)) for answer in answers]
        right.append(scored[correct] > max(v for i, v in enumerate(scored) if i != correct))
    found["fill_in_the_blank"] = np.mean(right)
    both = [np.float32(whole([int(a), int(b)])) for a, b in zip(pairs.left, pairs.right, strict=True)]
    found["pair_AUC"] = sklearn_metrics.roc_auc_score(pairs.label, both)
    found["pair_AP"] = sklearn_metrics.average_precision_score(pairs.label, both)
    real = [look for look, one in zip(looks, label, strict=True) if one]
    ranks = []
    for look in real:
        for item in look:
            pool = {i for other in real for i in other if category[i] == category[item]}
            rest = [i for i in look if i != item]
            mine = s(rest, item)
            ranks.append(1 + sum(s(rest, other) >= mine for other in pool if other != item))
    return found | {f"recall@{k}": np.mean([rank <= k for rank in ranks]) for k in (10, 30, 50)}


@pytest.mark.parametrize("composes", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_number_equals_plain_loops(seed, composes):
    data = table(seed)
    head = set_head(data) if composes else None
    report = measured(data, head)
    found = values(report)
    for measure, expected in oracle(data, head).items():
        assert found[measure] == pytest.approx(expected, abs=1e-9), measure
    assert found["compatibility_AUC/leave_one_out"] == found["compatibility_AUC"]
    assert {f"{m}/hard" for m in ("compatibility_AUC", "fill_in_the_blank", "pair_AUC", "pair_AP")} < set(found)
    for row in report.results:
        assert row["low"] <= row["value"] <= row["high"] and row["n_groups"] and 0 < row["chance"] <= 1


def test_other_outputs_are_measured_in_the_same_rows():
    data = table()
    unit = data.left.values / np.linalg.norm(data.left.values, axis=1, keepdims=True)
    report = measured(data, set_head(data))
    rows, kept = report.beside(unit, unit)
    assert values(report, rows) == pytest.approx(values(measured(data, z=unit)))
    assert [one.measure for one in kept] == [row["measure"] for row in rows] and report.decides == "fill_in_the_blank"


def test_leave_one_out_is_the_mean_over_pairs_for_a_head_that_composes_the_mean():
    data = table()
    items = data.pairs.sets.where(least=2).items
    scorer = Scorer.make(measured_projection(data), np.asarray(data.left.meta["category"]))
    by_tasks = data.pairs.sets.where(least=2).completions()
    each = np.einsum("cd,cd->c", scorer.compose(by_tasks).astype(float), data.left.values[by_tasks.target])
    by_compose = np.bincount(by_tasks.of, each) / items.counts
    np.testing.assert_allclose(scorer.leave_one_out(items), by_compose, atol=1e-6)


def measured_projection(data, head=None):
    left = Embeddings(data.left.ids, data.left.values, {}, data.left.meta)
    return Projected(left, left, data.pairs, data.left.values, data.left.values, head)


@pytest.mark.parametrize("composes", [False, True])
def test_blocks_do_not_matter(monkeypatch, composes):
    data = table()
    head = set_head(data) if composes else None
    whole = values(measured(data, head))
    monkeypatch.setattr("sensorium.evaluate.protocols._scorer._NUMBERS", 40)
    monkeypatch.setattr("sensorium.evaluate.protocols._cir._NUMBERS", 40)
    monkeypatch.setattr("sensorium.pairs.csr._NUMBERS", 40)
    assert values(measured(data, head)) == whole


# --- what must not change a number --------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 999), st.integers(0, 999), st.booleans())
def test_order_of_items_of_outfits_and_of_rows_does_not_matter(seed, shuffle, composes):
    data, generator = table(seed), np.random.default_rng(shuffle)
    sets, n = data.pairs.sets, len(data.left.ids)
    order, rows = generator.permutation(len(sets)), generator.permutation(n)  # row rows[i] becomes row i
    place = np.argsort(rows)
    looks = [generator.permutation(place[look]) for look in np.split(sets.items.values, sets.items.offsets[1:-1])]
    again = ItemSets.of([looks[o] for o in order], sets.label[order], sets.group[order], sets.split[order])
    asked = data.pairs.questions
    asked = dataclasses.replace(asked, answers=place[asked.answers],
                                context=asked.context._replace(values=place[asked.context.values]))  # fmt: skip
    moved = dataclasses.replace(data.pairs, left=place[data.pairs.right], right=place[data.pairs.left], sets=again,
                                questions=asked)  # fmt: skip
    meta = {"category": np.asarray(data.left.meta["category"])[rows]}
    other = Data(Items(data.left.ids[rows], data.left.values[rows], "vector", meta), None, moved, {})
    before, after = (values(measured(d, set_head(d) if composes else None, resamples=2)) for d in (data, other))
    for measure in before:
        if not measure.endswith("/hard"):  # those are drawn, one for each place
            assert after[measure] == pytest.approx(before[measure], abs=1e-9), measure


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.floats(0.01, 100))
def test_the_length_of_a_query_changes_no_answer_and_no_rank(seed, scale):
    data = table(seed)

    class Longer(Shifted):
        def compose(self, x, lengths, category, slot):
            return scale * super().compose(x, lengths, category, slot)

    longer = Longer(sorted(KINDS[:3]))
    longer.build(data.left.values.shape[1])
    before, after = (values(measured(data, head, resamples=2)) for head in (set_head(data), longer))
    for measure in ("fill_in_the_blank", "fill_in_the_blank/hard", "recall@10", "recall@30", "pair_AUC"):
        assert after[measure] == pytest.approx(before[measure], abs=0.02), measure


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.integers(1, 3))
def test_ties_count_against_and_are_counted(seed, distinct):
    data = table(seed)
    x = np.eye(3, 6, dtype=np.float32)[np.random.default_rng(seed).integers(0, distinct, len(data.left.ids))]
    tied = dataclasses.replace(data, left=dataclasses.replace(data.left, values=x))
    report = measured(tied, resamples=2)
    found, expected = values(report), oracle(tied)
    assert {m: found[m] for m in expected} == pytest.approx(expected)
    if distinct == 1:
        assert found["fill_in_the_blank"] == 0 and report.notes["fill_in_the_blank_ties"] == 30
        assert found["compatibility_AUC"] == found["pair_AUC"] == 0.5
        assert report.notes["retrieval_ties"] == report.notes["retrieval_queries"]


# --- made-up negatives ----------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.integers(12, 60))
def test_what_is_made_up_keeps_its_rules(seed, items):
    generator = np.random.default_rng(seed)
    category = generator.integers(-1, 3, items)
    sets = ItemSets.of([generator.choice(items, generator.integers(2, 6), replace=False) for _ in range(12)])
    kept = sets.take(_negatives.matchable(sets, category))
    assert (category[kept.items.values] >= 0).all()
    if not len(kept):
        return
    named = np.unique(kept.items.values)
    made, asked = _negatives.hard_sets(kept, category), _negatives.hard_questions(kept, category)
    for i in range(len(kept)):
        real, other = (one.take(np.array([i])).values for one in (kept.items, made))
        np.testing.assert_array_equal(category[real], category[other])
        assert len(set(other)) == len(other) and not set(other) & set(real) and set(other) <= set(named)
        hidden = asked.answers[i, asked.correct[i]]
        assert set(asked.context.take(np.array([i])).values) | {hidden} == set(real)
        wrong = set(asked.answers[i]) - {hidden}
        assert len(wrong) == 3 and not wrong & set(real) and set(category[list(wrong)]) == {category[hidden]}
    np.testing.assert_array_equal(made.values, _negatives.hard_sets(kept, category).values)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.integers(4, 30))
def test_wrong_partners_are_related_in_no_pair(seed, items):
    generator = np.random.default_rng(seed)
    category = generator.integers(-1, 3, items)
    left, right = (generator.integers(0, items, 20) for _ in range(2))
    related = {frozenset(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)}
    which, other = _negatives.hard_pairs(left, right, category)
    possible = [any(category[o] == category[b] and o != a and frozenset((a, o)) not in related
                    for o in np.unique([left, right]).tolist()) and category[b] >= 0
                for a, b in zip(left.tolist(), right.tolist(), strict=True)]  # fmt: skip
    assert which.tolist() == np.flatnonzero(possible).tolist()
    for a, b, o in zip(left[which].tolist(), right[which].tolist(), other.tolist(), strict=True):
        assert category[o] == category[b] and frozenset((a, o)) not in related and o != a


# --- cir-3000-42 ----------------------------------------------------------------------------------


def plain_benchmark(looks, category, ids, largest, seed=42):
    """Pools and queries as the protocol's text says, with dictionaries and lists of ids."""
    of = dict(zip(ids, category, strict=True))
    named = {}
    for look in looks:
        for item in look:
            if of[item] is not None:
                named.setdefault(of[item], set()).add(item)
    generator, pools = random.Random(seed), {}
    for kind, members in named.items():
        members = sorted(members)
        pools[kind] = members if len(members) <= largest else sorted(generator.sample(members, largest))
    slots = [(tuple(i for i in look if i != item), item) for look in looks for item in look if of[item] is not None]
    return pools, [slot for slot in slots if slot[1] in pools[of[slot[1]]]], len(slots)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 9999), st.integers(1, 12))
def test_pools_and_queries_equal_the_protocol_in_words(seed, largest):
    generator = np.random.default_rng(seed)
    n = 50
    ids = np.array([str(i) for i in generator.permutation(n * 3)[:n]])  # as text "10" comes before "9"
    category = generator.integers(-1, 4, n)
    looks = [generator.choice(n, generator.integers(2, 6), replace=False) for _ in range(15)]
    found = Retrieval.of(ItemSets.of(looks), category, ids, largest)
    words = [None if c < 0 else int(c) for c in category]
    pools, queries, slots = plain_benchmark([ids[look].tolist() for look in looks], words, ids.tolist(), largest)
    assert [ids[found.pools.take(np.array([k])).values].tolist() for k in range(len(found.kinds))] == list(
        pools.values()
    )
    assert found.kinds.tolist() == list(pools)
    contexts = np.split(found.queries.context.values, found.queries.context.offsets[1:-1])
    assert [(tuple(ids[c]), str(ids[t])) for c, t in zip(contexts, found.queries.target, strict=True)] == queries
    assert found.dropped == slots - len(queries)
    assert found.without == sum(category[i] < 0 for look in looks for i in look)


def test_a_set_whose_counts_are_known():
    """Two outfits a pair of pools: 5,000 bags of which 3,000 are drawn, 40 hats; every outfit is one bag and one hat."""
    bags, hats = np.arange(5000), 5000 + np.arange(5000) % 40
    sets = ItemSets.of(np.stack([bags, hats], 1))
    category, ids = np.repeat([0, 1], [5000, 40]), np.array([f"{i:05d}" for i in range(5040)])
    found = Retrieval.of(sets, category, ids)
    assert (len(found), found.dropped) == (3000 + 5000, 2000)
    assert found.pools.counts.tolist() == [3000, 40] and found.candidates().sum() == 3000 * 3000 + 5000 * 40
    drawn = sorted(random.Random(42).sample([f"{i:05d}" for i in range(5000)], 3000))
    assert ids[found.pools.take(np.array([0])).values].tolist() == drawn
    # Every item is like its own number's angle, so a hat finds the bags of hats as near, and a bag its hat alone.
    angle = 2 * np.pi * np.r_[np.arange(5000) % 40, np.arange(40)] / 40
    z = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
    scorer = Scorer(Projected.of(z, z, Pairs.of([], [], same_table=True)), np.full(5040, -1))
    ranks = found.ranks(scorer.compose, z)
    asks_hat = found.kind == 1
    assert (ranks[asks_hat] == 1).all()
    same = np.bincount([int(i) % 40 for i in drawn], minlength=40)  # bags that tie with the one asked for
    np.testing.assert_array_equal(ranks[~asks_hat], same[found.queries.target[~asks_hat] % 40])
    assert found.tied(z) == 3000


def polyvore(shared_data, name):
    """Outfits of the published lists: (sets of rows, category of each row, ids)."""
    with tarfile.open(shared_data / "polyvore-outfits-lists.tar.gz") as archive:
        read = lambda file: archive.extractfile(f"polyvore-outfits/disjoint/{file}").read().decode()  # noqa: E731
        items, lines = json.loads(read("items.json")), read(name).splitlines()
    start = np.concatenate([[0], np.cumsum([len(one) for one in items])])
    numbers = np.array([[int(v) for v in line.split(",")] for line in lines])
    widest = (numbers.shape[1] - 2) // 2
    rows = [start[line[2 + widest : 2 + widest + line[1]]] + line[2 : 2 + line[1]] for line in numbers]
    category = np.repeat(np.arange(len(items)), [len(one) for one in items])
    return rows, category, np.concatenate(items).astype(np.str_)


def test_polyvore_lists_give_the_counts_of_plain_loops(shared_data):
    if not (shared_data / "polyvore-outfits-lists.tar.gz").is_file():
        pytest.skip("the lists of Polyvore Outfits are absent")
    rows, category, ids = polyvore(shared_data, "valid_pos")
    rows = [np.unique(look) for look in rows]
    found = Retrieval.of(ItemSets.of(rows), category, ids)
    pools, queries, slots = plain_benchmark(
        [ids[look].tolist() for look in rows], category.tolist(), ids.tolist(), 3000
    )
    assert (len(found), found.dropped) == (len(queries), slots - len(queries))
    assert found.pools.counts.tolist() == [len(pool) for pool in pools.values()]
    assert (len(rows), slots) == (3000, 15288)


# --- what is refused, and what is said -----------------------------------------------------------


def test_without_negatives_of_the_data_they_are_made_up():
    data = table(labelled=False, questions=False, outfits_=60)
    report = measured(data)
    found = values(report)
    assert report.notes["made_up"] == "outfits, questions"
    assert found["compatibility_AUC"] == found["compatibility_AUC/hard"]
    assert found["fill_in_the_blank"] == found["fill_in_the_blank/hard"]


def test_outfits_of_one_item_and_items_without_a_category_are_counted():
    data = table()
    category = np.asarray(data.left.meta["category"]).astype(object)
    category[::7] = None
    data = dataclasses.replace(data, left=dataclasses.replace(data.left, meta={"category": category}))
    report, sets = measured(data), data.pairs.sets
    assert report.notes["single_item_outfits"] == (sets.where(label=1).items.counts == 1).sum() > 0
    real = sets.where(label=1, least=2).items.values
    assert report.notes["items_without_category"] == (real % 7 == 0).sum()
    asked = report.notes["retrieval_queries"]
    assert asked == len(real) - (real % 7 == 0).sum() == sum(row["n"] for row in report.breakdown["rows"])
    assert {row["name"] for row in report.breakdown["rows"]} == set(KINDS)


def test_a_category_of_one_item_is_found_always_and_said():
    data = table()
    category = np.asarray(data.left.meta["category"]).astype("<U9")
    alone = data.pairs.sets.where(label=1, least=2).items.values[0]
    category[alone] = "alone"
    report = measured(dataclasses.replace(data, left=dataclasses.replace(data.left, meta={"category": category})))
    (row,) = [row for row in report.breakdown["rows"] if row["name"] == "alone"]
    assert (row["value"], row["n_candidates"]) == (1, 1)
    assert report.notes["queries_of_10_candidates_or_fewer"] >= row["n"]
    assert report.notes["left_out_of_hard"] >= row["n"]


def test_one_label_only_is_refused_where_there_is_no_real_outfit():
    data = table()
    sets = dataclasses.replace(data.pairs.sets, label=np.zeros(len(data.pairs.sets), np.int8))
    with pytest.raises(BadData, match=r"no outfit of two items or more \(0 of one, \d+ made-up ones\)"):
        measured(dataclasses.replace(data, pairs=dataclasses.replace(data.pairs, sets=sets)))
    rare = dataclasses.replace(data.left, meta={"category": data.left.ids})
    lone = dataclasses.replace(data.pairs, sets=data.pairs.sets.where(label=1), questions=None)
    with pytest.raises(BadData, match="none of .* test outfits has 3 other items of each category"):
        measured(dataclasses.replace(data, left=rare, pairs=lone))


def test_questions_with_one_answer_are_refused_before_anything_is_fitted():
    data = table()
    one = dataclasses.replace(data.pairs.questions, answers=data.pairs.questions.answers[:, :1])
    with pytest.raises(BadData, match="30 questions have one answer each, which is always right; expected two or more"):
        outfits.check(dataclasses.replace(data, pairs=dataclasses.replace(data.pairs, questions=one)))
    outfits.check(data)


def test_the_protocol_is_named_after_what_is_in_it():
    assert (_cir.NAME, _cir.LARGEST, _cir.SEED) == ("cir-3000-42", 3000, 42)
