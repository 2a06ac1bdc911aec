"""Exact contrastive losses and their gradients in blocks: never the whole (b, b) matrix.

A block of rows of the logits is computed, turned into gradients and overwritten, so memory is linear
in b. Gradients are returned with the loss, in closed form; no tensor is saved for a backward pass.

Every loss here is a function of the logits l = scale * zl @ zr.T (+ bias). With G = dL/dl:
dL/dzl = scale * G @ zr, dL/dzr = scale * G.T @ zl, dL/dbias = sum(G) and, since L depends on
zl only through scale * zl, dL/dscale = sum(zl * dL/dzl) / scale.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.pairs.positives import Positives
from sensorium.types import blocks

KEEP = 64 << 20  # bytes of logits up to which all are stored; above, blocks are computed, perhaps twice
TILE = 2 << 20  # bytes of them that are worked on at a time: what two cores' caches hold
BLOCK = 32 << 20  # bytes of a block of rows where not all are stored
SAFE = 40.0  # largest |logit| whose exponentials, shifted by it, are still normal float32 numbers
LOG2E = math.log2(math.e)


class Gradients(NamedTuple):
    """A loss and its gradients; those not requested are None. loss, scale, bias: 0-d."""

    loss: Tensor
    zl: Tensor | None
    zr: Tensor | None
    scale: Tensor | None = None
    bias: Tensor | None = None


def infonce(
    zl: Tensor,
    zr: Tensor,
    scale: float,
    positives: Positives,
    *,
    both: bool,
    mask_positives: bool = False,
    sides: tuple[bool, bool] = (True, True),
    slope: bool = True,
    bound: float | None = None,
    kinds: Tensor | None = None,
) -> Gradients:
    """InfoNCE (van den Oord et al. 2018, eq. 4) over all positives of a row, and its gradients.

    Of each row: the mean over its positives of -log softmax (L_out of SupCon, Khosla et al. 2020,
    eq. 2), or with ``mask_positives`` that of its own positive alone, the others left out of the
    softmax. ``both`` averages the rows' loss with the columns'.

    zl, zr (b, d) of one dtype: products and sums of a tile come in it, all else in float32 or better. float16
    is computed in float32, as exponentials shifted by the largest logit underflow in it.
    sides: which of dL/dzl, dL/dzr to compute; slope: whether to compute dL/dscale. bound: largest length
    of a row of zl times that of a row of zr (1 for unit vectors), computed when None. kinds (b,): codes; rows and
    columns with different ones are left out of each other's softmax. Give it with ``mask_positives`` alone.
    """
    zl, zr = _wide_enough(zl), _wide_enough(zr)
    if bound is None:
        bound = float(torch.linalg.vector_norm(zl, dim=1).max() * torch.linalg.vector_norm(zr, dim=1).max())
    targets = _Targets(positives, mask_positives, both, zl, kinds)
    method = _shifted if scale * bound <= SAFE else _any_scale
    return method(zl, zr, scale, scale * bound, targets, (*sides, slope))


def _shifted(
    zl: Tensor, zr: Tensor, scale: float, largest: float, targets: _Targets, needed: tuple[bool, bool, bool]
) -> Gradients:
    """InfoNCE where one shift serves every row and column: one exponential per logit.

    With t = l log2(e) - shift and E = 2**t the softmax of rows is E / row_sum, that of columns
    E / column_sum, and the shift cancels in the loss: log(row_sum) - t_positive / log2(e).
    """
    b, both = len(zl), targets.both
    shift = math.ceil(largest * LOG2E)  # whole, hence exact in bfloat16
    bias = zl.new_full((b,), -shift)
    row_sum, column_sum, positive_t = targets.zeros(b), targets.zeros(b), targets.zeros(())
    tiles = _Tiles(zl)
    sums = _Sums(zl, zr, needed, tiles)

    def exponentials(rows: slice, again: bool = False) -> Tensor:
        tile = torch.addmm(bias, zl[rows], zr.T, alpha=scale * LOG2E, out=tiles.at(rows))
        if not again:
            positive_t.add_(targets.weigh(tile, rows))
        return targets.leave_out(tile.exp2_(), rows, 0.0)

    for rows in tiles.rows:
        tile = exponentials(rows)
        row_sum[rows] = tile.sum(1)  # added in float32 and rounded once; torch converts a whole tile for less
        if both:
            column_sum += tile.sum(0)
        else:
            # The softmax is tile / row_sum; the division is left to the far smaller gradients.
            targets.subtract(tile, rows, targets.row[rows] * row_sum[rows])
            sums.add(tile, rows, scale / b / row_sum[rows, None])
    loss = row_sum.log().mean()
    if both:
        loss = (loss + column_sum.log().mean()) / 2
        per_row, per_column = row_sum.reciprocal_().to(zl.dtype), column_sum.reciprocal_().to(zl.dtype)
        for rows in tiles.rows:
            tile = tiles.at(rows) if tiles.all_stored else exponentials(rows, again=True)
            tile.mul_(torch.add(per_row[rows, None], per_column, out=tiles.spare(rows)))
            targets.subtract(tile, rows, targets.row[rows], targets.column)
            sums.add(tile, rows, scale / (2 * b))
    return sums.finish(loss - positive_t / (LOG2E * b), scale)


def _any_scale(
    zl: Tensor, zr: Tensor, scale: float, _: float, targets: _Targets, needed: tuple[bool, bool, bool]
) -> Gradients:
    """InfoNCE for logits of any size: every row and column shifted by its own log-sum-exp.

    Logits beyond SAFE would lose too much in bfloat16, so here they are made in float32.
    """
    b, both = len(zl), targets.both
    left, right = zl.to(targets.dtype), zr.to(targets.dtype)
    tiles = _Tiles(left, keep=False)
    sums = _Sums(zl, zr, needed, tiles)
    row, column = targets.zeros(b), targets.zeros(b).sub_(math.inf)
    at_positives, nothing = targets.zeros(()), left.new_zeros(b)
    for again in (False, True) if both else (True,):
        for rows in tiles.rows:
            tile = torch.addmm(nothing, left[rows], right.T, beta=0, alpha=scale, out=tiles.at(rows))
            if not again or not both:
                at_positives += targets.weigh(tile, rows)
                targets.leave_out(tile, rows, -math.inf)
                row[rows] = tile.logsumexp(1)
            else:
                targets.leave_out(tile, rows, -math.inf)
            if not again:
                column = torch.logaddexp(column, tile.logsumexp(0))
                continue
            gradient = torch.sub(tile, row[rows, None], out=tiles.spare(rows)).exp_()
            if both:
                gradient += tile.sub_(column).exp_()
            targets.subtract(gradient, rows, targets.row[rows], targets.column if both else None)
            sums.add(gradient.to(zl.dtype), rows, scale / (2 * b if both else b))
    loss = (row.mean() + column.mean()) / 2 if both else row.mean()
    return sums.finish(loss - at_positives / b, scale)


def siglip(
    zl: Tensor,
    zr: Tensor,
    scale: float,
    bias: float,
    positives: Positives,
    *,
    sides: tuple[bool, bool] = (True, True),
    slope: bool = True,
) -> Gradients:
    """Pairwise sigmoid loss (Zhai et al. 2023, eq. 1) and its gradients.

    Sum over all (i, j) of -log sigmoid(y (l + bias)), y = 1 for positives and -1 for negatives,
    divided by b. zl, zr (b, d) of one dtype.
    """
    zl, zr = _wide_enough(zl), _wide_enough(zr)
    b = len(zl)
    targets = _Targets(positives, False, False, zl)
    loss, total = targets.zeros(()), targets.zeros(())
    start, tiles = zl.new_full((b,), bias), _Tiles(zl)
    sums = _Sums(zl, zr, (*sides, slope), tiles)
    for rows in tiles.rows:
        tile = torch.addmm(start, zl[rows], zr.T, alpha=scale, out=tiles.at(rows))
        mask = targets.mask(rows, tile)
        loss -= _sum_at(tile, rows, mask, loss.dtype)
        targets.leave_out(tile, rows, -math.inf)
        loss += torch.nn.functional.softplus(tile).sum(dtype=loss.dtype)
        tile.sigmoid_()
        tile.diagonal(rows.start).sub_(1) if mask is None else tile.sub_(mask)
        total += tile.sum(dtype=loss.dtype)
        sums.add(tile, rows, scale / b)
    return sums.finish(loss / b, scale)._replace(bias=total / b)


def logits(zl: Tensor, zr: Tensor) -> Tensor:
    """zl @ zr.T (b, c); in float32 where it would be float16, by the type of the rows or by autocast."""
    device = zl.device.type
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    if not half and zl.dtype != torch.float16:
        return zl @ zr.T
    with torch.autocast(device, enabled=False):
        return _wide_enough(zl) @ _wide_enough(zr).T


def _wide_enough(z: Tensor) -> Tensor:
    return z.float() if z.dtype == torch.float16 else z


def differentiable(
    find: Callable[..., Gradients], zl: Tensor, zr: Tensor, scale: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """A loss for autograd whose gradients ``find(zl, zr, sides=…)`` computes.

    scale and bias: the parameters that ``Gradients.scale`` and ``.bias`` belong to. Products are
    made in bfloat16 under autocast, as autocast would make them.
    """
    return _Precomputed.apply(find, zl, zr, scale, bias)


class _Precomputed(torch.autograd.Function):
    """A scalar whose gradients are computed with its value."""

    @staticmethod
    def forward(ctx, find, zl, zr, scale, bias):
        dtype = torch.get_autocast_dtype(zl.device.type) if torch.is_autocast_enabled(zl.device.type) else zl.dtype
        dtype = torch.float32 if dtype == torch.float16 else dtype
        sides = ctx.needs_input_grad[1:3]
        with torch.autocast(zl.device.type, enabled=False):
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
    """The target matrix W: each positive weighs 1 / (number of positives) of its row, and of its column."""

    def __init__(
        self, positives: Positives, mask_positives: bool, both: bool, z: Tensor, kinds: Tensor | None = None
    ) -> None:
        self.positives, self.both, self.device, self.kinds = positives, both, z.device, kinds
        self.dtype = torch.promote_types(z.dtype, torch.float32)
        self.own = positives.diagonal_only or mask_positives  # W is the identity
        self.masked = mask_positives and not positives.diagonal_only
        if self.own:
            self.row = self.column = self.zeros(positives.b) + 1
        else:
            left, right = positives.counts(z.device)
            self.row, self.column = left.to(self.dtype).reciprocal(), right.to(self.dtype).reciprocal()

    def zeros(self, size: int | tuple) -> Tensor:
        return torch.zeros(size, dtype=self.dtype, device=self.device)

    def mask(self, rows: slice, tile: Tensor) -> Tensor | None:
        """Positives of these rows as (rows, b) of the tile's dtype; None when W is the identity."""
        return None if self.own else self.positives.block(rows, self.device).to(tile.dtype)

    def weigh(self, tile: Tensor, rows: slice) -> Tensor:
        """Sum of the logits under W, averaged over both directions where both count."""
        if self.own:
            return _sum_at(tile, rows, None, self.dtype)
        at = tile * self.mask(rows, tile)
        total = (at.sum(1, dtype=self.dtype) * self.row[rows]).sum()
        return (total + (at.sum(0, dtype=self.dtype) * self.column).sum()) / 2 if self.both else total

    def subtract(self, tile: Tensor, rows: slice, row: Tensor, column: Tensor | None = None) -> None:
        """tile -= W, its rows' part scaled by ``row`` and, unless None, its columns' part by ``column``."""
        if self.own:
            diagonal = tile.diagonal(rows.start)
            share = row if column is None else row + column[rows]
            diagonal.copy_(diagonal.to(self.dtype) - share)
        else:
            share = row[:, None] if column is None else row[:, None] + column
            tile.sub_(self.mask(rows, tile).mul_(share))

    def leave_out(self, tile: Tensor, rows: slice, value: float) -> Tensor:
        """Take pairs that are neither positives nor negatives out of the softmax."""
        if self.masked:
            mask = self.positives.block(rows, self.device)
            mask.diagonal(rows.start).fill_(False)
            tile.masked_fill_(mask, value)
        if self.kinds is not None:
            tile.masked_fill_(self.kinds[rows, None] != self.kinds, value)
        same = self.positives.same_block(rows, self.device)
        return tile if same is None else tile.masked_fill_(same, value)


class _Tiles:
    """Blocks of rows of the (b, b) logits, in memory that is allocated once and reused.

    While all of them fit into KEEP bytes they are all stored (``all_stored``), in tiles that
    fit the cache; else one buffer of BLOCK bytes is reused for every block.
    """

    def __init__(self, z: Tensor, keep: bool = True) -> None:
        b, item = len(z), z.element_size()
        self.b = b
        self.all_stored = keep and b * b * item <= KEEP
        height = max(16, (TILE if self.all_stored else BLOCK) // (b * item))
        self.rows = list(blocks(b, height))
        height = min(height, b)
        self.memory = _workspace("tiles", z, (b if self.all_stored else height) * b).view(-1, b)
        self.extra = _workspace("spare", z, height * b).view(-1, b)

    def at(self, rows: slice) -> Tensor:
        """The tile of these rows, (rows, b)."""
        return self.memory[rows] if self.all_stored else self.memory[: rows.stop - rows.start]

    def spare(self, rows: slice) -> Tensor:
        """Buffer for one more tile of that size."""
        return self.extra[: rows.stop - rows.start]


_memory = threading.local()


def _workspace(name: str, like: Tensor, size: int) -> Tensor:
    """A buffer of ``size`` numbers, reused by the next call: large blocks are slow to allocate."""
    key = (name, like.dtype, like.device)
    buffers = _memory.__dict__.setdefault("buffers", {})
    if key not in buffers or len(buffers[key]) < size:
        buffers[key] = like.new_empty(size)
    return buffers[key][:size]


class _Sums:
    """Gradients of both sides, added up tile by tile."""

    def __init__(self, zl: Tensor, zr: Tensor, needed: tuple[bool, bool, bool], tiles: _Tiles) -> None:
        self.zl, self.zr, self.tiles = zl, zr, tiles
        left, self.right, self.slope = needed
        self.dl = torch.empty_like(zl) if left else None
        self.dr = None
        self.left = torch.empty_like(zl) if self.right and tiles.all_stored else None

    def add(self, tile: Tensor, rows: slice, factor: Tensor | float) -> None:
        """Add the contribution of ``tile`` (rows, b), the gradient of the logits; factor: (rows, 1) or a number."""
        if isinstance(factor, Tensor):
            factor = factor.to(tile.dtype)
        if self.dl is not None:
            torch.mm(tile, self.zr, out=self.dl[rows]).mul_(factor)
        if not self.right:
            return
        left = self.zl[rows] * factor
        if self.left is not None:
            self.left[rows] = left  # one product at the end, when all tiles are there
        elif self.dr is None:
            self.dr = tile.T @ left
            if len(self.tiles.rows) > 1:  # blocks in bfloat16 are added up in float32
                self.dr = self.dr.to(torch.promote_types(tile.dtype, torch.float32))
        elif self.dr.dtype == tile.dtype:
            self.dr.addmm_(tile.T, left)
        else:
            self.dr += torch.mm(tile.T, left, out=_workspace("part", left, self.zr.numel()).view_as(self.zr))

    def finish(self, loss: Tensor, scale: float) -> Gradients:
        if self.left is not None:
            self.dr = self.tiles.memory.T @ self.left
        slope = None
        if self.slope:
            z, dz = (self.zl, self.dl) if self.dl is not None else (self.zr, self.dr)
            slope = torch.linalg.vecdot(z, dz.to(z.dtype)).sum(dtype=loss.dtype) / scale
        return Gradients(loss, self.dl, self.dr, slope)


def _sum_at(tile: Tensor, rows: slice, mask: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Sum of a tile over a mask (0/1), or over the diagonal of the whole matrix."""
    return (tile.diagonal(rows.start) if mask is None else tile * mask).sum(dtype=dtype)
