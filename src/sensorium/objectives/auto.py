"""Auto: closed forms and trained heads that fit the data, tried within the time there is, mixed on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium import parts
from sensorium.contracts import Member, MixtureObjective
from sensorium.errors import BadRecipe
from sensorium.objectives._class_codes import class_table
from sensorium.objectives._members import member
from sensorium.pairs import Pairs
from sensorium.types import Embeddings

_MOST = 100  # trained fits
_CCA = {
    "name": "cca",
    "strengths": [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
    "powers": [0.0, 0.5, 1.0, 1.5, 2.0, 4.0],
}
_STEPS = {"epochs": 10, "lr": 1e-3, "weight_decay": 1e-2}
_RESIDUAL = {"name": "mlp", "hidden": 512, "dim": 256, "dropout": 0.5, "residual": True, "input_dropout": 0.3}

_NOISY = {"name": "infonce", "head": {"input_dropout": 0.3}, "options": _STEPS}
_WIDER = 2.0  # times the other side's inputs, from which the wider side alone has the input dropout of _NOISY


def _kernel(width: float, seed: int) -> dict[str, Any]:
    """Kernel CCA by random features."""
    return {"name": "cca", "dim": 256, "strengths": [0.01, 0.1, 1.0], "powers": [1.0, 2.0, 4.0],
            "head": {"name": "random_features", "width": width, "seed": seed}}  # fmt: skip


#: Members by what the data are, closed forms first, and of these the surest good one.
_CLOSED: Mapping[str, Sequence[Any]] = {
    "items": [_CCA, "ridge", "procrustes", _kernel(1.5, 0), _kernel(3.0, 1)],
    "one table": [_CCA, _kernel(1.5, 0), _kernel(3.0, 1)],
    "relation by class": [
        _CCA, "ridge", _kernel(3.0, 0),
        {"name": "lda", "head": "posterior"}, {"name": "logistic", "head": "posterior"},
        {"name": "knn", "head": "posterior"},
    ],
    "class table": [
        "ridge", _CCA,
        {"name": "ridge", "head": {"name": "random_features", "features": 2048}, "right_head": "identity"},
        {"name": "lda", "head": "posterior"}, {"name": "logistic", "head": "posterior"},
        {"name": "knn", "head": "posterior"},
    ],
}  # fmt: skip
_TRAINED: Mapping[str, Sequence[Any]] = {
    "items": [
        {"name": "infonce", "options": _STEPS},
        _NOISY,
        {"name": "infonce", "head": _RESIDUAL, "options": _STEPS},
        {"name": "infonce", "learnable": True, "variance": 0.92, "options": {**_STEPS, "mixup": 1.0}},
        {"name": "infonce", "variance": 0.92, "options": {**_STEPS, "structure": 1.0}},
    ],
    "class table": [
        {"name": "cross_entropy", "label_smoothing": 0.1, "options": _STEPS,
         "head": {"name": "mlp", "hidden": 512, "dropout": 0.5, "normalize": False}, "right_head": "identity"},
    ],
}  # fmt: skip


class Auto(MixtureObjective):
    """A mixture whose members are chosen by the data, within ``train.seconds``; see :class:`.mixture.Mixture`.

    Closed forms come first: CCA with strengths and powers chosen on validation, ridge, Procrustes; for class tables
    shrinkage LDA, logistic regression, votes of near items (knn) and ridge of random features. Then the recipe's own
    heads and others are trained, as many as there is time to repeat, and the best on validation is fitted again with
    other seeds while time is left. Kernel CCA by random features is solved before them where the items are few, else
    after them. What does not apply to the data is left out. The weights are those of greedy selection on the validation
    pairs, by ``train.monitor``, drawn half way to equal ones; seeds of one member count alike. The result is the best
    closed form alone where the data are few: with fewer than ``least`` training items on a side nothing is trained, and
    a mixture must be better than the closed form by a standard error, with few validation groups by
    as many as Student's t says.
    ``train.distill=true`` trains one more pair of the recipe's own heads on the scores of the mixture, with 30% of the
    time, and serves that.

    closed: closed forms, each by name or as ``{name = "cca", strengths = 0.1}``; left out, by the data.
    trained: trained members in the same form, with ``head`` (left out, the recipe's own; keys without a name change
        those), ``right_head``, ``variance`` (perceptrons of wide inputs are trained on the principal components that
        hold this share of it, where they are at most a fourth of the inputs' numbers) and ``options``, keys of [train]
        that hold where the recipe leaves them at their defaults; left out, by the data; ``[]``: none.
    own: the trained objective of the recipe's own heads, such as ``{name = "infonce", temperature = 0.1}``: they are
        first fitted with it and the recipe's [train] as it is, and what else is tried of that name has its keys. A
        recipe's objective is kept here where ``objective=auto`` replaces it; left out, by the data.
    most: trained fits in all, 0 to 100.
    least: training items of each side (of a class table, of the left one) from which trained members are tried, 0 or
        more, up to 1,000,000,000.
    seconds: that the fit may take, where ``train.seconds`` is 0; 0 for no limit where that is 0 too, up to
        1,000,000,000.
    powers: signed powers of the inputs; which one a side has is chosen on validation, with the first closed form.
    corrected: the weights are chosen with scores corrected for hubs, as a run is evaluated and searched.

    Raises BadRecipe for invalid values.
    """

    adaptive = True
    keeps_own = True

    def __init__(
        self,
        closed: Sequence[str | Mapping[str, Any]] | None = None,
        trained: Sequence[str | Mapping[str, Any]] | None = None,
        most: int = 12,
        least: int = 300,
        seconds: float = 60.0,
        powers: Sequence[float] = (1.0, 0.5),
        corrected: bool = True,
        own: Mapping[str, Any] | None = None,
    ) -> None:
        for name, values in (("closed", closed), ("trained", trained)):
            if values is not None and (isinstance(values, (str, Mapping)) or len(values) > _MOST):
                raise BadRecipe(f"auto: {name}={values!r}; expected a list of at most {_MOST} objectives, such as "
                                "'[\"cca\"]'")  # fmt: skip
        if not 0 <= most <= _MOST:
            raise BadRecipe(f"auto: most={most}; expected 0 to {_MOST}, such as 12")
        if not 0 <= least <= 1_000_000_000:
            raise BadRecipe(f"auto: least={least}; expected 0 to 1,000,000,000, such as 300")
        if not 0 <= seconds <= 1e9:
            raise BadRecipe(f"auto: seconds={seconds}; expected 0 to 1,000,000,000, such as 60")
        self.most, self.least, self.seconds, self.corrected = most, least, float(seconds), corrected
        self.powers = parts.make("objectives", {"name": "mixture", "powers": powers}).powers
        self._closed, self._trained, self._own = closed, trained, own
        self.own = None if own is None else self._checked(own)
        self.members = self._of("items")
        for kind in _CLOSED:
            self._of(kind)  # what is wrong with a member is said at once

    def chosen(self, left: Embeddings, right: Embeddings, pairs: Pairs) -> Sequence[Member]:
        """The members for these data: of one table, a class table, a relation by class, or items of two kinds."""
        widths = left.dim, right.dim
        if pairs.same_table:
            return self._of("one table")
        if pairs.classes is not None:
            return self._of("relation by class", widths)
        return self._of("items" if class_table(left, right, pairs) is None else "class table", widths)

    def _of(self, kind: str, widths: tuple[int, int] = (1, 1)) -> list[Member]:
        closed = _CLOSED[kind] if self._closed is None else self._closed
        trained = [_of_wide(spec, widths) for spec in _TRAINED.get(kind, _TRAINED["items"])]
        trained = trained if self._trained is None else self._trained
        if self._own is not None and self._trained is None:
            trained = _with_own(trained, self._own)
        made = []
        for name, specs in (("closed", closed), ("trained", trained)):
            for k, spec in enumerate(specs):
                one = member(spec, f"objective.{name}[{k}]")
                if one.objective.closed_form != (name == "closed"):
                    other, called = ("trained",) * 2 if name == "closed" else ("closed", "a closed form")
                    raise BadRecipe(f"objective.{name}[{k}]: '{one.name}' is {called}; name it in objective.{other}")
                made.append(one)
        if not made:
            raise BadRecipe(
                "auto: closed=[] and trained=[]; expected one objective at least, such as closed='[\"cca\"]'"
            )
        return made

    @staticmethod
    def _checked(own: Mapping[str, Any]) -> Any:
        """The objective ``own``. Raises BadRecipe where it is not a trained one."""
        if not isinstance(own, Mapping) or "name" not in own:
            raise BadRecipe(f"auto: own={own!r}; expected an objective with its keys, such as "
                            "'{name = \"infonce\", temperature = 0.1}'")  # fmt: skip
        made = parts.make("objectives", own, "objective.own")
        if made.closed_form or made.mixture:
            raise BadRecipe(f"objective.own: '{own['name']}' is no trained objective; expected one, such as infonce")
        return made


def _of_wide(spec: Any, widths: tuple[int, int]) -> Any:
    """The member with input dropout: of the wider side alone where its inputs are much wider than the other's."""
    if spec is not _NOISY or max(widths) < _WIDER * min(widths):
        return spec
    keys = [spec["head"] if width == max(widths) else {} for width in widths]
    return {**spec, "head": keys[0], "right_head": keys[1]}


def _with_own(trained: Sequence[Any], own: Mapping[str, Any]) -> list[Any]:
    """Trained members that begin with the recipe's own objective; those of its name and heads have its keys too."""
    made = [own]
    for spec in trained:
        head = spec.get("head")
        if spec["name"] == own["name"] and (head is None or "name" not in head):
            made += [{**own, **spec}] if set(spec) > {"name", "options"} else []  # that one is the first
        else:
            made.append(spec)
    return made
