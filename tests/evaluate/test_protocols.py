"""Each protocol pinned by values computed by hand and by an independent library."""

import dcase_2025
import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.linear_model import Ridge

from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate.protocols import captions, emotions, outfits, prompts, voices
from sensorium.pairs import Pairs


def unit(n, d=8, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def value(rows, measure, direction=None, **of):
    wanted = {"measure": measure, **({"direction": direction} if direction else {}), **of}
    (found,) = [r["value"] for r in rows if all(r[key] == v for key, v in wanted.items())]
    return found


# --- captions -----------------------------------------------------------------------------------


def five_captions(clips=12, d=8, seed=0):
    z = unit(clips, d, seed)
    text = z[np.repeat(np.arange(clips), 5)] + 0.6 * unit(5 * clips, d, seed + 1)
    pairs = Pairs.of(np.repeat(np.arange(clips), 5), np.arange(5 * clips), split=np.full(5 * clips, "test"))
    return z, text.astype(np.float32), pairs


def test_clotho_by_hand():
    """Two clips, two captions each; caption 1 of clip 0 points at clip 1."""
    clips = np.eye(2, dtype=np.float32)
    text = np.array([[0.9, 0.1], [0.2, 0.8], [0.0, 1.0], [0.3, 0.7]], np.float32)
    pairs = Pairs.of([0, 0, 1, 1], [0, 1, 2, 3], split=["test"] * 4)
    rows = captions.retrieval(clips, text, pairs)
    assert value(rows, "hit@1", "right->left") == 3 / 4
    assert value(rows, "mAP@10", "right->left") == (1 + 1 / 2 + 1 + 1) / 4
    # Clip 0 ranks its captions 1st and 3rd: AP = (1/1 + 2/3) / 2. Clip 1: 1st (1.0), 3rd after 0.8.
    assert value(rows, "mAP@10", "left->right") == pytest.approx((1 + 2 / 3) / 2)
    assert value(rows, "recall@1", "left->right") == 1 / 2
    assert value(rows, "hit@1", "left->right") == 1
    assert {(r["direction"], r["n_queries"], r["n_candidates"]) for r in rows} == {
        ("left->right", 2, 4), ("right->left", 4, 2)}  # fmt: skip


def test_clotho_equals_ir_measures():
    clips, text, pairs = five_captions()
    rows = captions.retrieval(clips, text, pairs, resamples=50)
    score = clips.astype(np.float64) @ text.T
    forth = {f"q{i}": {f"d{j}": s for j, s in enumerate(row)} for i, row in enumerate(score)}
    back = {f"q{i}": {f"d{j}": s for j, s in enumerate(row)} for i, row in enumerate(score.T)}
    relevant = {"left->right": {f"q{i}": {f"d{5 * i + j}": 1 for j in range(5)} for i in range(12)},
                "right->left": {f"q{i}": {f"d{i // 5}": 1} for i in range(60)}}  # fmt: skip
    theirs = {"hit@5": "Success@5", "recall@10": "R@10", "recall@5": "R@5", "mAP@10": "AP@10"}
    for direction, run in (("left->right", forth), ("right->left", back)):
        for ours, name in theirs.items():
            expected = ir_measures.calc_aggregate([ir_measures.parse_measure(name)], relevant[direction], run)
            assert value(rows, ours, direction) == pytest.approx(next(iter(expected.values())), abs=1e-9), ours


def test_dcase25_several_clips_a_caption():
    """By hand: two of three relevants within 16, at ranks 1 and 3: AP = (1 + 2/3) / 3."""
    clips = np.linspace(1, 0, 20, dtype=np.float32)[:, None]
    pairs = Pairs.of([0, 2, 18], [0, 0, 0], split=["test"] * 3)
    other = Pairs.of(np.arange(20), np.zeros(20, int), label=np.isin(np.arange(20), [0, 2, 18]).astype(int),
                     split=["test"] * 20)  # fmt: skip
    rows = captions.dcase25(clips, np.ones((1, 1), np.float32), other)
    assert value(rows, "mAP@16") == pytest.approx((1 + 2 / 3) / 3)
    assert value(rows, "recall@10") == pytest.approx(2 / 3)
    expected = ir_measures.calc_aggregate([ir_measures.AP @ 16], {"q": {"d0": 1, "d2": 1, "d18": 1}},
                                          {"q": {f"d{i}": float(s) for i, s in enumerate(clips[:, 0])}})  # fmt: skip
    assert value(rows, "mAP@16") == pytest.approx(next(iter(expected.values())))
    with pytest.raises(BadData, match="1 captions of the test split describe several clips, such as row 0"):
        captions.retrieval(clips, np.ones((1, 1), np.float32), pairs)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 2**31))
def test_dcase25_equals_the_published_evaluator(data, seed):
    """Also where a caption has more relevant files than the cut-off, where the usual mAP@k differs."""
    n, q = data.draw(st.integers(20, 40)), data.draw(st.integers(1, 6))
    relevant = [data.draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n - 1)) for _ in range(q)]
    random = np.random.default_rng(seed)
    clips, texts = (random.standard_normal((m, 8)).astype(np.float32) for m in (n, q))
    label = np.array([[i in files for i in range(n)] for files in relevant]).astype(int).ravel()
    pairs = Pairs.of(np.tile(np.arange(n), q), np.repeat(np.arange(q), n), label=label, group=np.repeat(np.arange(q), n),
                     split=np.full(n * q, "test"))  # fmt: skip
    rows = captions.dcase25(clips, texts, pairs, resamples=5)
    scores = texts.astype(np.float64) @ clips.T.astype(np.float64)
    for k in (10, 16):
        expected = dcase_2025.mean_average_precision(scores, relevant, k)
        assert value(rows, f"mAP@{k}") == pytest.approx(expected, abs=1e-9)
    assert value(rows, "recall@10") == pytest.approx(dcase_2025.recall(scores, relevant, 10), abs=1e-9)
    ir = {f"q{i}": {f"d{j}": 1 for j in files} for i, files in enumerate(relevant)}
    run = {f"q{i}": {f"d{j}": float(s) for j, s in enumerate(row)} for i, row in enumerate(scores)}
    (theirs,) = ir_measures.calc_aggregate([ir_measures.AP @ 16], ir, run).values()
    assert value(rows, "mAP@16") == pytest.approx(theirs, abs=1e-9)


# --- emotions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["emobox", "luna"])
def test_folds_are_the_papers(protocol):
    actor = np.repeat(np.arange(1, 25), 4)
    splits = emotions.folds(actor, protocol)
    tested = [set(actor[s == "test"].tolist()) for s in splits]
    assert sorted(a for fold in tested for a in fold) == list(range(1, 25))
    assert tested[0] == ({1, 11, 20, 21} if protocol == "emobox" else {2, 5, 14, 15, 16})
    assert len(splits) == (6 if protocol == "emobox" else 5)
    for split in splits:
        by_word = [set(actor[split == word].tolist()) for word in ("train", "validation", "test")]
        assert sum(map(len, by_word)) == 24  # no actor in two
        assert all(by_word)


def test_folds_of_half_the_actors():
    splits = emotions.folds(np.arange(1, 13), "emobox")
    assert len(splits) == 6
    assert sum((s == "test").sum() for s in splits) == 12
    with pytest.raises(BadData, match="actors of 2 of 6 folds are present"):
        emotions.folds(np.array([1, 11, 4]))
    with pytest.raises(BadRecipe, match="protocol 'emobx'; did you mean 'emobox'"):
        emotions.folds(np.arange(1, 25), "emobx")


def test_recognition_by_hand():
    told = emotions.recognition(np.array(["a"] * 8 + ["b"] * 2), np.array(["a"] * 8 + ["a", "b"]))
    assert told["WA"] == 0.9
    assert told["UA"] == (1 + 0.5) / 2
    assert told["macro_F1"] == pytest.approx((16 / 17 + 2 / 3) / 2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_recognition_equals_scikit_learn(pairs):
    y, p = np.array(pairs).T
    told = emotions.recognition(y, p)
    assert told["WA"] == pytest.approx(metrics.accuracy_score(y, p))
    assert told["UA"] == pytest.approx(
        metrics.recall_score(y, p, average="macro", labels=np.unique(y), zero_division=0)
    )
    assert told["macro_F1"] == pytest.approx(metrics.f1_score(y, p, average="macro", zero_division=0))
    np.testing.assert_array_equal(emotions.confusion(y, p, range(4)), metrics.confusion_matrix(y, p, labels=range(4)))


def test_ravdess_cross_validation():
    """A fit that knows the answer of actors 1–12 only: right there, wrong elsewhere."""
    actor = np.repeat(np.arange(1, 25), 8)
    labels = np.tile(np.arange(8), 24)
    seen = []

    def fit_predict(train, validation, test):
        assert not set(actor[test]) & set(actor[np.r_[train, validation]])
        seen.append((len(train), len(validation), len(test)))
        return np.where(actor[test] <= 12, labels[test], (labels[test] + 1) % 8)

    told = emotions.ravdess(labels, actor, fit_predict)
    assert seen == [(128, 32, 32)] * 6
    assert told["WA"] == pytest.approx(np.mean([sum(a <= 12 for a in f) / 4 for f in emotions.FOLDS["emobox"]]))
    assert told["WA"] == told["UA"]
    assert sorted(told["rows"].tolist()) == list(range(192))


def test_confusion_in_a_given_order():
    table = emotions.confusion(np.array(["sad", "happy"]), np.array(["happy", "happy"]), ["sad", "happy", "calm"])
    assert table.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(BadData, match="prediction 'angry' is none of"):
        emotions.confusion(np.array(["sad"]), np.array(["angry"]), ["sad"])
    with pytest.raises(BadData, match="recognition: labels"):
        emotions.recognition(np.array([1, 2]), np.array([1]))


# --- outfits ------------------------------------------------------------------------------------


def test_compatibility_is_the_mean_over_pairs():
    z = unit(20)
    looks = [[0, 1], [2, 3, 4], [5, 6, 7, 8, 9]]
    by_hand = [np.mean([z[a].astype(float) @ z[b] for i, a in enumerate(o) for b in o[i + 1 :]]) for o in looks]
    np.testing.assert_allclose(outfits.compatibility(z, looks), by_hand, atol=1e-7)
    assert outfits.compatibility_auc(np.eye(4)[[0, 0, 1, 2, 3]], [[0, 1], [2, 3], [3, 4]], [1, 0, 0]) == 1


def test_fill_in_the_blank_by_hand():
    z = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8], [1, 0]], np.float32)
    blanks = outfits.Blanks([np.array([0]), np.array([2]), np.array([0])], np.array([[1, 2, 3], [3, 1, 0], [1, 4, 2]]),
                            np.array([0, 1, 0]))  # fmt: skip
    # 1: right by 1.0 over 0.6. 2: the right one scores 0. 3: a tie with row 4 counts as wrong.
    assert outfits.fill_in_the_blank(z, blanks).tolist() == [True, False, False]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.integers(2, 50), st.integers(1, 6))
def test_auc_and_ap_equal_scikit_learn(seed, n, levels):
    random = np.random.default_rng(seed)
    labels = np.r_[0, 1, random.integers(0, 2, n)]
    scores = random.integers(0, levels, n + 2) / levels  # with ties
    assert outfits.auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert outfits.average_precision(labels, scores) == pytest.approx(metrics.average_precision_score(labels, scores))


def test_pairs_of_garments():
    z, random = unit(30), np.random.default_rng(0)
    left, right, label = random.integers(0, 30, 40), random.integers(0, 30, 40), np.arange(40) % 2
    told = outfits.pairs(z, left, right, label)
    score = (z[left].astype(float) * z[right]).sum(1)
    assert told["AUC"] == pytest.approx(metrics.roc_auc_score(label, score))
    assert told["AP"] == pytest.approx(metrics.average_precision_score(label, score))


def test_hard_variants_share_categories():
    category = np.array(["top", "shoe", "bag"])[np.arange(60) % 3]
    looks = [np.array([3 * i, 3 * i + 1, 3 * i + 2]) for i in range(20)]
    made_up = outfits.hard_outfits(looks, category, seed=1)
    for real, made in zip(looks, made_up, strict=True):
        assert (category[real] == category[made]).all()
        assert (real != made).all()
    blanks = outfits.hard_blanks(looks, category, seed=1)
    assert blanks.answers.shape == (20, 4)
    for i, look in enumerate(looks):
        hidden = blanks.answers[i, blanks.correct[i]]
        assert set(blanks.contexts[i]) | {hidden} == set(look)
        assert len(set(category[blanks.answers[i]])) == 1
        assert len(set(blanks.answers[i])) == 4
        assert not (set(blanks.answers[i]) - {hidden}) & set(look)
    again = outfits.hard_blanks(looks, category, seed=1)
    np.testing.assert_array_equal(blanks.answers, again.answers)
    with pytest.raises(BadData, match="3 items have too few others of their category"):
        outfits.hard_outfits([[0, 1], [1, 4]], category)


def test_outfit_messages():
    with pytest.raises(BadData, match="one has 1 items; expected at least 2"):
        outfits.compatibility(unit(3), [[0]])
    with pytest.raises(BadData, match="none given"):
        outfits.compatibility(unit(3), [])
    with pytest.raises(BadData, match="AUC and AP need both"):
        outfits.auc([1, 1], [0.1, 0.2])
    with pytest.raises(BadData, match="must be 0 or 1"):
        outfits.auc([1, 2], [0.1, 0.2])
    with pytest.raises(BadData, match="correct place 3 among 2 answers"):
        outfits.fill_in_the_blank(unit(3), outfits.Blanks([np.array([0])], np.array([[1, 2]]), np.array([3])))
    with pytest.raises(BadData, match="expected q contexts"):
        outfits.fill_in_the_blank(unit(3), outfits.Blanks([np.array([0])], np.array([1, 2]), np.array([0])))


# --- voices -------------------------------------------------------------------------------------


def test_voices_by_hand():
    """The first three clips are right, wrong, right: P@3 = 2/3; two clips are right at all."""
    clips = np.array([[1.0], [0.9], [0.8], [0.1]], np.float32)
    rows = voices.emotion_retrieval(np.ones((1, 1), np.float32), clips, ["sad"], ["sad", "calm", "sad", "calm"], k=3)
    assert value(rows, "precision@3") == pytest.approx(2 / 3)
    assert value(rows, "nDCG@3") == pytest.approx((1 + 0.5) / (1 + 1 / np.log2(3)))
    assert rows[0]["chance"] == 0.5


def test_voices_count_ties_against_us():
    clips = np.ones((5, 2), np.float32)  # all score alike: two wrong ones come first
    rows = voices.emotion_retrieval(clips[:1], clips, ["sad"], ["sad", "calm", "sad", "calm", "sad"], k=3)
    by = {row["measure"]: row["value"] for row in rows}
    assert by["precision@3"] == pytest.approx(1 / 3)
    assert by["nDCG@3"] == pytest.approx((1 / np.log2(4)) / (1 + 1 / np.log2(3) + 1 / np.log2(4)))


def test_voices_equal_ir_measures():
    random = np.random.default_rng(0)
    texts, clips = unit(15), unit(60, seed=1)
    asked, carried = random.integers(0, 4, 15), random.integers(0, 4, 60)
    rows = voices.emotion_retrieval(texts, clips, asked, carried)
    score = texts.astype(np.float64) @ clips.T
    run = {f"q{i}": {f"d{j}": s for j, s in enumerate(row)} for i, row in enumerate(score)}
    relevant = {f"q{i}": {f"d{j}": 1 for j in np.flatnonzero(carried == e)} for i, e in enumerate(asked)}
    for ours, theirs in (("precision@10", ir_measures.P @ 10), ("nDCG@10", ir_measures.nDCG @ 10)):
        expected = ir_measures.calc_aggregate([theirs], relevant, run)[theirs]
        assert value(rows, ours) == pytest.approx(expected, abs=1e-9)


def test_voices_chance_is_what_random_orders_give():
    random = np.random.default_rng(0)
    carried = np.repeat([0, 1, 2], [5, 10, 25])
    found = [voices.emotion_retrieval(random.standard_normal((3, 4)), random.standard_normal((40, 4)), [0, 1, 2], carried,
                                      resamples=1) for _ in range(600)]  # fmt: skip
    for i in (0, 1):
        assert np.mean([f[i]["value"] for f in found]) == pytest.approx(found[0][i]["chance"], abs=0.01)


def test_voice_messages():
    with pytest.raises(BadData, match="no clip carries 'bored'"):
        voices.emotion_retrieval(unit(1), unit(3), ["bored"], ["sad"] * 3, k=1)
    with pytest.raises(BadData, match="k=9 among 3 clips"):
        voices.emotion_retrieval(unit(1), unit(3), ["sad"], ["sad"] * 3, k=9)
    with pytest.raises(BadData, match="3 clips and 2 emotions"):
        voices.emotion_retrieval(unit(1), unit(3), ["sad"], ["sad"] * 2, k=1)


# --- prompts ------------------------------------------------------------------------------------


def test_prompts_beside_their_baselines():
    """Targets with a large common mean: the mean vector's cosine is high and its retrieval is chance."""
    random = np.random.default_rng(0)
    distinct = (unit(40, 16, 1) + 3 * unit(1, 16, 2)).astype(np.float32)
    which = np.arange(400) % 40
    x = distinct[which] @ random.standard_normal((16, 12)) + 0.3 * random.standard_normal((400, 12))
    told = prompts.baselines(x[:200], distinct[which[:200]], x[200:])
    rows = prompts.prompt_retrieval({"head": distinct[which[200:]], **told}, distinct, which[200:], resamples=100)
    assert value(rows, "cosine", method="head") == pytest.approx(1)
    assert value(rows, "cosine", method="mean vector") > 0.9
    assert value(rows, "hit@1", method="mean vector") <= 1 / 40 + 1e-9
    assert value(rows, "hit@1", method="head") == 1
    assert value(rows, "hit@1", method="ridge") > 0.4


def test_ridge_baseline_equals_scikit_learn():
    random = np.random.default_rng(0)
    x, y = random.standard_normal((80, 10)) * np.arange(1, 11), random.standard_normal((80, 4))
    x[:, 3] = 7.0  # a constant input is ignored
    ours = prompts.baselines(x[:60], y[:60], x[60:])["ridge"]
    target = y[:60] / np.linalg.norm(y[:60], axis=1, keepdims=True)
    centre, scale = x[:60].mean(0), np.where(x[:60].std(0) > 0, x[:60].std(0), 1)
    errors = [np.abs(Ridge(alpha=60 * 10.0**e).fit((x[:60] - centre) / scale, target).predict((x[60:] - centre) / scale)
                     - ours).max() for e in range(-6, 7)]  # fmt: skip
    assert min(errors) < 1e-10


def test_prompt_messages():
    with pytest.raises(BadData, match="compared with 'mean vector' and 'ridge'"):
        prompts.prompt_retrieval({"head": unit(3)}, unit(3), np.arange(3))
    with pytest.raises(BadData, match=r"head: predictions \(2, 8\); expected \(3, 8\)"):
        prompts.prompt_retrieval({"head": unit(2), "mean vector": unit(3), "ridge": unit(3)}, unit(3), np.arange(3))
    with pytest.raises(BadData, match="do not fit"):
        prompts.baselines(unit(3), unit(4), unit(3))
