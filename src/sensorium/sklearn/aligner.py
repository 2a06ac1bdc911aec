"""Aligner: two heads as one scikit-learn estimator, fitted on rows of X and of y that go together."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sensorium import parts, pipeline
from sensorium.errors import BadData, BadRecipe
from sensorium.fitting.environment import threads
from sensorium.memory import sections
from sensorium.pairs import Pairs
from sensorium.types import Embeddings, as_ids, blocks

_LEAST = 20  # rows, below which none are held out for validation
_SMALL = 4096  # rows that one thread fits
_BLOCK = 1024  # queries that are ranked at a time


class Aligner(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Fit a head for X and one for y, so that rows that go together are near each other in one space.

    y: vectors (n, m), of which row i goes with row i of X; or class labels (n,), whole numbers or text. ``transform``
    gives X in the shared space and ``transform_y`` y; ``predict`` gives the nearest of the fitted rows of y, or
    classes. ``score`` is the mean reciprocal rank of the true row of y among all rows of y that it is given, or the
    accuracy for class labels; higher is better. Output is float64, so that a row does not depend on its batch.

    objective: a recipe's, "cca" by default, such as "ridge", "infonce" or ``{"name": "cca", "dim": 8}``. dim: width of
    the shared space; None takes the objective's own. left, right: sections with a head, such as ``{"head": "linear"}``.
    train: options of a trained objective, such as ``{"epochs": 5}``. validation: share of the rows that choose
    strengths and the best epoch, none below 20 rows. seed: of everything random.

    Attributes: ``left_head_``, ``right_head_`` (``torch.nn.Module``), ``classes_`` (labels only), ``n_features_in_``.

    >>> Aligner(objective="ridge").fit(X, Y).score(X_test, Y_test)     # doctest: +SKIP
    """

    def __init__(
        self,
        objective: str | Mapping[str, Any] = "cca",
        *,
        dim: int | None = None,
        left: Mapping[str, Any] | None = None,
        right: Mapping[str, Any] | None = None,
        train: Mapping[str, Any] | None = None,
        validation: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.objective, self.dim, self.left, self.right = objective, dim, left, right
        self.train, self.validation, self.seed = train, validation, seed

    def fit(self, X: Any, y: Any) -> Self:
        """Fit both heads on X (n, d) and y. Raises ValueError for unusable data, BadRecipe for parameters."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, ensure_min_samples=2)
        targets, rows = self._targets(y)
        plan = self._plan()
        left = Embeddings(as_ids(np.arange(len(X))), X.astype(np.float32), {"name": "vectors"})
        right = Embeddings(as_ids(np.arange(len(targets))), targets.astype(np.float32), {"name": "vectors"})
        pairs = Pairs.of(np.arange(len(X)), rows, None, np.arange(len(X)))
        if self.validation and len(X) >= _LEAST:
            pairs = pairs.split_by_group({"validation": self.validation}, self.seed)
        try:
            with threads(1 if len(X) <= _SMALL else 0):
                fitted = pipeline.fit_heads(plan, left, right, pairs, None, progress=False)
        except BadData as error:
            raise ValueError(str(error)) from error
        self.left_head_, self.right_head_ = (copy.deepcopy(h).double() for h in (fitted.left_head, fitted.right_head))
        self._targets_, self._fitted_targets_ = targets, self._apply(self.right_head_, targets)
        self._n_features_out = int(self.left_head_.dim)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """X (n, d) in the shared space: (n, dim)."""
        check_is_fitted(self)
        return self._apply(self.left_head_, validate_data(self, X, dtype=np.float64, reset=False))

    def transform_y(self, y: Any) -> np.ndarray:
        """Vectors (n, m), or class labels (n,), of the right side in the shared space: (n, dim)."""
        check_is_fitted(self)
        return self._apply(self.right_head_, self._vectors(y)[0])

    def predict(self, X: Any) -> np.ndarray:
        """The row of y, of those that it was fitted on, or the class, that is nearest to each row of X."""
        z = self.transform(X)
        found = np.concatenate([(z[part] @ self._fitted_targets_.T).argmax(1) for part in blocks(len(z), _BLOCK)])
        if self._classes is not None:
            return self._classes[found]
        return self._targets_[found, 0] if self._flat_ else self._targets_[found]

    def score(self, X: Any, y: Any) -> float:
        """Mean reciprocal rank of the true row of y among the rows of y, from 0 to 1; the accuracy for class labels."""
        z = self.transform(X)
        if self._classes is not None:
            return float(np.mean(self.predict(X) == np.asarray(y)))
        vectors, _ = self._vectors(y)
        if len(vectors) != len(z):
            raise ValueError(f"y has {len(vectors)} rows and X {len(z)}; expected as many")
        candidates, true = np.unique(vectors, axis=0, return_inverse=True)
        targets, true = self._apply(self.right_head_, candidates), true.reshape(-1)
        reciprocal = []
        for part in blocks(len(z), _BLOCK):
            scores = z[part] @ targets.T
            own = scores[np.arange(len(scores)), true[part]]
            reciprocal.append(1 / (scores >= own[:, None]).sum(1))  # ties count against it
        return float(np.concatenate(reciprocal).mean())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.two_d_labels = False
        tags.transformer_tags.preserves_dtype = ["float64"]
        return tags

    @property
    def _classes(self) -> np.ndarray | None:
        return vars(self).get("classes_")

    def _targets(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (m, d) of the right side and the one (n,) that each row goes with; notes classes and shape."""
        vars(self).pop("classes_", None)
        self._flat_ = y.ndim == 1
        if y.ndim == 1 and type_of_target(y) in ("binary", "multiclass"):
            check_classification_targets(y)
            self.classes_, rows = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(f"y holds the one class {self.classes_[0]}; expected 2 classes or more")
            return np.eye(len(self.classes_)), rows
        vectors = check_array(y.reshape(len(y), -1), dtype=np.float64)
        return vectors, np.arange(len(vectors))

    def _vectors(self, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """y as vectors of the right side, for a fitted estimator."""
        if self._classes is not None:
            rows = np.searchsorted(self._classes, np.asarray(y))
            known = self._classes[np.minimum(rows, len(self._classes) - 1)] == np.asarray(y)
            if not known.all():
                raise ValueError(f"y holds {np.asarray(y)[~known][0]!r}, which is none of the fitted classes")
            return np.eye(len(self._classes))[rows], rows
        y = np.asarray(y)
        vectors = check_array(y.reshape(-1, 1) if y.ndim == 1 else y, dtype=np.float64)
        if vectors.shape[1] != self._targets_.shape[1]:
            raise ValueError(f"y has {vectors.shape[1]} columns; it was fitted on {self._targets_.shape[1]}")
        return vectors, np.arange(len(vectors))

    def _plan(self) -> Any:
        """The recipe of the parameters, validated."""
        given = {"objective": self.objective, "left": self.left, "right": self.right, "train": self.train}
        for side in ("left", "right"):
            if isinstance(given[side], Mapping) and "encoder" in given[side]:
                raise BadRecipe(f"{side}: Aligner takes vectors and no encoder; encode first, or use sensorium.fit")
        if not isinstance(self.validation, (int, float)) or not 0 <= self.validation < 1:
            raise BadRecipe(f"validation={self.validation!r}; expected a share of the rows from 0 to below 1")
        values = sections.recipe(given, {}, self.seed)
        if self.dim is not None:
            name = values["objective"] if isinstance(values["objective"], str) else values["objective"]["name"]
            if "dim" in parts.arguments(parts.find("objectives", name)):
                own = {} if isinstance(values["objective"], str) else values["objective"]
                values["objective"] = {"name": name, **own, "dim": self.dim}
            elif parts.find("objectives", name).closed_form:
                raise BadRecipe(f"dim={self.dim}: '{name}' maps X onto y; leave dim out, or take objective='cca'")
            else:
                for side in ("left", "right"):
                    head = values[side]["head"]
                    values[side]["head"] = {**({"name": head} if isinstance(head, str) else head), "dim": self.dim}
        return sections.resolved(values)

    def _apply(self, head: Any, vectors: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            rows = [np.require(vectors[part], np.float64, ["C", "W"]) for part in blocks(len(vectors), 8192)]
            made = [head(torch.from_numpy(part)) for part in rows]
        return torch.cat(made).numpy()
