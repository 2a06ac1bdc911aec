"""Labels of faces: the seven emotions under the names and codes that data sets give them, and as adjectives."""

from __future__ import annotations

import re

#: Other names of the document's seven, in lower case; other labels stay as they are.
_NAMES = {
    "anger": "angry", "angry": "angry", "disgust": "disgust", "disgusted": "disgust", "fear": "fear",
    "fearful": "fear", "afraid": "fear", "scared": "fear", "happy": "happy", "happiness": "happy", "joy": "happy",
    "neutral": "neutral", "sad": "sad", "sadness": "sad", "surprise": "surprise", "surprised": "surprise",
}  # fmt: skip
#: What stands for {label} in "a person looking {label}"; other labels stand for themselves.
ADJECTIVES = {"disgust": "disgusted", "fear": "fearful", "surprise": "surprised", "contempt": "contemptuous"}
#: Codes of FER2013's column ``emotion``, and of AffectNet's ``expression``.
FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")


def canonical(label: str) -> str:
    """The document's name of an emotion, from other names of it, in any case, with a number before it or none.

    >>> canonical("04_Happiness"), canonical("surprised"), canonical("Calm"), canonical("2 cats")
    ('happy', 'surprise', 'calm', '2 cats')
    """
    plain = re.sub(r"^\d+[ _.\-]+", "", label.strip()).casefold()
    if plain in _NAMES:
        return _NAMES[plain]
    return plain if plain in ("calm", "contempt") else label.strip()


def adjective(label: str) -> str:
    """A label as it stands after "a person looking".

    >>> adjective("surprise"), adjective("happy"), adjective("tired")
    ('surprised', 'happy', 'tired')
    """
    return ADJECTIVES.get(label, label)
