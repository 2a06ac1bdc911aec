"""Text → voice by emotion: measures of drawn libraries, columns and speakers, against slow and independent ways."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from sensorium.errors import BadData
from sensorium.evaluate import concordance
from sensorium.evaluate.hubness_corrections import Correction
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import _clip_library, _voice_data, voices
from sensorium.evaluate.protocols._clip_library import Library, Measure
from sensorium.numerics import affect, gaussian_features
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

WORDS = ("angry", "calm", "happy", "sad")
MEASURES = [Measure("precision@1", 1), Measure("precision@3", 3), Measure("nDCG@3", 3), Measure("nDCG_vad@3", 3)]
PLAIN = EvaluateOptions(protocol="voices", resamples=200, plots=False)


def library(random, q, m, speakers, **more):
    asked, carried = random.integers(0, 4, q), np.append(np.arange(4), random.integers(0, 4, m - 4))
    speaker = np.append(np.arange(speakers), random.integers(0, speakers, m - speakers))
    return Library(WORDS, asked, carried, _voice_data.gains(WORDS), speaker, np.arange(q), **more)


def slowly(of, found, measure, weight, query):
    """The measure of one text: the clips written out as often as drawn, the first k of them."""
    gain = _voice_data.gains(WORDS) if "_vad" in measure.name else np.eye(4)
    again = [gain[of.asked[query], of.carried[clip]] for clip in found[query] for _ in range(weight[of.speaker[clip]])]
    there = [gain[of.asked[query], of.carried[clip]] for clip in range(len(of.carried))
             for _ in range(weight[of.speaker[clip]])]  # fmt: skip
    if 1.0 not in there:
        return np.nan
    if measure.is_precision:
        return sum(again[: measure.k]) / measure.k
    discount = 1 / np.log2(2 + np.arange(measure.k))
    first, best = (np.array(each[: measure.k]) for each in (again, sorted(there, reverse=True)))
    return (first @ discount[: len(first)]) / (best @ discount[: len(best)])


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(5, 60))
@settings(max_examples=40, deadline=None)
def test_measures_of_a_drawn_library_are_those_of_its_clips_written_out(seed, speakers, m):
    random = np.random.default_rng(seed)
    of = library(random, 6, m, min(speakers, m))
    found = np.array([random.permutation(m) for _ in range(6)])
    weight = random.multinomial(speakers, np.full(speakers, 1 / speakers)).astype(np.int32)
    measured = _clip_library.Values(of, found, MEASURES)(weight)
    expected = [[slowly(of, found, measure, weight, query) for query in range(6)] for measure in MEASURES]
    np.testing.assert_allclose(measured, expected, atol=1e-12)


def test_graded_ndcg_equals_scikit_learn():
    random = np.random.default_rng(0)
    of = library(random, 20, 50, 3)
    texts, clips = (
        random.standard_normal((20, 8)).astype(np.float32),
        random.standard_normal((50, 8)).astype(np.float32),
    )
    found = _clip_library.order(texts, clips, of, 50)
    measured = _clip_library.Values(of, found, [Measure("nDCG_vad@10", 10)])()[0]
    gain = of.gain[of.asked[:, None], of.carried]
    score = texts.astype(float) @ clips.T.astype(float)
    expected = [ndcg_score(gain[[row]], score[[row]], k=10) for row in range(20)]
    np.testing.assert_allclose(measured, expected, atol=1e-9)


def test_gains_are_those_of_the_ratings_and_ties_put_the_most_distant_emotion_first():
    gain = _voice_data.gains(WORDS)
    assert np.allclose(np.diag(gain), 1) and gain.min() >= 0 and np.allclose(gain, gain.T)
    eight = _voice_data.gains(affect.EMOTIONS)
    assert eight.min() == pytest.approx(0) and np.unravel_index(eight.argmin(), eight.shape) == (2, 3)  # happy, sad
    of = Library(WORDS, np.array([2]), np.arange(4), gain, np.zeros(4, int), np.zeros(1, int))
    found = _clip_library.order(np.ones((1, 2)), np.ones((4, 2)), of, 4)[0]
    assert [WORDS[code] for code in found] == sorted(WORDS, key=lambda word: gain[2, WORDS.index(word)])
    assert _voice_data.gains(("sad", "whispered")) is None


def test_chance_is_the_mean_of_random_orders():
    random = np.random.default_rng(1)
    of = library(random, 3, 30, 4)
    orders = [np.array([random.permutation(30) for _ in range(3)]) for _ in range(3000)]
    mean = np.mean([_clip_library.Values(of, found, MEASURES)() for found in orders], axis=0)
    np.testing.assert_allclose(mean, _clip_library.Values(of, orders[0], MEASURES).chance(), atol=0.03)


def test_intervals_rest_on_speakers():
    """Speakers who differ widen the interval; with the library fixed it is that of the texts alone."""
    random = np.random.default_rng(2)
    carried, speaker = np.tile(np.arange(4), 60), np.repeat(np.arange(6), 40)
    means = random.standard_normal((4, 8))
    skill = np.array([0, 0, 0.3, 0.6, 2, 3])[speaker]
    clips = (means[carried] * skill[:, None] + random.standard_normal((240, 8))).astype(np.float32)
    asked = np.tile(np.arange(4), 30)
    texts = (means[asked] + 0.5 * random.standard_normal((120, 8))).astype(np.float32)
    of_all, of_texts = (
        voices.emotion_retrieval(texts, clips / np.linalg.norm(clips, axis=1, keepdims=True), asked, carried, (1, 10),
                                 resamples=300, speaker=one) for one in (speaker, None)
    )  # fmt: skip
    assert [row["measure"] for row in of_all] == ["precision@1", "precision@10", "nDCG@10"]  # numbers are no emotions
    for wide, narrow in zip(of_all, of_texts, strict=True):
        assert wide["value"] == narrow["value"] and wide["low"] <= wide["value"] <= wide["high"]
        assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]
        assert wide["n_groups"] == 6 and narrow["n_groups"] == 120


@pytest.mark.slow
@pytest.mark.thorough
def test_an_interval_over_twelve_speakers_holds_about_as_often_as_it_says():
    """Libraries drawn again and again from one population of speakers: 91% of the intervals held in 120 trials."""
    random, held = np.random.default_rng(0), []
    means, asked = random.standard_normal((8, 16)), np.tile(np.arange(8), 20)
    carried, speaker = np.tile(np.repeat(np.arange(8), 4), 12), np.repeat(np.arange(12), 32)
    of = Library(tuple("abcdefgh"), asked, carried, None, speaker, np.arange(160))
    measures = [Measure("precision@10", 10)]

    def drawn():
        skill, offset = random.gamma(2, 0.5, 12), 0.8 * random.standard_normal((12, 16))
        clips = means[carried] * skill[speaker, None] + offset[speaker] + 1.5 * random.standard_normal((384, 16))
        texts = means[asked] + 1.2 * random.standard_normal((160, 16))
        return _clip_library.order(texts, clips / np.linalg.norm(clips, axis=1, keepdims=True), of, 384)

    truth = np.mean([_clip_library.Values(of, drawn(), measures)().mean() for _ in range(200)])
    for seed in range(50):
        _, [(low, high)] = _clip_library.means(of, drawn(), measures, 200, seed)
        held.append(low <= truth <= high)
    assert np.mean(held) > 0.8


# --- the report of a run's data -----------------------------------------------------------------


def clips_and_texts(text_emotion, clip_emotion, related, text_ids=None, clip_ids=None, texts=None, **columns):
    """Data and head outputs: a text is near the clips of its emotion."""
    random = np.random.default_rng(3)
    means = {word: random.standard_normal(8) for word in sorted({*map(str, text_emotion), *map(str, clip_emotion)})}
    z = [np.array([means[affect.canonical(str(w)) if affect.canonical(str(w)) in means else str(w)] for w in words])
         + 0.3 * random.standard_normal((len(words), 8)) for words in (text_emotion, clip_emotion)]  # fmt: skip
    zl, zr = (one.astype(np.float32) for one in z)
    left = np.array(text_ids or [f"text{i}" for i in range(len(zl))])
    right = np.array(clip_ids or [f"clip{i}" for i in range(len(zr))])
    values = zl if texts is None else texts
    data = Data(
        Items(left, values, "vector" if texts is None else "text", {"emotion": text_emotion}, name="text"),
        Items(right, zr, "vector", {"emotion": clip_emotion, **columns}, name="clip"),
        Pairs.of(*related, split=np.full(len(related[0]), "test")),
        {},
    )
    return data, Projected.of(zl, zr, data.pairs)


def by_measure(report):
    return {row["measure"]: row for row in report.results}


def everything(text_emotion, clip_emotion):
    """Every text with every clip of its emotion."""
    same = [(i, j) for i, a in enumerate(text_emotion) for j, b in enumerate(clip_emotion)
            if affect.canonical(str(a)) == affect.canonical(str(b))]  # fmt: skip
    return np.array(same).T


def test_report_knows_synonyms_speakers_and_what_it_leaves_out(tmp_path):
    asked = np.array(["anger", "sadness", "happy", "sad", None, "calm"], object)
    carried = np.array(["angry", "sad", "happy", "", "happy", "sad", "angry", "happy"] * 2, object)
    related = np.concatenate([everything(asked, carried), [[4, 5, 5], [0, 3, 0]]], axis=1)
    data, projected = clips_and_texts(asked, carried, related, speaker=np.repeat(["Ada", "Bo"], 8))
    report = voices.report(data, projected, PLAIN, {}, tmp_path)
    notes, rows = report.notes, by_measure(report)
    assert (notes["clips_without_emotion"], notes["texts_without_emotion"], notes["texts_without_clip"]) == (1, 1, 1)
    assert notes["texts"] == "left" and notes["speakers_from"] == "column speaker" and notes["speakers"] == 2
    assert notes["emotions"] == ["angry", "happy", "sad"]
    assert rows["precision@1"]["value"] == 1 and rows["precision@1"]["n_queries"] == 4
    assert rows["precision@1"]["n_candidates"] == 14 and rows["precision@1"]["n_groups"] == 2
    assert rows["precision@1"]["chance"] == pytest.approx(np.mean([4, 4, 6, 4]) / 14)
    assert rows["CCC_valence"]["value"] == pytest.approx(1)
    assert "id_recall@10" not in rows and rows["precision@1/one_speaker"]["value"] == 1
    assert report.confusion["names"] == ["angry", "happy", "sad"]
    assert report.confusion["counts"] == [[1, 0, 0], [0, 1, 0], [0, 0, 2]]
    assert {row["name"]: row["n_candidates"] for row in report.breakdown["rows"]} == {"angry": 4, "happy": 6, "sad": 4}


def test_concordance_is_that_of_the_first_clip_and_its_interval_holds_it(tmp_path):
    random = np.random.default_rng(5)
    asked, carried = np.array(WORDS)[random.integers(0, 4, 40)], np.array(WORDS)[np.arange(60) % 4]
    data, _ = clips_and_texts(asked, carried, everything(asked, carried), speaker=np.repeat(list("abcdef"), 10))
    zl, zr = (random.standard_normal((n, 6)).astype(np.float32) for n in (40, 60))
    rows = by_measure(voices.report(data, Projected.of(zl, zr, data.pairs), PLAIN, {}, tmp_path))
    first = carried[(zl.astype(float) @ zr.T).argmax(axis=1)]
    for d, name in enumerate(affect.DIMENSIONS):
        row = rows[f"CCC_{name}"]
        assert row["value"] == pytest.approx(concordance.ccc(affect.vads(asked)[:, d], affect.vads(first)[:, d]))
        assert -1 <= row["low"] <= row["value"] <= row["high"] <= 1 and row["n_queries"] == 40


def test_outputs_that_are_ratings_are_compared_with_those_of_the_emotions(tmp_path):
    random = np.random.default_rng(9)
    asked, carried = np.array(WORDS * 5), np.array(WORDS)[np.arange(40) % 4]
    data, _ = clips_and_texts(asked, carried, everything(asked, carried), speaker=np.repeat(list("abcd"), 10))
    points = [np.clip(affect.vads(words) + 0.3 * random.standard_normal((len(words), 3)), -1, 1)
              for words in (asked, carried)]  # fmt: skip
    zl, zr = (gaussian_features.lift(each) for each in points)
    rows = by_measure(voices.report(data, Projected.of(zl, zr, data.pairs), PLAIN, {}, tmp_path))
    for words, predicted, what in ((asked, points[0], "texts"), (carried, points[1], "clips")):
        for d, name in enumerate(affect.DIMENSIONS):
            row = rows[f"CCC_{name}/{what}"]
            assert row["value"] == pytest.approx(concordance.ccc(affect.vads(words)[:, d], predicted[:, d]), abs=1e-5)
            assert row["low"] <= row["value"] <= row["high"] and row["n_groups"] == (20 if what == "texts" else 4)
    other = random.standard_normal((20, 220)).astype(np.float32), random.standard_normal((40, 220)).astype(np.float32)
    assert "CCC_valence/clips" not in by_measure(
        voices.report(data, Projected.of(*other, data.pairs), PLAIN, {}, tmp_path)
    )


@pytest.mark.parametrize("way", ["ids", "numbered", "transcript"])
def test_id_recall_counts_the_clip_of_the_texts_own(tmp_path, way):
    random = np.random.default_rng(6)
    clips, each = 30, 2 if way == "numbered" else 1
    carried = np.array(WORDS)[np.arange(clips) % 4]
    asked = np.repeat(carried, each)
    names = [f"folder/{i}.wav" for i in range(clips)]
    text_ids = {"ids": names, "numbered": [f"{n}#{i + 1}" for n in names for i in range(2)]}.get(way)
    said = [f"line {i}" for i in range(clips)]
    more = {"texts": said, "transcript": np.array(said)} if way == "transcript" else {}
    data, _ = clips_and_texts(asked, carried, everything(asked, carried), text_ids, names, **more)
    zl, zr = (random.standard_normal((n, 6)).astype(np.float32) for n in (clips * each, clips))
    row = by_measure(voices.report(data, Projected.of(zl, zr, data.pairs), PLAIN, {}, tmp_path))["id_recall@10"]
    score = zl.astype(float) @ zr.T.astype(float)
    own = score[np.arange(clips * each), np.repeat(np.arange(clips), each)]
    assert row["value"] == pytest.approx(((score > own[:, None]).sum(1) < 10).mean())
    assert row["chance"] == pytest.approx(10 / clips) and row["n_queries"] == clips * each


def test_each_speaker_alone_is_the_mean_of_libraries_of_one_speaker(tmp_path):
    random = np.random.default_rng(7)
    carried, speaker = (
        np.array(WORDS)[np.append(np.arange(40) % 4, [0, 1, 2, 3] + [2] * 16)],
        np.repeat(list("abc"), 20),
    )
    asked = np.array(WORDS * 6)
    data, _ = clips_and_texts(asked, carried, everything(asked, carried), speaker=speaker)
    zl, zr = (random.standard_normal((n, 6)).astype(np.float32) for n in (24, 60))
    row = by_measure(voices.report(data, Projected.of(zl, zr, data.pairs), PLAIN, {}, tmp_path))[
        "precision@1/one_speaker"
    ]
    each = [
        voices.emotion_retrieval(zl, zr[speaker == s], asked, carried[speaker == s], 1, resamples=1)[0] for s in "abc"
    ]
    assert row["value"] == pytest.approx(np.mean([one["value"] for one in each]))
    assert row["chance"] == pytest.approx(np.mean([one["chance"] for one in each])) and row["n_groups"] == 3


def test_a_hubness_correction_is_applied_as_searches_apply_it(tmp_path):
    random = np.random.default_rng(8)
    carried, asked = np.array(WORDS)[np.arange(40) % 4], np.array(WORDS * 5)
    data, _ = clips_and_texts(asked, carried, everything(asked, carried), speaker=np.repeat(list("abcd"), 10))
    zl, zr = random.standard_normal((20, 6)).astype(np.float32), random.standard_normal((40, 6)).astype(np.float32)
    zr[0] *= 3  # a hub
    correction = Correction("csls", 5.0, random.standard_normal((50, 6)).astype(np.float32))
    report = voices.report(data, Projected.of(zl, zr, data.pairs), PLAIN, {"left->right": correction}, tmp_path)
    found, _ = correction.topk(zl, zr, 5)
    assert by_measure(report)["precision@5"]["value"] == pytest.approx((carried[found] == asked[:, None]).mean())
    assert report.notes["hubness_correction"] == "csls"
    raw = (zl.astype(float) @ zr.T.astype(float)).argsort(axis=1)[:, ::-1][:, :10]
    plain = {one.measure: one.value for one in report.plain}
    np.testing.assert_allclose(plain["precision@10"], (carried[raw] == asked[:, None]).mean(axis=1))


def test_texts_of_one_speakers_clips_are_drawn_with_them():
    asked = carried = np.array(WORDS * 6)
    speaker = np.repeat(list("abc"), 8)
    own = np.stack([np.arange(24)] * 2)
    data, _ = clips_and_texts(asked, carried, own, speaker=speaker)
    found = _voice_data.of(data, data.pairs, "test").library
    assert found.tied and np.array_equal(found.unit, found.speaker)
    for weight, texts in _clip_library.draws(found, 5, 0):
        assert np.array_equal(texts, weight[found.speaker])
    data, _ = clips_and_texts(asked, carried, everything(asked, carried), speaker=speaker)
    assert not _voice_data.of(data, data.pairs, "test").library.tied


def test_speakers_are_the_groups_of_pairs_where_no_column_names_them():
    asked = carried = np.array(WORDS * 3)
    data, _ = clips_and_texts(asked, carried, np.stack([np.arange(12)] * 2))
    pairs = Pairs.of(np.arange(12), np.arange(12), group=np.repeat(list("ab"), 6), split=np.full(12, "test"))
    assert np.bincount(_voice_data.of(data, pairs, "test").library.speaker).tolist() == [6, 6]
    data, _ = clips_and_texts(asked, carried, np.stack([np.arange(12)] * 2), actor=np.repeat([1, 2, 3], 4))
    found = _voice_data.of(data, pairs, "test")
    assert found.speakers == "column actor" and np.bincount(found.library.speaker).tolist() == [4, 4, 4]


def test_a_split_without_a_common_emotion_is_refused():
    data, _ = clips_and_texts(np.array(["happy"] * 4), np.array(["sad"] * 4), np.stack([np.arange(4)] * 2))
    with pytest.raises(BadData, match="no clip of the test split carries an emotion of its texts, such as 'happy'"):
        _voice_data.of(data, data.pairs, "test")
