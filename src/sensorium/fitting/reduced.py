"""Perceptrons of wide inputs, trained on the inputs' principal components and written back as heads of the inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from sensorium import parts
from sensorium.heads._preprocess import affine_of, scale_of, set_linear
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine, Embeddings, blocks

_MOST = 1 << 28  # bytes of a table of components
_WIDTHS = (16, 3072)  # of inputs: a decomposition of more takes as long as a fit
_SHARE = 0.25  # of the inputs' width that the components may be: more of them save little
_BLOCK = 8192


@dataclass(frozen=True)
class Reduced:
    """The leading principal components of standardised inputs, (x - mean) · scale @ basis, of unit mean square.

    The first layer of a perceptron is linear, so that one of the components is one of the inputs too: it is only
    found with fewer products, and within the directions that vary most.
    """

    affine: Affine
    table: Embeddings

    @classmethod
    def of(cls, table: Embeddings, stats: InputStats, variance: float) -> Reduced | None:
        """The components that hold this share of a table's variance; None where these are no fourth of the inputs.

        stats: of its training rows.
        """
        scale = scale_of(stats.covariance)
        values, vectors = np.linalg.eigh(scale[:, None] * stats.covariance * scale)
        held = np.cumsum(values[::-1])
        components = int(np.searchsorted(held, variance * held[-1])) + 1
        if components > _SHARE * table.dim or len(table.vectors) * components * 4 > _MOST:
            return None
        basis = vectors[:, ::-1][:, :components] / np.sqrt(max(float(held[components - 1]) / components, 1e-12))
        affine = Affine(scale[:, None] * basis, -(stats.mean * scale) @ basis)
        made = np.empty((len(table.vectors), components), np.float32)
        for part in blocks(len(made), _BLOCK):
            made[part] = affine(np.asarray(table.vectors[part], np.float64))
        return cls(affine, replace(table, vectors=made))

    def written_back(self, head: Any) -> Any:
        """The head of the inputs that equals a trained one of their components."""
        made = type(head)(**head.arguments)
        with torch.random.fork_rng(devices=[]):
            made.build(len(self.affine.weight), None, head.dim)
        first = {"layers.0": (head.layers[0], made.layers[0]), "skip": (head.skip, made.skip)}
        kept = {name: value for name, value in head.state_dict().items() if not name.startswith(tuple(first))}
        made.load_state_dict(kept, strict=False)
        for trained, own in first.values():
            if trained is not None:
                of = affine_of(trained)
                set_linear(own, Affine(self.affine.weight @ of.weight, of(self.affine.bias)))
        return made.eval()


def applies(head: Any, table: Embeddings) -> bool:
    """Whether an unbuilt head is a perceptron of standardised inputs that may be reduced."""
    perceptron = isinstance(head, parts.find("heads", "mlp")) and head.arguments["preprocess"] == "standardize"
    return perceptron and head.dim_in is None and _WIDTHS[0] <= table.dim <= _WIDTHS[1]


def of_components(head: Any) -> Any:
    """The unbuilt head of the components in place of that of the inputs."""
    return type(head)(**{**head.arguments, "preprocess": "none"})
