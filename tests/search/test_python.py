"""An opened run from Python: positional queries, many at once, hits and metrics that show themselves, changes."""

import json
import pickle
import sys

import numpy as np
import processes
import pytest
import small_run
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import sensorium
from sensorium import pipeline
from sensorium.errors import BadData, BadRecipe, MissingExtra


@pytest.fixture(scope="module")
def glyph(tmp_path_factory):
    """Pictures (left) and their names (right)."""
    return small_run.make(tmp_path_factory.mktemp("python") / "runs" / "small")


@pytest.fixture
def words():
    """Vectors (left) and texts with a column (right); small, and of this test alone."""
    random = np.random.default_rng(0)
    x = random.standard_normal((80, 6)).astype(np.float32)
    texts = [f"thing number {i} {'abcdefgh'[i % 8] * 3}" for i in range(80)]
    return sensorium.fit(x, texts, right={"encoder": "hashing"}, objective="ridge", metadata={"right": {"year": np.arange(80)}},
                         ids=[f"t{i}" for i in range(80)], evaluate={"resamples": 20})  # fmt: skip


def same(one, other):
    assert [hit["id"] for hit in one] == [hit["id"] for hit in other]
    np.testing.assert_allclose([h["score"] for h in one], [h["score"] for h in other], atol=1e-5)


def picture_of(run, tmp_path, row=3):
    _, content = sensorium.search.media.open(run.folder, "left").get(run.index("left").table.ids[row])
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    return path


def test_a_positional_query_is_the_named_one(glyph, tmp_path):

    path = picture_of(glyph, tmp_path)
    image = Image.open(path)
    by_name = glyph.search(image=str(path), k=3)
    for query in (path, str(path), image, np.asarray(image)):
        same(glyph.search(query, k=3), by_name)
    same(glyph.search("latin letter", k=4), glyph.search(text="latin letter", k=4))
    vector = glyph.encoder("left").encode([str(path)])[0]
    for query in (vector, vector.tolist(), torch.tensor(vector), vector[None]):
        same(glyph.search(query, k=3), by_name)
    same(
        glyph.search("no such file.png", k=2), glyph.search(text="no such file.png", k=2)
    )  # words, as no file is there


def test_many_queries_equal_single_ones(glyph, tmp_path):
    path = picture_of(glyph, tmp_path)
    queries = ["alpha", path, "left arrow", "right arrow", Image.open(path), "sum"]
    many = glyph.search_many(queries, k=4)
    assert len(many) == len(queries)
    for query, hits in zip(queries, many, strict=True):
        same(hits, glyph.search(query, k=4))
    matrix = glyph.encoder("left").encode([str(path)] * 3)
    assert [len(hits) for hits in glyph.search_many(matrix, k=2)] == [2, 2, 2]
    assert glyph.search_many([]) == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text("abc xyz", min_size=1).filter(str.strip), max_size=5), st.integers(1, 8))
def test_any_texts_asked_together_find_what_they_find_alone(glyph, texts, k):
    for text, hits in zip(texts, glyph.search_many(texts, k=k), strict=True):
        alone = glyph.search(text, k=k)
        np.testing.assert_allclose(hits.scores, alone.scores, atol=1e-5)


def test_many_queries_are_one_pass_of_the_index(glyph, monkeypatch):
    index, calls = glyph.index("left"), []
    search = type(index).search
    monkeypatch.setattr(
        type(index), "search", lambda self, q, *a, **k: calls.append(len(q)) or search(self, q, *a, **k)
    )
    glyph.search_many(["alpha", "beta", "gamma"], k=2)
    assert calls == [3]


BAD = [
    (5, "the query has shape|the query is int; left takes image, right takes text"),
    ({"a": 1}, "the query is dict; left takes image"),
    (np.zeros(7), r"the query has shape \(7,\); left takes image"),
    (" ", "text is empty; give the words to search for"),
]


@pytest.mark.parametrize(("query", "message"), BAD, ids=repr)
def test_a_bad_query_says_what_the_run_takes(glyph, query, message):
    with pytest.raises((BadRecipe, BadData), match=message):
        glyph.search(query)


def test_queries_are_refused_where_they_are_wrong(glyph, words):
    with pytest.raises(BadRecipe, match="give one query: the first argument, or text"):
        glyph.search("alpha", text="beta")
    with pytest.raises(BadRecipe, match="give exactly one of text, .* id or vector; got none"):
        glyph.search()
    with pytest.raises(BadRecipe, match="queries is str; expected a list of texts"):
        glyph.search_many("alpha")
    with pytest.raises(BadRecipe, match="query 1: the query is dict"):
        glyph.search_many(["alpha", {}])
    with pytest.raises(BadData, match=r"the query has 2 rows; search takes one: run.search_many\(rows\)"):
        words.search(np.ones((2, 6)))
    vectors = sensorium.fit(np.eye(40, 5) + 1, np.eye(40, 4) + 1, evaluate={"resamples": 20, "baselines": []})
    with pytest.raises(BadRecipe, match=r"takes text: left takes vectors of 5 numbers, .* run.search\(id='shoes'\)"):
        vectors.search("shoes")
    with pytest.raises(BadData, match=r"^vector has 7 values; left takes 5, right 4$"):
        vectors.search(vector=np.ones((1, 7)))


def test_hits_are_a_list_of_dicts_that_shows_itself(glyph, words):
    hits = glyph.search("alpha", k=3)
    assert isinstance(hits, list) and json.loads(json.dumps(hits)) == list(hits) and type(hits[:2]) is type(hits)
    assert hits.ids == [hit["id"] for hit in hits] and hits == [dict(hit) for hit in hits]
    assert pickle.loads(pickle.dumps(hits)) == hits
    lines = repr(words.search(np.eye(6)[0], k=3)).splitlines()
    assert len(lines) == 4 and lines[0].split()[:3] == ["rank", "id", "score"] and max(map(len, lines)) <= 130
    html = hits._repr_html_()
    assert html.count("<tr>") == 4 and html.count("data:image/png;base64,") == 3
    assert repr(hits[:0]) == "no hits" and "no hits" in hits[:0]._repr_html_()


def test_hits_escape_what_is_in_them(words):
    words.add(["<script>alert(1)</script>"], ids=["<b>"], side="right")
    html = words.search("<script>alert(1)</script>", to="right", k=80)._repr_html_()
    assert "<script>" not in html and "<b>" not in html and "&lt;script&gt;" in html


def test_pandas_is_said_to_be_missing_or_used(glyph, monkeypatch):
    hits = glyph.search("alpha", k=3)
    monkeypatch.setitem(sys.modules, "pandas", None)
    for one in (hits, glyph.metrics):
        with pytest.raises(MissingExtra, match=r"pip install 'sensorium\[pandas\]'"):
            one.to_pandas()


def test_hits_and_metrics_become_pandas(glyph):
    pytest.importorskip("pandas", reason="pandas is absent; type: pip install pandas")
    frame = glyph.search("alpha", k=3).to_pandas()
    assert list(frame["rank"]) == [1, 2, 3] and {"id", "score"} <= set(frame.columns)
    numbers = glyph.metrics.to_pandas()
    assert len(numbers) == len(glyph.metrics["results"]) and {"measure", "value", "low", "high"} <= set(numbers.columns)


def test_metrics_stay_a_mapping_and_show_numbers_intervals_and_baselines(tmp_path):
    random = np.random.default_rng(0)
    x = random.standard_normal((120, 6))
    run = sensorium.fit(x, x + random.standard_normal((120, 6)), evaluate={"resamples": 50, "plots": True})
    assert isinstance(run.metrics, dict) and json.loads(json.dumps(run.metrics)) == json.loads(
        (run.folder / "metrics.json").read_text()
    )
    assert pickle.loads(pickle.dumps(run.metrics)) == run.metrics
    rows, html = run.metrics.table(), run.metrics._repr_html_()
    assert (
        len(rows) == len(run.metrics["results"])
        and "95% interval" in rows[0]
        and {"ridge", "procrustes"} <= set(rows[0])
    )
    assert html.count("<tr>") == len(rows) + 1 and html.count("<circle") == html.count("<svg") > 0
    assert html.count("data:image/png") == len(list((run.folder / "plots").glob("*.png"))) > 0
    assert run.metrics["verdict"].split(",")[0] in html
    bare = sensorium.run(small_run.RECIPE, out=tmp_path / "bare", quiet=True, stages=["index"])
    assert "was not evaluated" in bare.metrics._repr_html_()


def test_heads_are_functions_and_modules(glyph, words, tmp_path):
    x = np.random.default_rng(1).standard_normal((5, 6)).astype(np.float32)
    z = words.left(x)
    assert z.shape == (5, words.left.dim) and z.dtype == np.float32 and words.left.dim_in == 6
    np.testing.assert_array_equal(words.left(torch.tensor(x)), z)
    np.testing.assert_array_equal(words.left(x.tolist()), z)
    np.testing.assert_allclose(words.left(x[0]), z[0], atol=1e-6)
    module = words.left.module
    assert isinstance(module, torch.nn.Module) and not module.training
    inside = torch.tensor(x, requires_grad=True)
    out = module(inside)
    out.sum().backward()
    np.testing.assert_allclose(out.detach().numpy(), z, atol=1e-6)
    assert inside.grad is not None and inside.grad.abs().sum() > 0
    texts = [f"word {i}" for i in range(150)]
    np.testing.assert_allclose(words.right(texts), words.right(words.encoder("right").encode(texts)), atol=1e-6)
    path = picture_of(glyph, tmp_path)
    for one in ([path], [str(path)], [Image.open(path)], np.asarray(Image.open(path))[None]):
        np.testing.assert_allclose(glyph.left(one), glyph.index("left").vectors(np.array([3])), atol=1e-5)
    with pytest.raises(BadData, match="the left values are texts; expected vectors"):
        words.left(["word"])
    with pytest.raises(BadData, match=r"\(5, 3\) do not fit"):
        words.left(x[:, :3])
    with pytest.raises(BadData, match="NaN"):
        words.left(np.full((1, 6), np.nan))
    assert repr(words.left) == f"<head of left: 6 -> {words.left.dim}>"


def test_added_items_are_found_and_durable(words):
    about = words.add(["a red shoe", "a blue hat"], ids=["shoe", "hat"], metadata={"year": [2001, 2002]})
    assert about == {"side": "right", "added": 2, "replaced": 0, "items": 82, "ids": ["shoe", "hat"]}
    hit = words.search(id="shoe", side="right", to="right", k=81)
    assert "hat" in hit.ids
    again = sensorium.open(words.folder)
    assert again.search("a red shoe", to="right", k=1)[0]["id"] == "shoe"
    assert again.search("a red shoe", to="right", k=1, where={"year": 2001})[0]["text"] == "a red shoe"
    with pytest.raises(BadData, match="1 of 1 ids are on the right side .* already"):
        words.add(["other"], ids=["shoe"])
    assert words.add(["other"], ids=["shoe"], replace=True)["replaced"] == 1
    assert words.remove(["shoe", "hat"]) == 2 and words.remove("t3", side="right") == 1
    with pytest.raises(BadData, match="(?i)1 of 2 ids are not on the right side .*'t3'"):
        words.remove(["t4", "t3"], side="right")
    assert words.remove(["t4", "t3"], side="right", missing=True) == 1
    assert len(sensorium.open(words.folder).index("right").table) == 78


def test_added_vectors_get_free_ids_and_the_side_that_takes_them():
    x = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    run = sensorium.fit(x, x[:, :4] + 1, evaluate={"resamples": 20, "baselines": []})
    assert run.add(x[:2] + 0.5)["ids"] == ["40", "41"] and len(run.index("left").table) == 42
    assert run.add(torch.tensor(x[:2, :4]))["side"] == "right"
    assert run.add({"id": ["a", "b"], "v": list(x[:2])})["ids"] == ["a", "b"]
    assert run.search(x[0], k=1, to="left")[0]["id"] in ("0", "a")
    alike = sensorium.fit(x, x, evaluate={"resamples": 20, "baselines": []})
    with pytest.raises(
        BadRecipe, match="both sides take these vectors; say which to add them to: side='left' or side='right'"
    ):
        alike.add(x)
    with pytest.raises(BadRecipe, match="no side takes these texts"):
        alike.add(["word"])
    with pytest.raises(BadRecipe, match="both sides have items of these ids; say which to remove: side='left'"):
        alike.remove("3")
    with pytest.raises(BadData, match="ids is dict; expected one id, or a list of them"):
        alike.remove({})
    assert alike.remove([]) == 0 and alike.remove(3, side="left") == 1


def test_added_pictures_are_shown(glyph, tmp_path):
    run = small_run.make(tmp_path / "run")
    drawn = np.full((30, 30), 255, np.uint8)
    drawn[5:20, 8:12] = 0
    run.add([Image.fromarray(drawn)], ids=["grey"])
    hits = run.search(id="grey", side="left", to="left", k=1)
    assert "data:image/png" in hits._repr_html_()
    found = sensorium.open(run.folder).search("anything", k=len(run.index("left").table))
    assert "grey" in found.ids


def test_a_saved_run_is_whole_and_another(words, tmp_path):
    words.add(["a red shoe"], ids=["shoe"])
    saved = words.save(tmp_path / "kept")
    assert saved.folder == tmp_path / "kept" and saved.search("a red shoe", to="right", k=1)[0]["id"] == "shoe"
    saved.remove("shoe")
    assert "shoe" in words.search("a red shoe", to="right", k=1).ids
    again = pipeline.evaluate_again(saved.folder, quiet=True)
    assert again.metrics["data"] == words.metrics["data"] and again.metrics["results"] == words.metrics["results"]
    assert not list(tmp_path.glob(".*")), "nothing is left beside it"
    assert words.save(saved.folder).folder == saved.folder  # over an earlier one
    assert words.save(words.folder).folder == words.folder
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(BadRecipe, match="is not empty and not a run"):
        words.save(tmp_path / "mine")
    done = processes.run(
        code=f"import sensorium; print(sensorium.open({str(saved.folder)!r}).search('thing', k=1))", text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("rank"), done.stderr
