"""Ratings of emotion words, and their scales."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.numerics import affect, affect_scales


def test_the_eight_emotions_have_the_published_ratings():
    assert affect.vad("angry") == (-0.51, 0.59, 0.25) and affect.vad("fearful") == (-0.64, 0.60, -0.43)
    assert affect.vad("neutral") == (0.0, 0.0, 0.0)
    assert list(affect.RATINGS)[:8] == list(affect.EMOTIONS)
    assert all(-1 <= value <= 1 for rating in affect.RATINGS.values() for value in rating)


@pytest.mark.parametrize(
    ("written", "word"),
    [("Anger", "angry"), ("fear", "fearful"), ("joy", "happy"), ("SURPRISE", "surprised"), ("disgusted", "disgust"),
     ("pleasant surprise", "surprised"), ("boredom", "bored"), ("Happiness ", "happy"), ("whispered", "whispered")],
)  # fmt: skip
def test_other_words_for_an_emotion_are_mapped_to_one(written, word):
    assert affect.canonical(written) == word
    assert affect.canonical(word) == word


def test_no_word_is_a_synonym_of_two_emotions():
    words = [other for others in affect._SYNONYMS.values() for other in others.split()]
    assert len(words) == len(set(words)) and not set(words) & set(affect.RATINGS)
    assert set(affect._SYNONYMS) == set(affect.RATINGS)


@given(st.lists(st.sampled_from(affect.EMOTIONS), min_size=1, max_size=9), st.lists(
    st.sampled_from(affect.EMOTIONS), min_size=1, max_size=9))  # fmt: skip
def test_distances_are_those_of_the_definition(a, b):
    found = affect.distances(a, b)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            right = sum((x - y) ** 2 for x, y in zip(affect.RATINGS[one], affect.RATINGS[other], strict=True)) ** 0.5
            assert found[i, j] == pytest.approx(right, abs=1e-6)
            assert (found[i, j] == 0) == (one == other)


def test_a_word_without_ratings_is_none_alone_and_an_error_among_others():
    assert affect.vad("whispered") is None
    with pytest.raises(BadData, match=r"2 of 3 items have an emotion without ratings .* 'whispered'; known: neutral"):
        affect.vads(["sad", "whispered", "whispered"])
    with pytest.raises(BadData, match="'whispered'"):
        affect.distances(["sad"], ["whispered"])


@pytest.mark.parametrize("scale", affect_scales.SCALES)
@given(values=st.lists(st.tuples(*[st.floats(-1, 1)] * 3), min_size=1, max_size=20))
def test_every_scale_gives_the_same_ratings(scale, values):
    low, high = affect_scales.SCALES[scale]
    values = np.array(values)
    found = affect_scales.to_unit(low + (values + 1) / 2 * (high - low), scale)
    np.testing.assert_allclose(found, values, atol=1e-6)
    assert found.dtype == np.float32 and np.abs(found).max() <= 1


def test_ratings_outside_their_scale_are_refused_with_the_row_and_the_scale_to_type():
    values = np.array([[0.2, 0.5, 0.7], [1.0, 4.5, 6.0]])
    with pytest.raises(BadData, match=r"vad.csv: 1 of 2 rows are outside 0\.\.1 in arousal, such as 4.5 in b.wav; state "
                                      r"the scale of the source: scale=-1\.\.1\|0\.\.1\|"):  # fmt: skip
        affect_scales.to_unit(values, "0..1", "vad.csv", ["a.wav", "b.wav"])
    with pytest.raises(
        BadData, match=r"1 of 1 rows are outside 1\.\.7 in valence, such as 0.2 in 0; .*: scale=0\.\.1$"
    ):
        affect_scales.to_unit(values[:1], "1..7")
    assert affect_scales.fitting(values[:1]) == "0..1" and affect_scales.fitting(values[1:]) == "1..7"


def test_nan_is_refused_with_its_rows():
    values = np.zeros((5, 3))
    values[[1, 2, 3, 4], 0] = np.nan
    with pytest.raises(BadData, match=r"ratings: 4 of 5 rows hold NaN or infinity: 1, 2, 3 and 1 more"):
        affect_scales.to_unit(values, "-1..1")


def test_an_unknown_scale_names_the_nearest():
    with pytest.raises(BadRecipe, match=r"audio.scale='1..8'; did you mean '1\.\.[579]'"):
        affect_scales.check("1..8", "audio.scale")
