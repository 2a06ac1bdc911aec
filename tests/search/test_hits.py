"""Hits of one query: their own fields are never an item's columns, and nothing is found where nothing matches."""

import json
from types import SimpleNamespace

import numpy as np
import processes
import pytest

import sensorium
from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate.hubness_corrections import Correction
from sensorium.search import query

KEYS = ["data.left=image", "data.right=text", "objective=ridge", "evaluate.plots=false", "evaluate.resamples=50",
        "evaluate.baselines=[]"]  # fmt: skip


def data(n=40):
    random = np.random.default_rng(0)
    image = random.standard_normal((n, 8)).astype(np.float32)
    return {"image": image, "text": image @ random.standard_normal((8, 8)).astype(np.float32)}


@pytest.fixture(scope="module")
def clashing(tmp_path_factory):
    """A run whose columns are called as a hit's own fields."""
    folder = tmp_path_factory.mktemp("clash")
    columns = {
        "id": np.arange(40) + 5000,
        "rank": np.arange(40) + 1000,
        "score": np.arange(40.0),
        "year": np.arange(40),
    }
    columns |= {"probability": np.full(40, 7.0), "metadata": np.array(["m"] * 40)}
    columns["score"][1::2] = np.nan
    np.savez(folder / "a.npz", key=np.array([f"im{i}" for i in range(40)]), **data(), **columns)
    keys = [f"data.file={folder / 'a.npz'}", "data.ids=key", *KEYS]
    return sensorium.run("arrays", keys, out=folder / "run", quiet=True)


def test_columns_do_not_overwrite_a_hits_own_fields(clashing):
    hits = clashing.search(id="im3", side="left", k=4)
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4]
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, reverse=True) and max(scores) <= 1.001
    for hit in hits:
        number = int(hit["id"].removeprefix("im"))
        assert hit["metadata"]["id"] == 5000 + number and hit["metadata"]["rank"] == 1000 + number
        assert hit["metadata"]["metadata"] == "m" and hit["year"] == hit["metadata"]["year"] == number
        assert hit.get("probability", 0) <= 1
    assert clashing.search(id="im3", side="left", k=1, where={"metadata.id": 5007})[0]["id"] == "im7"


def shell(*words):
    return processes.run(*words, text=True)


@pytest.mark.slow
def test_the_shell_keeps_them_apart_too(clashing):
    done = shell("search", clashing.folder, "--id", "im3", "--from", "left", "-k", "5", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["rank"] for line in lines] == [1, 2, 3, 4, 5] and lines[0]["id"].startswith("im")
    assert {None} < {line["metadata"]["score"] for line in lines}, "a missing number is null"
    table = shell("search", clashing.folder, "--id", "im3", "--from", "left", "-k", "5", "--table").stdout
    assert "metadata." in table and "1003" in table and "im3" in table
    done = shell("search", clashing.folder, "--id", "im3", "--from", "left", "--where", "metadata.id=5007", "--json")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["im7"]


def test_nothing_is_found_where_nothing_matches(clashing):
    assert clashing.search(id="im3", side="left", where={"year": -1}) == []
    assert (
        shell("search", clashing.folder, "--id", "im3", "--from", "left", "--where", "year=-1", "--json").stdout == ""
    )


def test_more_than_there_are(clashing):
    assert len(clashing.search(id="im3", side="left", k=10**9)) == 40
    assert len(clashing.search(id="im3", side="left", to="left", k=10**9)) == 39
    assert len(clashing.search(id="im3", side="left", k=10**9, mmr=0.5)) == 40


def test_both_sides_taking_an_input_ask_for_one(clashing):
    for asked in ({"vector": np.ones(8, np.float32)}, {"id": "im3"}):
        with pytest.raises(BadRecipe, match=f"both sides take this {next(iter(asked))}; say which with --from "):
            clashing.search(**asked)
        assert clashing.search(side="right", **asked)[0]["rank"] == 1


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (["left", "right"], {}, "the inputs belong to both sides; say which side to search"),
        (["left", "left"], {"space": "encoder"}, "space=encoder takes one input"),
        (["left"], {"space": "encoder", "to": "right"}, "searches the input's own side, "),
        (["left"], {"to": "up"}, "to 'up'; expected .*left or right"),
        (["left"], {"k": 0}, "k=0; expected 1 or more"),
    ],
)
def test_queries_that_are_invalid(clashing, inputs, options, message):
    with pytest.raises(BadRecipe, match=message):
        query.resolve(clashing, [query.Input(side) for side in inputs], query.Options(**options))


def test_what_a_query_is_resolved_to(clashing):
    one = query.resolve(clashing, [query.Input("left", "im3")], query.Options(k=3))
    assert (one.to, one.direction, one.exclude, one.depth) == ("right", "left->right", frozenset(), 3)
    own = query.resolve(clashing, [query.Input("left", "im3")], query.Options(k=3, to="left", mmr=0.5))
    assert (own.direction, own.exclude, own.depth, own.calibrated) == ("left->left", {"im3"}, 16, False)
    both = query.resolve(clashing, [query.Input("left", "im3"), query.Input("right", "im4")], query.Options(to="right"))
    assert (both.direction, both.exclude, both.corrected, both.calibrated) == ("both->right", {"im4"}, False, False)
    back = query.resolve(clashing, [query.Input("right", "im3")], query.Options())
    assert (back.to, back.direction, back.exclude) == ("left", "right->left", frozenset())


def test_several_queries_at_once_equal_brute_force(clashing):
    """Each with its own k, filter and excluded ids, in one call; some of them are answered by one pass."""
    random, index = np.random.default_rng(0), clashing.index("right")
    table = index.vectors(np.arange(40)).astype(float)
    asked, queries = random.standard_normal((24, table.shape[1])).astype(np.float32), []
    for i in range(len(asked)):
        where = [None, {"year": {"<": 30}}, {"year": [3, 4, 5]}][i % 3]
        inputs = [query.Input("right", f"im{j}") for j in range(i % 4)] or [query.Input("left", "im7")]
        queries.append(query.resolve(clashing, inputs, query.Options(k=1 + i % 7, to="right", where=where)))
    assert len({one.key for one in queries}) < len(queries)
    for i, (one, ranked) in enumerate(zip(queries, query.search(clashing, asked, queries), strict=True)):
        kept = [np.ones(40, bool), np.arange(40) < 30, np.isin(np.arange(40), [3, 4, 5])][i % 3].copy()
        kept[: i % 4] = False
        scores = np.where(kept, table @ asked[i].astype(float), -np.inf)
        best = np.argsort(-scores, kind="stable")[: min(1 + i % 7, kept.sum())]
        assert ranked.rows.tolist() == best.tolist()
        np.testing.assert_allclose(ranked.scores, scores[best], rtol=1e-5)
        assert ranked.best == pytest.approx(scores[best[0]], rel=1e-5)
        hits = query.hits(clashing, one, ranked)
        assert [hit["id"] for hit in hits] == [f"im{row}" for row in best]
        assert [hit["rank"] for hit in hits] == list(range(1, len(best) + 1))


def test_a_corrected_search_corrects_ten_times_k_of_the_raw_hits_and_200_at_least():
    random = np.random.default_rng(2)
    x = random.standard_normal((500, 6)).astype(np.float32)
    run = sensorium.fit(x, x @ random.standard_normal((6, 6)).astype(np.float32), objective="ridge",
                        evaluate={"resamples": 20, "baselines": [], "correction": "none"})  # fmt: skip
    bank = run.project("left", random.standard_normal((40, 6)).astype(np.float32))
    run.corrections = {"left->right": Correction("csls", 5, bank)}
    index, shift = run.index("right"), run.shift("left->right", "right")
    asked = random.standard_normal((4, 6)).astype(np.float32)
    for k, fetched in ((1, 200), (20, 200), (21, 210), (30, 300), (60, 500)):
        one = query.resolve(run, [query.Input("left")], query.Options(k=k))
        assert one.corrected
        rows, scores = shift.rerank(*index.search(asked, fetched), k)
        for i, ranked in enumerate(query.search(run, asked, [one] * 4)):
            assert ranked.rows.tolist() == rows[i].tolist()
            np.testing.assert_array_equal(ranked.scores, scores[i])
        plain = query.resolve(run, [query.Input("left")], query.Options(k=k, corrected=False))
        assert query.search(run, asked[:1], [plain])[0].rows.tolist() == index.search(asked[:1], k).rows[0].tolist()


def test_inputs_are_summed_by_weight_at_unit_length():
    vectors = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    inputs = [query.Input("left", weight=w, vector=10 * v) for w, v in zip((1.0, -0.5, 2.0), vectors, strict=True)]
    units = vectors.astype(float) / np.linalg.norm(vectors, axis=1, keepdims=True)
    total = units[0] - 0.5 * units[1] + 2 * units[2]
    found = query.combine(inputs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, total / np.linalg.norm(total), rtol=1e-5)
    np.testing.assert_allclose(query.combine(inputs[:1]), units[0], rtol=1e-5)


def test_inputs_that_cancel_each_other_out():
    one = query.Input("left", vector=np.ones(3))
    with pytest.raises(BadData, match="cancel each other out"):
        query.combine([one, query.Input("left", weight=-1, vector=np.ones(3))])
    np.testing.assert_allclose(query.combine([one, one]), np.ones(3) / np.sqrt(3), rtol=1e-6)


class Trusting:
    """A run that knows its thresholds and corrections, and nothing else."""

    def __init__(self):
        self.folder, self.sides, self.corrections = "run", ("left", "right"), {"left->right": None}
        objective = SimpleNamespace(gives_probabilities=False)
        self.recipe = SimpleNamespace(values={"data": {}}, part=lambda slot: objective)
        self.trust = {"left->right": {"no_match": {"score": 0.5}}, "right->left": {"no_match": {"score": None}}}


def test_no_match_and_when_a_calibration_applies():
    def resolved(side, **options):
        return query.resolve(Trusting(), [query.Input(side)], query.Options(**options))

    there = resolved("left")
    assert there.corrected and there.calibrated
    assert [query.no_match(Trusting(), there, best) for best in (0.5, 0.4999, 0.6, None)] == [False, True, False, None]
    raw = resolved("left", corrected=False)
    assert not raw.calibrated and query.no_match(Trusting(), raw, 0.1) is None, "fitted on corrected scores"
    assert resolved("right").calibrated and query.no_match(Trusting(), resolved("right"), 0.1) is None
    assert not resolved("left", space="encoder").calibrated


@pytest.mark.parametrize("index", ["exact", "faiss"])
@pytest.mark.parametrize("n", [1, 2])
def test_indexes_of_one_item_or_two(index, n):
    from sensorium import parts

    one = parts.find("indexes", index)()
    assert one.search(np.ones((2, 4)), 3).rows.tolist() == [[-1] * 3] * 2
    one.add([str(i) for i in range(n)], np.eye(4, dtype=np.float32)[:n])
    hits = one.search(np.eye(4, dtype=np.float32)[:1], 5)
    assert hits.rows.tolist() == [[*range(n), *[-1] * (5 - n)]] and np.isinf(hits.scores[:, n:]).all()
    assert one.report(one.vectors())["recall@10"] == 1.0
