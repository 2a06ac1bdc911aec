"""Exact contrastive losses and their gradients in blocks: never the whole (b, b) matrix.

A block of rows of the logits is made, turned into gradients and forgotten, so memory grows
with b and not with its square. Gradients come with the loss, in closed form; nothing is kept
for a backward pass.

Every loss here is a function of the logits l = scale * zl @ zr.T (+ bias). With G = dL/dl:
dL/dzl = scale * G @ zr, dL/dzr = scale * G.T @ zl, dL/dbias = sum(G) and, since L depends on
zl only through scale * zl, dL/dscale = sum(zl * dL/dzl) / scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.positives import Positives
from sensorium.types import blocks

BLOCK = 32 << 20  # bytes of a block of rows of the logits
KEEP = 64 << 20  # bytes of logits that are kept between two passes rather than made twice
SAFE = 40.0  # largest |logit| whose exponentials, shifted by it, are still normal float32 numbers
LOG2E = math.log2(math.e)


class Gradients(NamedTuple):
    """A loss and its gradients; those that were not asked for are None. loss, scale, bias: 0-d."""

    loss: Tensor
    zl: Tensor | None
    zr: Tensor | None
    scale: Tensor
    bias: Tensor | None = None


def infonce(
    zl: Tensor,
    zr: Tensor,
    scale: float,
    positives: Positives,
    *,
    both: bool,
    mask_partners: bool = False,
    sides: tuple[bool, bool] = (True, True),
    bound: float | None = None,
) -> Gradients:
    """InfoNCE (van den Oord et al. 2018, eq. 4) with every true partner counted, and its gradients.

    Of each row: the mean over its partners of -log softmax (L_out of SupCon, Khosla et al. 2020,
    eq. 2), or with ``mask_partners`` that of its own partner alone, the others left out of the
    softmax. ``both`` averages the rows' loss with the columns'.

    zl, zr (b, d) of one dtype: products are made in it, sums in float32 or better.
    sides: which of dL/dzl, dL/dzr are wanted. bound: largest length of a row of zl times that of
    a row of zr (1 for unit vectors), measured when not given.
    """
    if bound is None:
        bound = float(torch.linalg.vector_norm(zl, dim=1).max() * torch.linalg.vector_norm(zr, dim=1).max())
    targets = _Targets(positives, mask_partners, both, zl)
    method = _shifted if scale * bound <= SAFE else _any_scale
    return method(zl, zr, scale, scale * bound, targets, _Sums(zl, zr, sides))


def _shifted(zl: Tensor, zr: Tensor, scale: float, largest: float, targets: _Targets, sums: _Sums) -> Gradients:
    """InfoNCE where one shift serves every row and column: one exponential per logit.

    With t = l log2(e) - shift and E = 2**t the softmax of rows is E / row_sum, that of columns
    E / column_sum, and the shift cancels in the loss: log(row_sum) - t_partner / log2(e).
    """
    b, both = len(zl), targets.both
    shift = math.ceil(largest * LOG2E)  # whole, hence exact in bfloat16
    scaled, bias = zl * (scale * LOG2E), zl.new_full((b,), -shift)
    row_sum, column_sum = targets.zeros(b), targets.zeros(b)
    partner_t = targets.zeros(())
    keep = both and b * b * zl.element_size() <= KEEP
    kept: list[Tensor] = []

    def exponentials(rows: slice) -> Tensor:
        tile = torch.addmm(bias, scaled[rows], zr.T)
        if len(kept) < len(every):
            partner_t.add_(targets.weigh(tile, rows))
        return targets.leave_out(tile.exp2_(), rows, 0.0)

    every = list(blocks(b, _rows(zl, KEEP if keep else BLOCK)))
    for rows in every:
        tile = exponentials(rows)
        torch.sum(tile, 1, dtype=row_sum.dtype, out=row_sum[rows])
        if both:
            column_sum += tile.sum(0, dtype=row_sum.dtype)
            kept.append(tile if keep else None)
        else:
            # The softmax is tile / row_sum; the division is left to the far smaller gradients.
            targets.subtract(tile, rows, targets.row[rows] * row_sum[rows])
            sums.add(tile, rows, scale / b / row_sum[rows, None])
    loss = row_sum.log().mean()
    if both:
        loss = (loss + column_sum.log().mean()) / 2
        per_row, per_column = row_sum.reciprocal_().to(zl.dtype), column_sum.reciprocal_().to(zl.dtype)
        for i, rows in enumerate(every):
            tile = kept[i] if keep else exponentials(rows)
            kept[i] = None
            tile.mul_(per_row[rows, None] + per_column)
            targets.subtract(tile, rows, targets.row[rows], targets.column)
            sums.add(tile, rows, scale / (2 * b))
    return sums.finish(loss - partner_t / (LOG2E * b), zl, zr, scale)


def _any_scale(zl: Tensor, zr: Tensor, scale: float, _: float, targets: _Targets, sums: _Sums) -> Gradients:
    """InfoNCE for logits of any size: every row and column shifted by its own log-sum-exp.

    Logits beyond SAFE would lose too much in bfloat16, so here they are made in float32.
    """
    b, both = len(zl), targets.both
    left, right = zl.to(targets.dtype), zr.to(targets.dtype)
    every = list(blocks(b, _rows(left, BLOCK)))
    row, column = targets.zeros(b), targets.zeros(b).sub_(math.inf)
    partner = targets.zeros(())
    for again in (False, True) if both else (True,):
        for rows in every:
            tile = torch.mm(left[rows], right.T).mul_(scale)
            if not again or not both:
                partner += targets.weigh(tile, rows)
                targets.leave_out(tile, rows, -math.inf)
                row[rows] = tile.logsumexp(1)
            else:
                targets.leave_out(tile, rows, -math.inf)
            if not again:
                column = torch.logaddexp(column, tile.logsumexp(0))
                continue
            gradient = torch.exp(tile - row[rows, None])
            if both:
                gradient += tile.sub_(column).exp_()
            targets.subtract(gradient, rows, targets.row[rows], targets.column if both else None)
            sums.add(gradient.to(zl.dtype), rows, scale / (2 * b if both else b))
    loss = (row.mean() + column.mean()) / 2 if both else row.mean()
    return sums.finish(loss - partner / b, zl, zr, scale)


def siglip(
    zl: Tensor,
    zr: Tensor,
    scale: float,
    bias: float,
    positives: Positives,
    *,
    sides: tuple[bool, bool] = (True, True),
) -> Gradients:
    """Pairwise sigmoid loss (Zhai et al. 2023, eq. 1) and its gradients.

    Sum over all (i, j) of -log sigmoid(y (l + bias)), y = 1 for partners and -1 for others,
    divided by b. zl, zr (b, d) of one dtype.
    """
    b = len(zl)
    targets, sums = _Targets(positives, False, False, zl), _Sums(zl, zr, sides)
    loss, total = targets.zeros(()), targets.zeros(())
    scaled, start = zl * scale, zl.new_full((b,), bias)
    for rows in blocks(b, _rows(zl, BLOCK)):
        tile = torch.addmm(start, scaled[rows], zr.T)
        partners = targets.mask(rows, tile)
        loss -= _sum_at(tile, rows, partners, loss.dtype)
        targets.leave_out(tile, rows, -math.inf)
        loss += torch.nn.functional.softplus(tile).sum(dtype=loss.dtype)
        tile.sigmoid_()
        tile.diagonal(rows.start).sub_(1) if partners is None else tile.sub_(partners)
        total += tile.sum(dtype=loss.dtype)
        sums.add(tile, rows, scale / b)
    return sums.finish(loss / b, zl, zr, scale)._replace(bias=total / b)


def differentiable(
    find: Callable[..., Gradients], zl: Tensor, zr: Tensor, scale: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """A loss whose gradients ``find(zl, zr, sides=…)`` gives, as autograd takes it.

    scale and bias: the parameters that ``Gradients.scale`` and ``.bias`` belong to. Products are
    made in bfloat16 under autocast, as autocast would make them.
    """
    return _Known.apply(find, zl, zr, scale, bias)


class _Known(torch.autograd.Function):
    """A scalar whose gradients are computed with its value."""

    @staticmethod
    def forward(ctx, find, zl, zr, scale, bias):
        dtype = torch.get_autocast_dtype(zl.device.type) if torch.is_autocast_enabled(zl.device.type) else zl.dtype
        sides = ctx.needs_input_grad[1:3]
        found = find(zl.to(dtype), zr.to(dtype), sides=tuple(sides) if any(sides) else (True, False))
        ctx.save_for_backward(found.zl, found.zr, found.scale, found.bias)
        ctx.like = [(z.dtype, z.shape) if z is not None else None for z in (zl, zr, scale, bias)]
        return found.loss.to(zl.dtype) if zl.dtype == torch.float64 else found.loss

    @staticmethod
    def backward(ctx, upstream):
        grads = [
            (known * upstream).to(like[0]).reshape(like[1]) if needed and known is not None else None
            for known, like, needed in zip(ctx.saved_tensors, ctx.like, ctx.needs_input_grad[1:], strict=True)
        ]
        return None, *grads


class _Targets:
    """The matrix W of the partners' shares: 1 / (number of partners) in every row, and in every column."""

    def __init__(self, positives: Positives, mask_partners: bool, both: bool, z: Tensor) -> None:
        self.positives, self.both, self.device = positives, both, z.device
        self.dtype = torch.promote_types(z.dtype, torch.float32)
        self.own = positives.diagonal_only or mask_partners  # W is the identity
        self.masked = mask_partners and not positives.diagonal_only
        if self.own:
            self.row = self.column = self.zeros(positives.b) + 1
        else:
            left, right = positives.counts(z.device)
            self.row, self.column = left.to(self.dtype).reciprocal(), right.to(self.dtype).reciprocal()

    def zeros(self, size: int | tuple) -> Tensor:
        return torch.zeros(size, dtype=self.dtype, device=self.device)

    def mask(self, rows: slice, tile: Tensor) -> Tensor | None:
        """Partners of these rows as (rows, b) of the tile's dtype; None when W is the identity."""
        return None if self.own else self.positives.block(rows, self.device).to(tile.dtype)

    def weigh(self, tile: Tensor, rows: slice) -> Tensor:
        """Sum of the logits under W, averaged over both directions where both count."""
        if self.own:
            return _sum_at(tile, rows, None, self.dtype)
        at = tile * self.mask(rows, tile)
        total = (at.sum(1, dtype=self.dtype) * self.row[rows]).sum()
        return (total + (at.sum(0, dtype=self.dtype) * self.column).sum()) / 2 if self.both else total

    def subtract(self, tile: Tensor, rows: slice, row: Tensor, column: Tensor | None = None) -> None:
        """tile -= W, its rows' part scaled by ``row`` and, when given, its columns' part by ``column``."""
        if self.own:
            diagonal = tile.diagonal(rows.start)
            share = row if column is None else row + column[rows]
            diagonal.copy_(diagonal.to(self.dtype) - share)
        else:
            share = row[:, None] if column is None else row[:, None] + column
            tile.sub_(self.mask(rows, tile).mul_(share))

    def leave_out(self, tile: Tensor, rows: slice, value: float) -> Tensor:
        """Take pairs that are neither partners nor strangers out of the softmax."""
        if self.masked:
            partners = self.positives.block(rows, self.device)
            partners.diagonal(rows.start).fill_(False)
            tile.masked_fill_(partners, value)
        same = self.positives.same_block(rows, self.device)
        return tile if same is None else tile.masked_fill_(same, value)


class _Sums:
    """Gradients of both sides, added up block by block."""

    def __init__(self, zl: Tensor, zr: Tensor, sides: tuple[bool, bool]) -> None:
        self.zl, self.zr, self.sides = zl, zr, sides
        self.dl = torch.empty_like(zl) if sides[0] else None
        self.dr: Tensor | None = None

    def add(self, tile: Tensor, rows: slice, factor: Tensor | float) -> None:
        """Add what the gradient ``tile`` (rows, b) of the logits brings; factor: (rows, 1) or a number."""
        if self.sides[0]:
            torch.mm(tile, self.zr, out=self.dl[rows])
            self.dl[rows].mul_(factor)
        if self.sides[1]:
            left = self.zl[rows] * factor
            left = left.to(tile.dtype)
            if len(tile) == len(self.zl):
                self.dr = tile.T @ left
            elif self.dr is None:
                self.dr = (tile.T @ left).to(torch.promote_types(tile.dtype, torch.float32))
            elif self.dr.dtype == tile.dtype:
                self.dr.addmm_(tile.T, left)
            else:  # bfloat16 blocks are added up in float32
                self.dr += tile.T @ left

    def finish(self, loss: Tensor, zl: Tensor, zr: Tensor, scale: float) -> Gradients:
        z, dz = (zl, self.dl) if self.sides[0] else (zr, self.dr)
        slope = torch.linalg.vecdot(z.to(loss.dtype), dz.to(loss.dtype)).sum() / scale
        return Gradients(loss, self.dl, self.dr, slope)


def _sum_at(tile: Tensor, rows: slice, mask: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Sum of a tile over a mask (0/1), or over the diagonal of the whole matrix."""
    return (tile.diagonal(rows.start) if mask is None else tile * mask).sum(dtype=dtype)


def _rows(z: Tensor, size: int) -> int:
    """Rows of a block of ``size`` bytes of (rows, b) logits."""
    return max(16, size // (len(z) * z.element_size()))
