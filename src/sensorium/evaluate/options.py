"""The keys of [evaluate]: how a finished fit is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.errors import BadRecipe, nearest
from sensorium.evaluate import DIRECTIONS
from sensorium.evaluate.hubness_methods import METHODS
from sensorium.evaluate.leaks import POLICIES
from sensorium.evaluate.measures import parse

DEFAULTS = {
    "measures": ["hit@1", "hit@5", "hit@10", "recall@5", "recall@10", "MRR", "median_rank", "mAP@10", "nDCG@10"],
    "directions": list(DIRECTIONS),
    "resamples": 1000,  # bootstrap resamples over groups
    "baselines": ["ridge", "procrustes", "cca"],  # closed forms printed beside a trained head
    "leaks": "stamp",  # "stamp" marks a leaky number, "refuse" makes it an error, "off" does not look
    "correction": "auto",  # hubness: "auto" chooses on validation; "none", "csls", "inverted_softmax", ...
    "calibrate": True,  # turn scores into probabilities, fitted on validation
    "plots": True,
}
_MOST = 100_000  # resamples; the ends of an interval of 95% no longer move
_WORDS = {"leaks": POLICIES, "correction": ("auto", "none", *METHODS)}


def check(values: Mapping[str, Any]) -> None:
    """Raise BadRecipe for a value that cannot be meant: said before a fit, not after it."""
    for measure in _names("measures", values, "hit@10"):
        parse(measure)
    for direction in _names("directions", values, DIRECTIONS[0]):
        _known("directions", direction, DIRECTIONS)
    _names("baselines", values, "ridge", least=0)
    for key, words in _WORDS.items():
        _known(key, values[key], words)
    resamples = values["resamples"]
    if isinstance(resamples, bool) or not isinstance(resamples, int) or not 1 <= resamples <= _MOST:
        raise BadRecipe(f"evaluate.resamples={resamples!r}; expected a whole number, 1 to {_MOST}")
    for key in ("calibrate", "plots"):
        if not isinstance(values[key], bool):
            raise BadRecipe(f"evaluate.{key}={values[key]!r}; expected true or false")


def _names(key: str, values: Mapping[str, Any], such_as: str, least: int = 1) -> Sequence[str]:
    names = values[key]
    if not isinstance(names, (list, tuple)) or len(names) < least or not all(isinstance(name, str) for name in names):
        raise BadRecipe(f"evaluate.{key}={names!r}; expected a list, such as '[\"{such_as}\"]'")
    return names


def _known(key: str, value: Any, words: Sequence[str]) -> None:
    if value not in words:
        raise BadRecipe(f"evaluate.{key}={value!r}; {nearest(str(value), words)}")
