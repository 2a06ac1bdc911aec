"""The original's projection of clips, ``my_cca_pca.npz``: Wx, Wy (d, r), x_mean, y_mean (d,) and r.

A clip a becomes (a − y_mean) Wy at unit length. Only Wy and y_mean are used: Wx and x_mean stand for a projection of
texts that neither way of the original has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from sensorium import formats, io, parts
from sensorium.errors import BadData, BadRecipe
from sensorium.heads.pca import PCA
from sensorium.systems.emorag.head_pt import refused
from sensorium.types import Affine

FILE = "my_cca_pca.npz"
_CLOSE = 1e-5  # of a bias that the original's form has to reproduce, as a share of its length


def read(path: Path) -> Any:
    """The projection as our head ``pca``. Raises BadRecipe where there is no file, BadData for another one."""
    if not path.is_file():
        raise BadRecipe(f"no file {path}; expected the original's projection, such as pca={FILE}")
    columns = formats.read(path)
    for name in ("Wy", "y_mean"):
        if name not in columns:
            raise BadData(f"{path} has no '{name}'; expected Wy (d, r) and y_mean (d,), it holds {', '.join(columns)}")
    weight, mean = (np.asarray(columns[name]) for name in ("Wy", "y_mean"))
    if weight.dtype.kind != "f" or weight.ndim != 2 or mean.dtype.kind != "f" or mean.size != len(weight):
        raise BadData(f"{path}: Wy is {formats.described(weight)}, y_mean {formats.described(mean)}; expected numbers "
                      "(d, r) and (d,)")  # fmt: skip
    if "r" in columns and (np.size(columns["r"]) != 1 or int(np.ravel(columns["r"])[0]) != weight.shape[1]):
        raise BadData(
            f"{path}: r is {np.ravel(columns['r']).tolist()}, Wy has {weight.shape[1]} columns; save it again"
        )
    if not (np.isfinite(weight).all() and np.isfinite(mean).all()):
        raise BadData(f"{path} holds NaN or infinity; fit the projection again")
    head = parts.make("heads", {"name": "pca", "rank": int(weight.shape[1])})
    try:
        head.build(len(weight))
    except BadRecipe as error:
        raise BadData(f"{path}: {error}") from None
    with torch.no_grad():
        head.components.copy_(torch.from_numpy(np.array(weight, np.float32)))
        head.mean.copy_(torch.from_numpy(np.array(mean, np.float32).ravel()))
    return head.eval()


def of(head: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Wy (d, r) and y_mean (d,) of the head of the clips, float32; None where clips are their own vectors.

    A linear head a W + c has y_mean = −c W⁺, where that gives c.
    Raises BadRecipe for a head that has no such form.
    """
    if isinstance(head, PCA) and head.normalize:
        return head.components.numpy(), head.mean.numpy()
    affine = head.affine()
    if affine is None or not head.normalize:
        raise refused(f"the clips go through the head {type(head).__name__}, for which the original has no form")
    if not affine.bias.any() and _is_identity(affine):
        return None
    mean = -np.linalg.lstsq(affine.weight.T, affine.bias, rcond=None)[0]
    if np.linalg.norm(mean @ affine.weight + affine.bias) > _CLOSE * max(1.0, float(np.linalg.norm(affine.bias))):
        raise refused("the head of the clips adds a constant that no mean of the clips stands for")
    return affine.weight.astype(np.float32), mean.astype(np.float32)


def write(projection: tuple[np.ndarray, np.ndarray], path: Path) -> None:
    """A projection as the original's file. Raises BadRecipe where the file of another one is there."""
    weight, mean = projection
    if path.is_file():
        there = formats.read(path)
        same = all(name in there and np.array_equal(np.asarray(there[name]), value)
                   for name, value in (("Wy", weight), ("y_mean", mean)))  # fmt: skip
        if not same:
            raise BadRecipe(f"{path} is there and holds another projection; name another file: pca=FILE.npz")

    def fill(file: BinaryIO) -> None:
        np.savez_compressed(file, Wx=weight, Wy=weight, x_mean=mean, y_mean=mean, r=np.int32(weight.shape[1]))

    io.write(path, fill)


def _is_identity(affine: Affine) -> bool:
    d, r = affine.weight.shape
    return d == r and bool((affine.weight == np.eye(d)).all())
