"""The keys of [evaluate]: how a finished fit is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sensorium.errors import BadRecipe, nearest
from sensorium.evaluate import DIRECTIONS, protocols
from sensorium.evaluate.hubness_methods import METHODS
from sensorium.evaluate.leaks import POLICIES
from sensorium.scores.measures import parse

_LATER = ("styles",)  # keys that recipes of before lack, and that are left out where they are not given
_MOST = 100_000  # resamples; the ends of a 95% interval no longer move
_WORDS = {"leaks": POLICIES, "correction": ("auto", "none", *METHODS)}
_MEASURES = ("hit@1", "hit@5", "hit@10", "recall@5", "recall@10", "MRR", "median_rank", "mAP@10", "nDCG@10")
_OF_CLASSES = "precision@10"  # said too where rows that share a label are related, and nobody chose measures


@dataclass(frozen=True)
class EvaluateOptions:
    """How a fit is evaluated. Raises BadRecipe for an invalid value, before anything is computed.

    measures: of retrieval, see :func:`sensorium.scores.measures.parse`. directions: in which it is measured.
    resamples: of the bootstrap over groups.
    baselines: closed forms, solved on the same split, whose numbers stand beside the fit's.
    leaks: "stamp" marks a leaky number, "refuse" makes it an error, "off" skips the audit.
    correction: of hubness; "auto" chooses on validation, "none", or a method such as "csls".
    calibrate: fit probabilities of hits on validation. plots: draw the figures of the run.
    styles: also ask the captions of the test split as tags, questions, commands, paraphrases and "… without …".
    protocol: a file of ``evaluate/protocols``, whose measures are added; none by default.
    seed: of everything random here; the recipe's own seed, not a key of [evaluate].
    """

    measures: Sequence[str] = _MEASURES
    directions: Sequence[str] = DIRECTIONS
    resamples: int = 1000
    baselines: Sequence[str] = ("ridge", "procrustes", "cca")
    leaks: str = "stamp"
    correction: str = "auto"
    calibrate: bool = True
    plots: bool = True
    protocol: str | None = None
    styles: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for measure in _names("measures", self.measures, "hit@10"):
            parse(measure)
        for direction in _names("directions", self.directions, DIRECTIONS[0]):
            _known("directions", direction, DIRECTIONS)
        _names("baselines", self.baselines, "ridge", least=0)
        for key, words in _WORDS.items():
            _known(key, getattr(self, key), words)
        number = isinstance(self.resamples, int) and not isinstance(self.resamples, bool)
        if not number or not 1 <= self.resamples <= _MOST:
            raise BadRecipe(f"evaluate.resamples={self.resamples!r}; expected a whole number, 1 to {_MOST}")
        if self.protocol is not None:
            protocols.check_name(self.protocol)
        for key in ("calibrate", "plots", "styles"):
            if not isinstance(getattr(self, key), bool):
                raise BadRecipe(f"evaluate.{key}={getattr(self, key)!r}; expected true or false")

    def for_classes(self) -> EvaluateOptions:
        """The options for a relation by class: with precision@10 among the measures, where these are the usual ones."""
        usual = list(self.measures) == list(_MEASURES)
        return replace(self, measures=(*self.measures, _OF_CLASSES)) if usual else self

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Every key of [evaluate] with its default, as a recipe holds it; None where a key may be left out."""
        plain = {f.name: list(f.default) if isinstance(f.default, tuple) else f.default for f in fields(cls)}
        return {key: None if key in _LATER else value for key, value in plain.items() if key != "seed"}


def _names(key: str, names: Any, such_as: str, least: int = 1) -> Sequence[str]:
    if not isinstance(names, (list, tuple)) or len(names) < least or not all(isinstance(name, str) for name in names):
        raise BadRecipe(f"evaluate.{key}={names!r}; expected a list, such as '[\"{such_as}\"]'")
    return names


def _known(key: str, value: Any, words: Sequence[str]) -> None:
    if value not in words:
        raise BadRecipe(f"evaluate.{key}={value!r}; {nearest(str(value), words)}")
