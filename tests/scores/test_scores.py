"""Ranks and top-k: every way of computing them equals the definition, for any data and block size."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sensorium import scores
from sensorium.errors import BadData
from sensorium.numerics import threads as workers
from sensorium.pairs import Pairs, Relevance
from sensorium.scores import (
    cpu_features,
    exact_ranks,
    exact_topk,
    int8,
    quantize,
    ranks_bfloat16,
    ranks_float32,
    ranks_int8,
    ranks_sorted,
)
from sensorium.scores.source import Source
from sensorium.scores.targets import Targets

WAYS = {
    "plain": ranks_float32.count,
    "sparse": ranks_int8.count,
    "dense": ranks_bfloat16.count,
    "many": ranks_sorted.count,
}
KINDS = (
    "normal",
    "far from the origin",
    "duplicates",
    "integers",
    "mixed lengths",
    "outlying coordinate",
    "zeros",
    "tiny",
    "long",
    "collapsed",
)


def vectors(kind, n, d, seed):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    if kind == "far from the origin":
        x += 4
    elif kind == "duplicates":
        x[n // 2 :] = x[: n - n // 2]
    elif kind == "integers":
        x = np.round(x)
    elif kind == "mixed lengths":
        x *= np.exp(3 * np.random.default_rng(seed + 1).standard_normal((n, 1))).astype(np.float32)
    elif kind == "outlying coordinate":
        x[:, 3] *= 40
    elif kind == "collapsed":
        x = 1 + np.float32(1e-6) * np.round(x)
    elif kind == "zeros":
        x[::3] = 0
    elif kind in ("tiny", "long"):
        x *= np.float32(1e-20 if kind == "tiny" else 1e15)
    return x


def all_scores(q, c):
    """The definition, pair by pair."""
    exact = np.einsum("id,jd->ijd", q.astype(np.float64), c.astype(np.float64))
    return exact.sum(axis=2).astype(np.float32)


def brute_ranks(q, c, relevance):
    s, out = all_scores(q[relevance.queries], c[relevance.candidates]), []
    for i, row in enumerate(s):
        mine = relevance.relevant[relevance.offsets[i] : relevance.offsets[i + 1]]
        rest = np.setdiff1d(np.arange(len(row)), np.append(mine, relevance.own[i]))
        place = {j: n for n, j in enumerate(sorted(mine, key=lambda j: (-row[j], j)))}
        out += [1 + int((row[rest] >= row[j]).sum()) + place[j] for j in mine]
    return np.array(out)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def test_pair_scores_are_float64_products_rounded_once():
    a, b = vectors("normal", 50, 300, 0), vectors("normal", 50, 300, 1)
    by_fsum = [np.float32(math.fsum((x.astype(float) * y.astype(float)).tolist())) for x, y in zip(a, b, strict=True)]
    np.testing.assert_array_equal(scores.pair_scores(a, b), by_fsum)
    np.testing.assert_array_equal(scores.pair_scores(a[7:8], b[7:8]), scores.pair_scores(a, b)[7:8])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("each", [1, 3])
def test_every_way_counts_alike(way, kind, each, torch):
    q, c = vectors(kind, 60, 70, 2), vectors(kind, 2500, 70, 3)
    row = np.repeat(np.arange(len(q)), each)
    chosen = np.random.default_rng(4).integers(0, len(c), len(row))
    score = scores.pair_scores(q[row], c[chosen])
    targets = Targets(q, np.linalg.norm(q.astype(np.float64), axis=1), np.arange(0, len(row) + 1, each), score)
    expected = [
        (scores.pair_scores(np.broadcast_to(q[i], c.shape), c) >= s).sum() for i, s in zip(row, score, strict=True)
    ]
    np.testing.assert_array_equal(WAYS[way](targets, Source(c), torch), expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scale", [0.0, 1e-12])
def test_candidates_far_below_a_threshold_are_not_counted(way, scale, torch):
    """Their integer scores lie beyond what an int8 product can give, and must not wrap around."""
    q = vectors("normal", 60, 70, 2)
    c = (scale * vectors("normal", 2500, 70, 3)).astype(np.float32)
    row = np.arange(len(q))
    score = scores.pair_scores(q, c[row]) + np.float32(0.5)
    targets = Targets(q, np.linalg.norm(q.astype(np.float64), axis=1), np.arange(len(row) + 1), score)
    np.testing.assert_array_equal(WAYS[way](targets, Source(c), torch), np.zeros(len(row)))


@settings(max_examples=40, deadline=None)
@given(
    x=hnp.arrays(np.float32, st.tuples(st.integers(2, 40), st.just(9)), elements=st.floats(-8, 8, width=32)),
    copies=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_int8_and_bfloat16_agree_with_the_definition_on_any_numbers(x, copies, seed):
    torch = pytest.importorskip("torch")
    c = np.concatenate([x] * copies)
    q = x[np.random.default_rng(seed).permutation(len(x))]
    score = scores.pair_scores(q, x)
    targets = Targets(q, np.linalg.norm(q.astype(np.float64), axis=1), np.arange(len(q) + 1), score)
    expected = (all_scores(q, c) >= score[:, None]).sum(axis=1)
    for count in WAYS.values():
        np.testing.assert_array_equal(count(targets, Source(c), torch), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold(kind, torch):
    """No narrow product lies further from the true one than its bound says."""
    q, c = vectors(kind, 40, 130, 5), vectors(kind, 900, 130, 6)
    length = np.linalg.norm(q.astype(np.float64), axis=1)
    source = Source(c)
    space = int8.space_of(source)
    _, _, c_length = next(source.blocks(len(c)))
    block = int8.encode(c, c_length, space, torch)
    asking = int8.QuantizedQueries(q, length, space, torch)
    tile = asking.tile(slice(None), block).numpy()[:, : len(c)].astype(np.float64)
    near = tile * (asking.step * block.step)[:, None] + asking.constant[:, None]
    gap = np.abs(near - q.astype(np.float64) @ c.T.astype(np.float64))
    error = asking.error(block)
    assert (gap.max(axis=1) <= error).all()
    assert (error < 0.3 * length * c_length.max() + 1e-30).all(), "a bound that says nothing"


def test_limits_enclose_the_threshold(torch):
    q, c = vectors("normal", 30, 64, 7), vectors("normal", 800, 64, 8)
    length = np.linalg.norm(q.astype(np.float64), axis=1)
    space = int8.space_of(Source(c))
    block = int8.encode(c, np.linalg.norm(c, axis=1), space, torch)
    asking = int8.QuantizedQueries(q, length, space, torch)
    threshold = scores.pair_scores(q, c[:30])
    low, high = asking.limits(threshold[:, None], block)
    step, error = (asking.step * block.step)[:, None], asking.error(block)[:, None]
    middle = threshold[:, None] - asking.constant[:, None]
    assert ((low * step <= middle - error) & (middle - error < (low + 1) * step)).all(), "the nearest integers"
    assert ((high * step >= middle + error) & (middle + error > (high - 1) * step)).all()
    tile = asking.tile(slice(None), block).numpy()[:, :800]
    truth = all_scores(q, c) >= threshold[:, None]
    assert truth[tile >= high].all() and not truth[tile < low].any()


def test_segments_are_the_table_in_any_pieces(torch):
    c = vectors("mixed lengths", 9001, 33, 9)
    space = int8.space_of(Source(c))
    segment = int8.Segment(c, space, torch)
    for size in (1, 5000, 1 << 20):
        at, codes = zip(*segment.parts(size), strict=True)
        assert [a.start for a in at] == [0, *[a.stop for a in at[:-1]]] and at[-1].stop == len(c)
        joined = np.concatenate([b.codes[: b.size].numpy() for b in codes])
        np.testing.assert_array_equal(joined, segment.codes[: len(c)].numpy())
        turned = space.candidates(c)
        for a, b in zip(at, codes, strict=True):
            left_out = np.linalg.norm(turned[a] - b.step * b.codes[: b.size].numpy(), axis=1)
            assert left_out.max() <= b.residual and np.linalg.norm(c[a], axis=1).max() <= b.longest


def test_rotation_is_orthogonal_and_keeps_products():
    x, y = vectors("normal", 20, 100, 10), vectors("normal", 20, 100, 11)
    space = quantize.Space(np.zeros(100, np.float32))
    np.testing.assert_allclose(space.queries(x) @ space.candidates(y).T, x @ y.T, atol=2e-4)


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("use", ["numpy", "torch"])
@pytest.mark.parametrize("kind", ["normal", "integers", "duplicates"])
def test_ranks_equal_brute_force(kind, use, same, monkeypatch):
    use_machine(monkeypatch, use)
    left = vectors(kind, 80, 12, 12)
    right = left if same else vectors(kind, 80, 12, 13)
    random = np.random.default_rng(14)
    a, b = random.integers(0, 80, (2, 400))
    # On either side row 0 has more relevants than are compared one by one.
    a[:40], b[:40] = 0, np.arange(1, 41)
    a[40:80], b[40:80] = np.arange(40, 80), 0
    pairs = Pairs.of(a[a != b], b[a != b], same_table=same)
    for direction in ("left->right", "right->left"):
        relevance = pairs.relevance(direction)
        assert relevance.counts().max() > exact_ranks._MANY
        q, c = (left, right) if direction == "left->right" else (right, left)
        np.testing.assert_array_equal(scores.ranks(q, c, relevance), brute_ranks(q, c, relevance))


def use_machine(monkeypatch, use):
    if use == "numpy":
        monkeypatch.setattr(cpu_features, "choose", lambda multiplications: cpu_features.NUMPY_ONLY)
    else:
        torch = pytest.importorskip("torch")
        monkeypatch.setattr(cpu_features, "choose", lambda multiplications: cpu_features.Machine(torch, True, True))


def one_to_one(n):
    return Relevance(np.arange(n), np.arange(n), np.arange(n + 1), np.arange(n), np.arange(n), np.full(n, -1))


@pytest.mark.parametrize("use", ["numpy", "torch"])
def test_all_equal_scores_rank_last(use, monkeypatch):
    use_machine(monkeypatch, use)
    x = np.tile(vectors("normal", 1, 20, 15), (50, 1))
    np.testing.assert_array_equal(scores.ranks(x, x, one_to_one(50)), np.full(50, 50))


def test_near_misses_of_one_unit_in_the_last_place(monkeypatch):
    """Candidates whose scores differ by a single float32 step are told apart."""
    use_machine(monkeypatch, "torch")
    base = vectors("normal", 1, 32, 16)[0]
    c = np.tile(base, (400, 1))
    c[:, 0] = base[0] + np.arange(400, dtype=np.float32) * np.spacing(np.abs(base[0]))
    q = np.abs(vectors("normal", 1, 32, 17))
    s = scores.pair_scores(np.broadcast_to(q[0], c.shape), c)
    relevance = Relevance(
        np.zeros(1, int), np.arange(400), np.array([0, 1]), np.array([200]), np.zeros(1, int), np.array([-1])
    )
    assert scores.ranks(q, c, relevance)[0] == (s >= s[200]).sum()


def test_ranks_do_not_depend_on_blocks(monkeypatch):
    use_machine(monkeypatch, "torch")
    q, c = vectors("normal", 300, 24, 18), vectors("normal", 300, 24, 19)
    c[:] = q + 2 * c
    expected = scores.ranks(q, c, one_to_one(300))
    monkeypatch.setattr(exact_ranks, "_QUERY_NUMBERS", 24 * 1024)
    for module in (ranks_int8, ranks_bfloat16, ranks_float32):
        monkeypatch.setattr(module, "_ROWS", 37)
        monkeypatch.setattr(module, "_COLUMNS", 64)
    np.testing.assert_array_equal(scores.ranks(q, c, one_to_one(300)), expected)


@pytest.fixture
def three_threads(torch, monkeypatch):
    """Workers as on a machine with three cores."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    workers._pool.cache_clear()
    yield
    workers._pool(torch)[0].shutdown()
    workers._pool.cache_clear()
    torch.set_num_threads(threads)


def test_threads_do_not_change_results(three_threads, monkeypatch, torch):
    use_machine(monkeypatch, "torch")
    assert workers.count(torch) == 3 and workers.each(lambda x: x * x, range(50), torch) == [x * x for x in range(50)]
    for module in (ranks_int8, ranks_bfloat16):
        monkeypatch.setattr(module, "_COLUMNS", 64)
    q, c = vectors("integers", 600, 24, 30), vectors("integers", 600, 24, 31)
    relevance = one_to_one(600)
    np.testing.assert_array_equal(scores.ranks(q, c, relevance), brute_ranks(q, c, relevance))
    s = all_scores(q, c)
    np.testing.assert_array_equal(scores.topk(q, c, 5)[0], np.argsort(-s, axis=1, kind="stable")[:, :5])
    c[577, 3] = np.nan
    with pytest.raises(BadData, match="row 577"):
        scores.topk(q, c, 5)


def test_each_worker_computes_alone_and_the_number_of_torch_threads_stays(torch):
    before = torch.get_num_threads()
    workers._pool.cache_clear()  # only threads that have not computed yet could get it wrong
    assert set(workers.each(lambda _: torch.get_num_threads(), range(20), torch)) == {1}
    assert torch.get_num_threads() == before
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == before


def test_memory_map_larger_than_a_block(tmp_path, monkeypatch):
    use_machine(monkeypatch, "torch")
    c = vectors("normal", 5000, 16, 20)
    np.save(tmp_path / "c.npy", c)
    mapped = np.load(tmp_path / "c.npy", mmap_mode="r")
    relevance = one_to_one(5000)
    np.testing.assert_array_equal(scores.ranks(c + 1, mapped, relevance), scores.ranks(c + 1, c, relevance))
    for got, expected in zip(scores.topk(c[:9], mapped, 3), scores.topk(c[:9], c, 3), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("use", ["numpy", "torch"])
@pytest.mark.parametrize(
    "kind", ["normal", "integers", "duplicates", "mixed lengths", "far from the origin", "collapsed"]
)
@pytest.mark.parametrize(("n", "k"), [(5000, 10), (700, 1), (40, 64), (300, 200)])
def test_topk_equals_sorting(kind, use, n, k, monkeypatch):
    use_machine(monkeypatch, use)
    monkeypatch.setattr(exact_topk, "_COLUMNS", 256)
    monkeypatch.setattr(exact_topk, "_PAIRS", 3000)
    q, c = vectors(kind, 20, 18, 21), vectors(kind, n, 18, 22)
    random = np.random.default_rng(23)
    own, mask = random.integers(-1, n, len(q)), random.random(n) < 0.4
    for chosen in ({}, {"own": own}, {"mask": mask}, {"own": own, "mask": mask}):
        s = np.stack([scores.pair_scores(np.broadcast_to(x, c.shape), c) for x in q])
        if "own" in chosen:
            s[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
        if "mask" in chosen:
            s[:, ~mask] = -np.inf
        order = np.argsort(-s, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(s, order, axis=1)
        order = np.where(best > -np.inf, order, -1)
        short = ((0, 0), (0, k - order.shape[1]))
        positions, found = scores.topk(q, c, k, **chosen)
        np.testing.assert_array_equal(positions, np.pad(order, short, constant_values=-1))
        np.testing.assert_array_equal(found, np.pad(best, short, constant_values=-np.inf))


@pytest.mark.parametrize("use", ["numpy", "torch"])
@pytest.mark.parametrize("n", [3, 700, 3000])
def test_of_equal_scores_the_first_positions_are_found(n, use, monkeypatch):
    """So many of them that they are decided before all blocks were seen."""
    use_machine(monkeypatch, use)
    monkeypatch.setattr(exact_topk, "_COLUMNS", 256)
    monkeypatch.setattr(exact_topk, "_PAIRS", 100)
    c = np.tile(vectors("normal", 1, 20, 15), (n, 1))
    q = np.concatenate([c[:1], 2 * c[:1], vectors("normal", 3, 20, 16)])
    positions, found = scores.topk(q, c, 5)
    expected = np.pad(np.arange(min(n, 5)), (0, max(0, 5 - n)), constant_values=-1)
    np.testing.assert_array_equal(positions, np.tile(expected, (5, 1)))
    np.testing.assert_array_equal(found[:, 0], scores.pair_scores(q, np.tile(c[:1], (5, 1))))


def test_descending_orders_like_two_keys():
    random = np.random.default_rng(28)
    i = random.integers(0, 9, 500)
    value = random.standard_normal(500) * 10.0 ** random.integers(-20, 18, 500)
    value[:40] = 0.0
    value[40:60] = np.spacing(np.float32(0)) * random.choice([-1, 1], 20)  # rounded down to 0, and to two steps below
    got = exact_topk._descending(i, value)
    expected = value[np.lexsort((-value, i))]
    assert (got <= expected).all()
    np.testing.assert_allclose(got, expected, rtol=3e-7, atol=1e-40)


def test_topk_of_nothing():
    c = vectors("normal", 5, 4, 24)
    for positions, found in (
        scores.topk(c[:0], c, 3),
        scores.topk(c, c[:0], 3),
        scores.topk(c, c, 0),
        scores.topk(c, c, 3, mask=np.zeros(5, bool)),
    ):
        assert (positions == -1).all() and (found == -np.inf).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_unusable_vectors_are_refused(bad):
    q, c = vectors("normal", 6, 4, 25), vectors("normal", 6, 4, 26)
    c[4, 2] = bad
    word = "too long" if bad == 1e30 else "NaN or infinity"
    with pytest.raises(BadData, match=f"candidates: row 4 .*{word}"):
        scores.ranks(q, c, one_to_one(6))
    with pytest.raises(BadData, match=f"queries: row 4 .*{word}"):
        scores.topk(c, q, 2)


def test_row_named_is_that_of_the_table():
    q, c = vectors("normal", 6, 4, 25), vectors("normal", 20, 4, 26)
    c[13, 0] = np.nan
    odd = Relevance(np.arange(6), np.arange(1, 20, 2), np.arange(7), np.arange(6), np.arange(6), np.full(6, -1))
    with pytest.raises(BadData, match="candidates: row 13 "):
        scores.ranks(q, c, odd)


def test_different_widths_are_refused():
    with pytest.raises(BadData, match="queries are 4 wide, candidates 5"):
        scores.topk(np.zeros((2, 4), np.float32), np.zeros((2, 5), np.float32), 1)
    with pytest.raises(BadData, match=r"expected a table \(n, d\), got shape \(2,\)"):
        scores.topk(np.zeros(2, np.float32), np.zeros((2, 5), np.float32), 1)


def test_a_query_relevant_to_itself_is_refused():
    x = vectors("normal", 3, 4, 27)
    own = Relevance(np.arange(3), np.arange(3), np.arange(4), np.array([1, 1, 0]), np.arange(3), np.arange(3))
    with pytest.raises(BadData, match="relevant to itself"):
        scores.ranks(x, x, own)


def test_the_machine_is_measured_only_when_it_pays(monkeypatch):
    assert cpu_features.choose(1e6) is cpu_features.NUMPY_ONLY
    monkeypatch.setattr(cpu_features, "measure", lambda: "measured")
    assert cpu_features.choose(1e12) == "measured"


def test_packed_products_are_the_plain_ones(torch):
    if not cpu_features.measure().packed:
        pytest.skip("no exact FBGEMM here")
    random = np.random.default_rng(29)
    for n, d, b in ((32, 64, 1), (4128, 1024, 12), (96, 320, 5)):
        codes, asked = (torch.from_numpy(random.integers(-127, 128, (m, d)).astype(np.int8)) for m in (n, b))
        codes[0], asked[0] = 127, 127
        asked[-1] = 0  # a query of zeros still has a step
        assert torch.equal(cpu_features.Packed(codes, torch)(asked), asked.int() @ codes.int().T)


def test_inexact_int8_products_are_not_used(monkeypatch, torch):
    """Processors without 8-bit dot products saturate; that must be noticed, not believed."""
    true = torch._int_mm
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: true(a, b).clamp(-(2**15), 2**15 - 1))
    assert not cpu_features.measure.__wrapped__().int8
    monkeypatch.setattr(torch, "fbgemm_linear_int8_weight_fp32_activation", lambda *a: 1 / 0)
    monkeypatch.delattr(torch, "_int_mm")
    assert not cpu_features.measure.__wrapped__().int8


@pytest.mark.parametrize("missing", ["_int_mm", "fbgemm_pack_quantized_matrix"])
def test_without_a_private_product_of_torch_the_public_ones_serve(missing, monkeypatch):
    """Releases of torch may drop private functions: what is chosen then does without, with equal results."""
    torch = pytest.importorskip("torch")
    monkeypatch.delattr(torch, missing)
    monkeypatch.setattr(cpu_features, "_PAYS", 1e-9)  # whatever exists and is exact would be taken
    machine = cpu_features.measure.__wrapped__()
    assert machine.bf16 and not machine.packed
    assert machine.int8 == (missing != "_int_mm")
    monkeypatch.setattr(cpu_features, "choose", lambda multiplications: machine)
    q, c = vectors("normal", 90, 24, 30), vectors("normal", 700, 24, 31)
    relevance = Relevance(np.arange(90), np.arange(700), np.arange(91), np.arange(90), np.arange(90), np.full(90, -1))
    np.testing.assert_array_equal(scores.ranks(q, c, relevance), brute_ranks(q, c, relevance))
    brute = scores.pair_scores(np.repeat(q, 700, 0), np.tile(c, (90, 1))).reshape(90, 700)
    np.testing.assert_array_equal(scores.topk(q, c, 5)[0], np.argsort(-brute, axis=1, kind="stable")[:, :5])


def test_codes_that_memory_has_no_room_for_are_made_anew_and_find_the_same(monkeypatch):
    from sensorium.scores import exact_topk

    dice = np.random.default_rng(3)
    queries, candidates = dice.normal(size=(200, 64)), dice.normal(size=(20_000, 64))
    queries, candidates = queries.astype(np.float32), candidates.astype(np.float32)
    kept = scores.topk(queries, candidates, 5)
    monkeypatch.setattr(exact_topk, "_SMALL", 0)
    monkeypatch.setattr(exact_topk.memory_limits, "available", lambda: 0)
    for a, b in zip(kept, scores.topk(queries, candidates, 5), strict=True):
        np.testing.assert_array_equal(a, b)
