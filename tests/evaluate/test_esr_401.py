"""Protocol esr-401 against the published procedure, written down again here."""

import random

import numpy as np
import pytest

from sensorium.errors import BadData
from sensorium.evaluate import protocols
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import esr_401
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

STYLES = ["sad", "angry", "neutral", "happy", "surprised"]


def unit(rows, d=12, seed=0):
    z = np.random.default_rng(seed).standard_normal((rows, d))
    return (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)


def as_published(clips, texts, style, text_style, ks, distractors=400, count=1000, seed=42):
    """The trials and the recalls of the paper's code: mean cosine over the prompts of a style, sorted downwards."""
    random.seed(seed)
    index = {}
    for i, name in enumerate(style):
        index.setdefault(name, []).append(i)
    recalls = []
    for name, positives in index.items():
        hits = []
        for _ in range(count):
            positive = random.choice(positives)
            pool = []
            for other in index:
                if other != name:
                    pool.extend(index[other])
            rows = [positive, *random.sample(pool, k=min(distractors, len(pool)))]
            prompts = texts[text_style == name].astype(np.float64)
            similarity = (prompts @ clips[rows].T.astype(np.float64)).mean(axis=0)
            order = np.argsort(-similarity).tolist()
            hits.append([order.index(0) < k for k in ks])
        recalls.append(np.mean(hits, axis=0))
    return np.mean(recalls, axis=0)


def library(m=600, q=40, signal=0.6):
    draw = np.random.default_rng(1)
    style, text_style = draw.permutation(np.array(STYLES * (m // 5))), np.array(STYLES * (q // 5))
    means = dict(zip(STYLES, unit(5, seed=2), strict=True))
    clips, texts = (unit(len(words), seed=seed) + signal * np.array([means[w] for w in words])
                    for seed, words in ((3, style), (4, text_style)))  # fmt: skip
    clips, texts = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (clips, texts))
    return clips.astype(np.float32), texts.astype(np.float32), style, text_style


def data_of(style, text_style, speaker=None):
    meta = {"emotion": style, **({} if speaker is None else {"speaker": speaker})}
    related = np.array([(i, j, a == b) for i, a in enumerate(text_style) for j, b in enumerate(style)
                        if a == b or b not in text_style]).T  # fmt: skip
    q, m = len(text_style), len(style)
    return Data(
        Items(np.array([f"text{i}" for i in range(q)]), np.zeros((q, 2)), "vector", {"emotion": text_style}, name="text"),
        Items(np.array([f"clip{i}" for i in range(m)]), np.zeros((m, 2)), "vector", meta, name="clip"),
        Pairs.of(*related, split=np.full(len(related[0]), "test")), {},
    )  # fmt: skip


def report_of(clips, texts, style, text_style, tmp_path, speaker=None):
    data = data_of(style, text_style, speaker)
    options = EvaluateOptions(protocol="esr-401", resamples=200, plots=False)
    return esr_401.report(data, Projected.of(texts, clips, data.pairs), options, {}, tmp_path)


def test_the_numbers_are_those_of_the_published_procedure(tmp_path):
    clips, texts, style, text_style = library()
    found = report_of(clips, texts, style, text_style, tmp_path)
    rows = {row["measure"]: row for row in found.results}
    expected = as_published(clips, texts, style, text_style, (1, 5, 10, 20))
    np.testing.assert_allclose([rows[f"R@{k}"]["value"] for k in (1, 5, 10, 20)], expected, atol=1e-12)
    assert [rows[f"R@{k}"]["chance"] for k in (1, 5, 10, 20)] == pytest.approx([k / 401 for k in (1, 5, 10, 20)])
    assert rows["R@1"]["n_candidates"] == 401 and rows["R@1"]["n_queries"] == 5000
    assert found.notes["candidates"] == [401] and "smaller_than_published" not in found.notes
    assert found.notes["styles"] == list(dict.fromkeys(style.tolist()))
    assert np.mean([row["value"] for row in found.breakdown["rows"]]) == pytest.approx(expected[0])


def test_one_text_a_trial_is_asked_alone(tmp_path):
    clips, texts, style, text_style = library()
    asked = esr_401.trials(style)
    found = esr_401.ranks(texts, clips, text_style, asked, one_text=True)
    draw = np.random.default_rng(42)
    mine = np.flatnonzero(text_style == asked.style[0])[draw.integers(0, 8, 1000)]
    for trial in range(0, 1000, 97):
        rows = [asked.positive[0][trial], *asked.others[0][trial]]
        score = clips[rows].astype(float) @ texts[mine[trial]].astype(float)
        assert found[0][trial] == 1 + (score[1:] >= score[0]).sum()
    rows = {row["measure"]: row["value"] for row in report_of(clips, texts, style, text_style, tmp_path).results}
    assert rows["R@10/one_text"] == pytest.approx(np.mean([(one <= 10).mean() for one in found]))
    assert rows["R@10/one_text"] < rows["R@10"]  # a mean of descriptions is a better one


def test_equal_scores_count_against_us():
    style = np.array(["sad"] * 3 + ["happy"] * 20)
    found = esr_401.ranks(np.ones((2, 3)), np.ones((23, 3)), np.array(["sad", "happy"]), esr_401.trials(style, 10))
    assert found[0].tolist() == [21] * 10 and found[1].tolist() == [4] * 10


def test_fewer_clips_than_published_are_said_and_change_the_chance(tmp_path):
    clips, texts, style, text_style = library(60)
    found = report_of(clips, texts, style, text_style, tmp_path)
    assert found.notes["candidates"] == [49]
    assert found.notes["smaller_than_published"].startswith("49 candidates in place of 401")
    assert found.results[0]["chance"] == pytest.approx(1 / 49)


def test_styles_without_a_text_are_distractors_only(tmp_path):
    clips, texts, style, text_style = library(60)
    keep = text_style != "happy"
    found = report_of(clips, texts[keep], style, text_style[keep], tmp_path)
    assert "happy" not in found.notes["styles"] and found.notes["candidates"] == [49]
    assert found.results[0]["n_queries"] == 4000


def test_one_style_alone_is_refused():
    with pytest.raises(BadData, match="esr-401 needs clips of at least 2 styles; all 5 are 'sad'"):
        esr_401.trials(np.array(["sad"] * 5))
    with pytest.raises(BadData, match="esr-401: no text describes the style 'b'"):
        esr_401.ranks(np.ones((1, 2)), np.ones((4, 2)), np.array(["a"]), esr_401.trials(np.array(list("aabb")), 2))


def test_intervals_draw_the_speakers_of_the_clips_that_are_sought(tmp_path):
    clips, texts, style, text_style = library(60)
    speaker = np.arange(60) % 3
    row = report_of(clips, texts, style, text_style, tmp_path, speaker.astype(str)).results[0]
    asked = esr_401.trials(style)
    hits = [one <= 1 for one in esr_401.ranks(texts, clips, text_style, asked)]
    of = [speaker[one] for one in asked.positive]
    draw, means = np.random.default_rng(0), []
    for _ in range(2000):
        weight = np.bincount(draw.integers(0, 3, 3), minlength=3)
        each = [np.average(hit, weights=weight[s]) for hit, s in zip(hits, of, strict=True) if weight[s].sum()]
        means.append(np.mean(each))
    low, high = np.quantile(means, (0.025, 0.975))
    assert (row["low"], row["high"]) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))
    assert row["n_groups"] == 3
    assert esr_401.mean_over_styles([np.ones(4)], [np.zeros(4, int)], 20, 0) == (1, 1)


def test_the_protocol_has_the_name_of_papers():
    assert "esr-401" in protocols.names() and protocols.find("esr-401") is esr_401
