"""Valence, arousal and dominance of emotion words, after the ratings of Russell & Mehrabian (1977).

Source: J. A. Russell & A. Mehrabian, "Evidence for a three-factor theory of emotions", Journal of Research in
Personality 11 (1977), 273-294: average ratings of terms on pleasure, arousal and dominance, each -1 to 1. ``neutral``
is the origin of their scales. ``calm``, of RAVDESS, has the ratings of their term "relaxed".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sensorium.errors import BadData

#: RAVDESS's eight emotions, which other words for the same are mapped to.
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
DIMENSIONS = ("valence", "arousal", "dominance")
#: Word → (valence, arousal, dominance), each -1 to 1. After the eight: emotions of other corpora.
RATINGS: dict[str, tuple[float, float, float]] = {
    "neutral": (0.0, 0.0, 0.0),
    "calm": (0.68, -0.46, 0.06),
    "happy": (0.81, 0.51, 0.46),
    "sad": (-0.63, -0.27, -0.33),
    "angry": (-0.51, 0.59, 0.25),
    "fearful": (-0.64, 0.60, -0.43),
    "disgust": (-0.60, 0.35, 0.11),
    "surprised": (0.40, 0.67, -0.13),
    "bored": (-0.65, -0.62, -0.33),
    "contempt": (-0.35, 0.35, 0.29),
    "excited": (0.62, 0.75, 0.38),
    "frustrated": (-0.64, 0.52, 0.35),
    "proud": (0.77, 0.38, 0.65),
}
#: Words for the same emotion, as corpora and people write them.
_SYNONYMS = {
    "neutral": "none normal",
    "calm": "calmness relaxed serene serenity tranquil peaceful",
    "happy": "happiness joy joyful cheerful amused amusement glad delighted",
    "sad": "sadness sorrow sorrowful unhappy melancholic melancholy grief",
    "angry": "anger ang rage furious mad annoyed",
    "fearful": "fear afraid scared frightened terrified anxious anxiety",
    "disgust": "disgusted revulsion",
    "surprised": "surprise ps astonished astonishment amazed amazement pleasant_surprise pleasant_surprised",
    "bored": "boredom",
    "contempt": "contemptuous scorn scornful",
    "excited": "excitement enthusiastic",
    "frustrated": "frustration",
    "proud": "pride",
}
_CANONICAL = {other: word for word, others in _SYNONYMS.items() for other in others.split()}


def are_emotions(words: Sequence[str]) -> bool:
    """Whether classes of these names are emotions: two or more, each a word that is known for one.

    >>> are_emotions(["anger", "Fear", "neutral"]), are_emotions(["dog", "rain", "calm"])
    (True, False)
    """
    return len(words) > 1 and all(canonical(word) in RATINGS for word in words)


def canonical(word: str) -> str:
    """The word that stands for an emotion: one of RATINGS where it is known, else the word itself in lower case.

    >>> canonical("Anger"), canonical("fear"), canonical(" whispered ")
    ('angry', 'fearful', 'whispered')
    """
    word = "_".join(str(word).strip().lower().replace("-", " ").replace("_", " ").split())
    return _CANONICAL.get(word, word)


def vad(word: str) -> tuple[float, float, float] | None:
    """Valence, arousal and dominance of an emotion word, each -1 to 1; None for a word without ratings.

    >>> vad("joy"), vad("whispered")
    ((0.81, 0.51, 0.46), None)
    """
    return RATINGS.get(canonical(word))


def vads(words: Sequence[str]) -> np.ndarray:
    """Ratings (n, 3) float32 of n words. Raises BadData, with the count, for words without ratings."""
    unique, rows = np.unique(np.asarray(list(words), np.str_), return_inverse=True)
    found = [vad(word) for word in unique.tolist()]
    unknown = [word for word, rating in zip(unique.tolist(), found, strict=True) if rating is None]
    if unknown:
        count = int(np.isin(unique[rows], unknown).sum())
        raise BadData(
            f"{count} of {len(rows)} items have an emotion without ratings of valence and arousal, such as "
            f"'{unknown[0]}'; known: {', '.join(RATINGS)}"
        )
    return np.array(found, np.float32).reshape(-1, 3)[rows]


def distances(words_a: Sequence[str], words_b: Sequence[str]) -> np.ndarray:
    """Euclidean distances (n, m) float32 between the ratings of n words and of m words, 0 to 2√3.

    Raises BadData for words without ratings.
    """
    a, b = vads(words_a).astype(np.float64), vads(words_b).astype(np.float64)
    return np.sqrt(np.square(a[:, None] - b[None]).sum(axis=2)).astype(np.float32)
