"""Regularisers any trained head can switch on: latent mixup, and preservation of the frozen encoder's geometry.

Plain functions of one batch that the training loop calls: ``train.mixup`` and ``train.structure``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensorium.errors import BadRecipe
from sensorium.pairs.positives import Positives
from sensorium.types import blocks

if TYPE_CHECKING:
    from torch import Tensor


def mixup(left: Tensor, right: Tensor, positives: Positives, alpha: float) -> tuple[Tensor, Tensor, Positives]:
    """Mix a batch's frozen inputs: λ x_i + (1 - λ) x_j, one λ and the same (i, j) on both sides.

    FuseMix (Vouitsis et al. 2023, "Data-efficient multimodal fusion on a single GPU", sec. 4.2):
    as the mixture is shared, a mixed left row and its mixed right row are again a true pair, made
    inside the latent spaces of the frozen encoders. λ ~ Beta(alpha, alpha), one draw a batch, from
    torch's generator.

    left (b, dl), right (b, dr): inputs of the heads, row i of each a true pair. The second half of
    the batch is mixed into the first, so that no item is in two mixtures: h = b // 2 rows come out
    (a last odd row is left out). Two mixtures are positives when their components are, one by one;
    where only some components are, the mixtures are neither positives nor negatives.
    Raises BadRecipe for items of several frames.
    """
    import torch

    check_vectors("mixup", any(isinstance(x, tuple) for x in (left, right)))
    h = len(left) // 2
    if h == 0:
        return left, right, positives
    share = float(torch.distributions.Beta(float(alpha), float(alpha)).sample())
    mixed = (torch.lerp(side[h : 2 * h], side[:h], share) for side in (left, right))
    return *mixed, _mixed_positives(positives, h)


def structure(x: Tensor, z: Tensor, levels: int = 1, temperature: float = 0.05, limit: int = 1024) -> Tensor:
    """How far a head's output departs from the geometry of its frozen input; one side, a scalar ≥ 0.

    R = 1/L Σ_l 1/l · JS(S_x^l ‖ S_z^l), JS averaged over rows (Gröger et al. 2025, "With limited
    data for multimodal alignment, let the STRUCTURE guide you", sec. 4). S = softmax of the cosine
    similarities between centred unit rows, divided by the temperature; its l-th matrix power says
    which items are near over l steps, so a level is a scale of the neighbourhood.

    x (b, d_in) gets no gradient; z (b, d) does. At most ``limit`` rows are read, as the batch is in
    random order and the cost is limit² · d, and limit³ a level above the first.
    Add ``weight · (structure(xl, zl) + structure(xr, zr)) / 2`` to the loss.
    Raises BadRecipe for items of several frames.
    """
    import torch

    check_vectors("structure", isinstance(x, tuple))
    z = z if z.dtype == torch.float64 else z.float()
    with torch.autocast(z.device.type, enabled=False):  # divided by the temperature, bf16's rounding would show
        near_x, near_z = _neighbours(x.detach()[:limit].to(z.dtype), temperature), _neighbours(z[:limit], temperature)
        power_x, power_z, total = near_x, near_z, z.new_zeros(())
        for level in range(1, levels + 1):
            if level > 1:
                power_x, power_z = power_x @ near_x, power_z @ near_z
            total = total + _jensen_shannon(power_x, power_z) / level
    return total / levels


def check_vectors(key: str, frames: bool) -> None:
    """Raise BadRecipe where the items that this key works on are sequences of frames."""
    if frames:
        raise BadRecipe(f"train.{key} works on one vector an item, these are sequences of frames; set train.{key}=0")


def _neighbours(rows: Tensor, temperature: float) -> Tensor:
    """Row-stochastic similarities (b, b) of centred unit rows."""
    from torch.nn.functional import normalize

    unit = normalize(rows, dim=1)
    unit = unit - unit.mean(0)
    return (unit @ unit.T / temperature).softmax(1)


def _jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Mean over rows of ½ KL(p ‖ m) + ½ KL(q ‖ m), m their mean; in nats, from 0 to log 2."""
    import torch

    tiny = torch.finfo(q.dtype).tiny  # 0 · log 0 is 0, with a gradient that is a number
    log_m = ((p + q) / 2).clamp_min(tiny).log()
    return sum(((r * (r.clamp_min(tiny).log() - log_m)).sum(1) / 2).mean() for r in (p, q))


def _mixed_positives(positives: Positives, h: int) -> Positives:
    if positives.diagonal_only and positives.same is None:
        return Positives(h)
    found, unclear, shift = [], [], np.zeros(2, np.int64)
    for rows in blocks(h, 1024):  # memory stays linear in the batch
        first, second = slice(rows.start, rows.stop), slice(rows.start + h, rows.stop + h)
        related = [positives.block(part)[:, : 2 * h].numpy() for part in (first, second)]
        same = [positives.same_block(part) for part in (first, second)]
        touching = [r if s is None else r | s[:, : 2 * h].numpy() for r, s in zip(related, same, strict=True)]
        both = related[0][:, :h] & related[1][:, h:]
        some = touching[0][:, :h] | touching[0][:, h:] | touching[1][:, :h] | touching[1][:, h:]
        shift[0] = rows.start
        found.append(np.argwhere(both) + shift)
        unclear.append(np.argwhere(some & ~both) + shift)
    edges, same_edges = (tuple(np.concatenate(part).T) for part in (found, unclear))
    return Positives(h, edges=edges, same=same_edges)
