"""Many lines in one pass: the hits of single searches, what is allowed, varied and collapsed."""

import numpy as np
import pytest
import small_voices
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.search import lines as many
from sensorium.search.lines import Allowed, Choice, Encoded, Finder, LineHits, batches
from sensorium.search.query import Options
from sensorium.search.script import Script, of

TEXTS = [line for told in small_voices.LINES.values() for line in told]

pytestmark = pytest.mark.xdist_group("voices")


@pytest.fixture(scope="module")
def run(voices):
    return voices


def found(run, script, choice, options=None, start=0):
    encoded = Encoded(run, script)
    picker = LineHits(script, Finder(run, encoded.side, options or Options(choice.k), choice))
    return [record for batch in batches(encoded, picker, start) for record in batch]


def ids(records):
    return [[hit["id"] for hit in record["hits"]] for record in records]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*TEXTS, "", " "]), min_size=1, max_size=9), st.integers(1, 60),
       st.sampled_from([None, {"emotion": "sad"}, {"speaker": ["ada", "dan"]}]), st.sampled_from([None, 0.5]))  # fmt: skip
def test_the_hits_of_lines_are_those_of_single_searches(run, texts, k, where, mmr):
    if not any(text.strip() for text in texts):
        return
    records = found(run, of(texts), Choice(k, mmr), Options(k, where=where))
    for text, record in zip(texts, records, strict=True):
        alone = run.search(text=text, k=k, where=where, mmr=mmr) if text.strip() else []
        assert [hit["id"] for hit in record["hits"]] == [hit["id"] for hit in alone]
        np.testing.assert_allclose([h["score"] for h in record["hits"]], [h["score"] for h in alone], atol=1e-6)


def test_a_text_is_encoded_once_however_often_it_is_asked_for(run, monkeypatch):
    encoder, seen = run.encoder("left"), []
    real = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda values: seen.extend(values) or real(values))
    monkeypatch.setattr(many, "BATCH", 3)
    records = found(run, of([*TEXTS[:4], *TEXTS[:4], "", TEXTS[1]]), Choice(2))
    assert sorted(seen) == sorted(TEXTS[:4])
    assert ids(records)[:4] == ids(records)[4:8] and records[8]["note"] == "the line is empty"


def test_vectors_are_lines_too_and_bad_ones_are_named(run):
    x = run.encoder("left").encode(TEXTS[:3])
    assert ids(found(run, of(x), Choice(4))) == ids(found(run, of(TEXTS[:3]), Choice(4)))
    x[1, 0] = np.nan
    with pytest.raises(BadData, match="lines, line 2: the vector holds NaN or infinity"):
        found(run, of(x), Choice(4))
    with pytest.raises(BadData, match="vector has 3 values"):
        found(run, of(np.ones((2, 3))), Choice(4))
    with pytest.raises(BadData, match="has 2 lines, all empty; expected text to search for"):
        found(run, of(["", " "]), Choice(4))


def test_consecutive_lines_get_other_clips_and_a_resumed_script_the_same_ones(run, monkeypatch):
    monkeypatch.setattr(many, "BATCH", 4)
    script = of([TEXTS[0]] * 12)
    assert len({first[0] for first in ids(found(run, script, Choice(1)))}) == 1
    varied = found(run, script, Choice(1, vary=3))
    firsts = [first[0] for first in ids(varied)]
    for at in range(12):
        assert len(set(firsts[at : at + 4])) == len(firsts[at : at + 4])
    encoded = Encoded(run, script)
    picker = LineHits(script, Finder(run, encoded.side, Options(1), Choice(1, vary=3)))
    picker.go_on(varied[2:5])
    assert [record for batch in batches(encoded, picker, 5) for record in batch] == varied[5:]


def test_one_hit_for_each_value_of_a_column(run):
    codes = run.index("right").table.codes("speaker", "collapse").codes
    for record in found(run, of(TEXTS[:5]), Choice(4, distinct=codes)):
        speakers = [hit["speaker"] for hit in record["hits"]]
        assert sorted(speakers) == sorted(small_voices.SPEAKERS)
        alone = run.search(text=record["text"], k=4, collapse="speaker")
        assert [hit["id"] for hit in record["hits"]] == [hit["id"] for hit in alone]


class OnlyRows(Allowed):
    """Rows that no condition can say: the search must go deeper for them."""

    def __init__(self, mask):
        self.allowed = mask

    def mask(self, rows, line):
        return self.allowed[rows]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**48 - 1), st.integers(1, 5))
def test_k_hits_come_back_where_so_many_are_allowed(run, bits, k):
    mask = np.array([bits >> i & 1 for i in range(len(run.index("right").table))], bool)
    finder = Finder(run, "left", Options(k), Choice(k), OnlyRows(mask))
    z = run.encode("left", TEXTS[:6])
    scores = z @ run.index("right").vectors().T
    for ranked, own in zip(finder.find(z, range(6)), scores, strict=True):
        best = [row for row in np.argsort(-own, kind="stable") if mask[row]][:k]
        assert len(ranked.rows) == len(best)
        np.testing.assert_allclose(own[ranked.rows], own[best], atol=1e-6)


def test_choices_that_cannot_be(run):
    with pytest.raises(BadRecipe, match="vary=-1; expected 0 or more lines"):
        Choice(1, vary=-1)
    with pytest.raises(BadRecipe, match="mmr=2; expected 0"):
        Finder(run, "left", Options(1), Choice(1, mmr=2))
    least = found(run, Script(TEXTS[:2]), Choice(3, min_score=2.0))
    assert [record["note"] for record in least] == ["nothing passes the filter"] * 2
