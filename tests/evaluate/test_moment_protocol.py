"""The protocol moments equals an independent rewrite of the challenge's evaluator, and its chance a simulation."""

import dcase_2026
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import BadData
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.projected import Projected
from sensorium.evaluate.protocols import moments
from sensorium.modalities.audio import excerpts
from sensorium.numerics.intervals import iou
from sensorium.pairs import Pairs
from sensorium.types import Data, Items


def made(recordings, window=4.0, hop=1.0, seed=0, back=False):
    """Data of recordings: (length, [(caption, begin, end), …]), all in the test split; and random outputs."""
    random = np.random.default_rng(seed)
    spans, recording, texts, times, of = [], [], [], [], []
    for at, (length, said) in enumerate(recordings):
        own = excerpts.grid(length, window, hop)
        first = len(spans)
        spans += own
        recording += [f"r{at}"] * len(own)
        for text, begin, end in said:
            of.append((first, len(texts), at))
            texts.append(text)
            times.append((begin, end))
    spans, times = np.array(spans), np.array(times, np.float64)
    z = random.standard_normal((len(spans), 6)).astype(np.float32)
    y = random.standard_normal((len(texts), 6)).astype(np.float32)
    windows = Items(np.array([f"w{i}" for i in range(len(spans))]), z, "vector",
                    {"recording": np.array(recording), "begin": spans[:, 0], "end": spans[:, 1]})  # fmt: skip
    captions = Items(np.array([f"c{i}" for i in range(len(texts))]), texts, "text",
                     {"begin": times[:, 0], "end": times[:, 1]})  # fmt: skip
    rows = np.array(of)
    pairs = Pairs.of(rows[:, 0], rows[:, 1], group=rows[:, 2], split=np.full(len(rows), "test"))
    if back:
        pairs = Pairs.of(rows[:, 1], rows[:, 0], group=rows[:, 2], split=np.full(len(rows), "test"))
        return Data(captions, windows, pairs), Projected.of(y, z, pairs)
    return Data(windows, captions, pairs), Projected.of(z, y, pairs)


def values(data, projected, tmp_path):
    options = EvaluateOptions(resamples=20, plots=False)
    found = moments.report(data, projected, options, {}, tmp_path)
    return {row["measure"]: row for row in found.results}, found


recordings = st.lists(
    st.tuples(
        st.floats(5, 40),
        st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 0.8), st.floats(0.05, 0.2)), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(recordings, st.integers(0, 99), st.booleans())
def test_equal_to_the_challenges_evaluator(tmp_path_factory, drawn, seed, back):
    drawn = [(n, [(t, n * b, n * (b + e)) for t, b, e in said]) for n, said in drawn]
    data, projected = made(drawn, seed=seed, back=back)
    rows, _ = values(data, projected, tmp_path_factory.mktemp("m"))
    windows = data.right if back else data.left
    zw, zc = (projected.zr, projected.zl) if back else (projected.zl, projected.zr)
    spans = list(zip(windows.meta["begin"].tolist(), windows.meta["end"].tolist(), strict=True))
    first, precision = {0.5: [], 0.7: []}, {t: [] for t in dcase_2026.THRESHOLDS}
    caption = 0
    for at, (_, said) in enumerate(drawn):
        asked = {}
        for text, begin, end in said:
            asked.setdefault(text, (caption, []))[1].append((begin, end))
            caption += 1
        own = [i for i, name in enumerate(windows.meta["recording"].tolist()) if name == f"r{at}"]
        for row, said_at in asked.values():
            score = {i: float(np.dot(zw[i], zc[row])) for i in own}
            ranked = sorted(own, key=lambda i: -score[i])
            kept = []
            for i in ranked:  # of two that overlap by more than a half the better one stays
                if all(dcase_2026.overlap(spans[i], spans[j]) <= 0.5 for j in kept):
                    kept.append(i)
            answers = [spans[i] for i in kept]
            for t in first:
                first[t].append(dcase_2026.first(answers, said_at, t))
            for t in precision:
                precision[t].append(dcase_2026.average_precision(answers, said_at, t))
    for name, expected in (("R1@IoU0.5", first[0.5]), ("R1@IoU0.7", first[0.7]), ("mAP@IoU0.5", precision[0.5]),
                           ("mAP@IoU0.75", precision[0.75]), ("mAP@IoU", list(precision.values()))):  # fmt: skip
        assert rows[name]["value"] == pytest.approx(np.mean(expected), abs=1e-9), name
        assert rows[name]["direction"] == ("left->right" if back else "right->left")
        assert rows[name]["n_queries"] == len(first[0.5])


def test_the_whole_corpus_and_several_moments_by_hand(tmp_path):
    """ "a" is heard twice in r0 and once in r1: any of the three is right among all windows."""
    data, projected = made([(12, [("a", 0, 4), ("a", 8, 12), ("b", 4, 8)]), (12, [("a", 4, 8)])])
    zl, zr = np.zeros((18, 2), np.float32), np.zeros((4, 2), np.float32)
    zr[:, 0] = 1
    zr[2] = [0, 1]
    zl[[0, 8], 0] = 1, 2  # r0 at 0-4 and 8-12
    zl[9 + 4, 0] = 5  # r1 at 4-8
    zl[9 + 3, 1] = 1  # "b" is not in r1
    rows, found = values(data, Projected.of(zl, zr, projected.pairs), tmp_path)
    assert found.notes["queries"] == 3 and found.notes["moments"] == 4
    assert rows["R1@IoU0.7"]["value"] == pytest.approx(2 / 3)  # "b": all windows of r0 are equal, the worst one counts
    assert rows["corpus R1@IoU0.7"]["value"] == pytest.approx(2 / 3)
    assert rows["R1@IoU0.7"]["n_candidates"] == 9 and rows["corpus R1@IoU0.7"]["n_candidates"] == 18
    assert found.notes["best_possible_R1@IoU0.7"] == 1.0


def test_chance_is_what_random_outputs_reach(tmp_path):
    drawn = [(30, [("a", 3, 7), ("b", 10, 12)]), (25, [("a", 20, 24.5), ("c", 0, 9)]), (40, [("d", 30.3, 34)])]
    totals = {}
    for seed in range(60):
        data, projected = made(drawn, seed=seed)
        rows, _ = values(data, projected, tmp_path)
        for name, row in rows.items():
            totals.setdefault(name, []).append(row["value"])
    for name in ("R1@IoU0.5", "corpus R1@IoU0.5", "mAP@IoU0.5", "mAP@IoU"):
        assert np.mean(totals[name]) == pytest.approx(rows[name]["chance"], abs=0.04), name


def test_data_without_windows_or_moments_are_refused():
    data, _ = made([(12, [("a", 0, 4)])])
    plain = Data(Items(data.left.ids, data.left.values, "vector"), data.right, data.pairs)
    with pytest.raises(
        BadData, match=r"evaluate\.protocol=moments needs windows of recordings.*type: data\.window=10 "
    ):
        moments.check(plain)
    without = Data(data.left, Items(data.right.ids, data.right.values, "text"), data.pairs)
    with pytest.raises(BadData, match="needs captions with a begin and an end in seconds, but no caption has both"):
        moments.check(without)
    with pytest.raises(BadData, match=r"evaluate\.protocol=moments is between two sides"):
        moments.check(Data(data.left, None, data.pairs))


def test_overlap_of_intervals():
    a = np.array([[0, 10], [5, 15], [20, 30]])
    assert iou(a, np.array([[5, 10]]))[:, 0].tolist() == [0.5, 0.5, 0.0]
    assert iou(a, a).diagonal().tolist() == [1, 1, 1]
