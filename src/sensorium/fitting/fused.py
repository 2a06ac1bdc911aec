"""Fused training step: heads of linear layers under an objective that gives its gradients.

Products are computed in bfloat16 (or float32) from a copy of the float32 master weights. Every
result is written into a tensor that is reused in the next step, and elementwise work happens in place while
the rows are still in the cache. The same formulas as autograd's, in fewer passes over memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sensorium.fitting.batches import Batch
from sensorium.fitting.options import TrainOptions
from sensorium.fitting.shared import Shared
from sensorium.fitting.weights import Weights
from sensorium.heads._preprocess import AffineLayers

if TYPE_CHECKING:
    from sensorium.fitting.world import World

_UNIT = 1.02  # bound on the product of two lengths of unit rows that were rounded to bfloat16
_BACKWARD_OPS = ("native_layer_norm_backward", "threshold_backward", "gelu_backward", "tanh_backward", "silu_backward")


def available() -> bool:
    """Whether this torch has the undocumented derivative operators; without them autograd is used."""
    try:
        return all(getattr(torch.ops.aten, name) is not None for name in _BACKWARD_OPS)
    except AttributeError:
        return False


class FusedStep:
    """Loss and gradients of a batch, as :class:`~sensorium.fitting.step.AutogradStep` gives them.

    inputs: for each side the dtype and the change its vectors come in: the output of a head that is not
    trained, or the preprocessing of one that is, is computed once.
    """

    name = "fused"

    @staticmethod
    def fits(modules: list[nn.Module], options: TrainOptions, device: torch.device) -> bool:
        """Whether this step implements these heads, this objective and these options."""
        *heads, objective = modules
        if options.mixup or options.structure or device.type != "cpu" or not objective.gives_gradients:
            return False
        if not available():
            return False
        return heads[0].trainable and all(not h.trainable or h.affine_layers() is not None for h in heads)

    def __init__(self, modules: list[nn.Module], weights: Weights, options: TrainOptions, dtype: torch.dtype,
                 world: World | None = None) -> None:  # fmt: skip
        left, right, self.objective = modules
        self.weights, self.dtype = weights, dtype
        self.shared = None if world is None else Shared(world)
        self.values = weights.flat if dtype == torch.float32 else torch.empty_like(weights.flat, dtype=dtype)
        self.grads = torch.zeros_like(self.values)
        layers = {id(head): head.affine_layers() for head in (left, right) if head.trainable}
        chains = {key: _Chain(of, weights, self.values, self.grads) for key, of in layers.items()}
        self.left, self.right = chains.get(id(left)), chains.get(id(right))
        self.inputs = [(dtype, layers[id(h)].preprocess if h.trainable else h) for h in (left, right)]
        self.bound = _UNIT if left.normalize and right.normalize else None

    @torch.no_grad()
    def __call__(self, batch: Batch, share: float = 1.0) -> float:
        """The batch's loss; ``share`` of its gradient is added to the weights' gradient."""
        zl, zr = self.outputs(batch) if self.shared is None else self._outputs_of_all(batch)
        found = self.objective.gradients(
            zl, zr, batch.positives, sides=(self.left is not None, self.right is not None), bound=self.bound
        )
        learned = self.objective.learned(found)
        if self.shared is not None:
            rows = self.shared.world.part(len(batch.positives))
            found = found._replace(**{side: None if dz is None else dz[rows] for side, dz in
                                      (("zl", found.zl), ("zr", found.zr))})  # fmt: skip
            learned = [] if self.shared.world.rank else learned  # of the whole batch: counted once
        if self.left is self.right:
            self.left.backward(torch.cat([found.zl.to(self.dtype), found.zr.to(self.dtype)]))
        else:
            for chain, dz in ((self.left, found.zl), (self.right, found.zr)):
                if chain is not None:
                    chain.backward(dz.to(self.dtype))
        if share == 1.0:  # the only batch of its step: nothing is there to add to
            self.weights.grad.copy_(self.grads)
        else:
            self.weights.grad.add_(self.grads.float(), alpha=share)
        for parameter, gradient in learned:
            parameter.grad.add_(gradient, alpha=share)
        return found.loss.item()

    def _outputs_of_all(self, batch: Batch) -> list[Tensor]:
        """:meth:`outputs` of all processes' rows."""
        with self.shared.own_numbers(self.weights.flat.device):
            own = self.outputs(batch)
        return [self.shared.world.gather(one, len(batch.positives)) for one in own]

    @torch.no_grad()
    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Head outputs of a batch: zl, zr (b, d)."""
        if self.values is not self.weights.flat:
            self.values.copy_(self.weights.flat)
        if self.left is self.right:
            return self.left.forward(torch.cat([batch.left, batch.right])).chunk(2)
        return tuple(
            x if chain is None else chain.forward(x)
            for chain, x in ((self.left, batch.left), (self.right, batch.right))
        )


class _Chain:
    """Forward and backward of one head, from its preprocessed input x (b, d_in) to z (b, d)."""

    def __init__(self, head: AffineLayers, weights: Weights, values: Tensor, grads: Tensor) -> None:
        self.normalize, self.drop = head.normalize, head.input_dropout
        self.layers = [_Dense(layer, weights, values, grads) for layer in head.layers]
        self.hidden = [_Hidden(head, i, weights, values, grads) for i in range(len(head.layers) - 1)]
        self.skip = None if head.skip is None else _Dense(head.skip, weights, values, grads)

    def forward(self, x: Tensor) -> Tensor:
        if self.drop:
            keep, scale = _dropout_mask(x, self.drop)
            x = _drop(x, keep).mul_(scale)  # a batch's rows are gathered for it alone
        h = x
        for layer, hidden in zip(self.layers, self.hidden, strict=False):
            h = hidden.forward(layer.forward(h))
        u = self.layers[-1].forward(h)
        if self.skip is not None:
            u += self.skip.forward(x)
        if not self.normalize:
            return u
        self.inverse = torch.linalg.vector_norm(u, dim=1, keepdim=True).clamp_min_(1e-12).reciprocal_()
        self.z = u.mul_(self.inverse)
        return self.z

    def backward(self, dz: Tensor) -> None:
        if self.normalize:  # z = u / |u|: the part of dz along z changes only the length
            along = torch.linalg.vecdot(self.z, dz).unsqueeze_(1)
            dz = torch.addcmul(dz, self.z, along, value=-1, out=dz).mul_(self.inverse)
        if self.skip is not None:
            self.skip.backward(dz, needed=False)
        for i in range(len(self.layers) - 1, 0, -1):
            dz = self.hidden[i - 1].backward(self.layers[i].backward(dz))
        self.layers[0].backward(dz, needed=False)


class _Dense:
    """y = x Wᵀ + b."""

    def __init__(self, layer: nn.Linear, weights: Weights, values: Tensor, grads: Tensor) -> None:
        self.weight, self.dweight = (weights.of(layer.weight, flat) for flat in (values, grads))
        self.bias, self.dbias = (weights.of(layer.bias, flat) for flat in (values, grads))
        self.y = self.dx = None

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        self.y = _reused(self.y, (len(x), len(self.weight)), x)
        return torch.addmm(self.bias, x, self.weight.T, out=self.y)

    def backward(self, dy: Tensor, needed: bool = True) -> Tensor | None:
        torch.mm(dy.T, self.x, out=self.dweight)
        torch.sum(dy, 0, out=self.dbias)
        if not needed:
            return None
        self.dx = _reused(self.dx, self.x.shape, dy)
        return torch.mm(dy, self.weight, out=self.dx)


class _Hidden:
    """What follows a hidden layer: (LayerNorm), activation, dropout."""

    def __init__(self, head: AffineLayers, i: int, weights: Weights, values: Tensor, grads: Tensor) -> None:
        self.norm = None
        if head.norms:
            norm = head.norms[i]
            self.norm = [weights.of(p, flat) for flat in (values, grads) for p in (norm.weight, norm.bias)]
            self.eps = norm.eps
        self.kind, self.drop = head.activation, head.dropout

    def forward(self, a: Tensor) -> Tensor:
        if self.norm:
            self.a = a
            a, self.mean, self.rstd = torch.native_layer_norm(a, a.shape[1:], *self.norm[:2], self.eps)
        self.before = a
        h = _FORWARD[self.kind](a)
        if self.drop:
            if self.kind == "tanh":
                self.before = h.clone()  # the derivative is of the value before dropout
            self.keep, self.scale = _dropout_mask(h, self.drop)
            _drop(h, self.keep).mul_(self.scale)
        self.after = h
        return h

    def backward(self, dh: Tensor) -> Tensor:
        if self.drop:
            _drop(dh, self.keep).mul_(self.scale)
        da = _BACKWARD[self.kind](dh, self.before, self.after)
        if self.norm:
            gain, bias, dgain, dbias = self.norm
            da, dg, db = torch.ops.aten.native_layer_norm_backward(
                da, self.a, da.shape[1:], self.mean, self.rstd, gain, bias, [True, True, True]
            )
            dgain.copy_(dg)
            dbias.copy_(db)
        return da


def _reused(tensor: Tensor | None, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """The tensor of an earlier step where its shape fits, so that no memory is allocated."""
    return tensor if tensor is not None and tensor.shape == shape else like.new_empty(shape)


def _dropout_mask(h: Tensor, drop: float) -> tuple[Tensor, float]:
    """Bits to ``and`` the bits of h (b, d) with, all zeros where dropped, and the scale of what stays.

    One random byte an element, so the probability is the nearest 256th. Integer arithmetic shifts
    the sign of (byte - threshold) over all bits, an order of magnitude faster than a Bernoulli mask.
    """
    threshold = round(256 * drop)
    bits = np.random.Generator(np.random.SFC64(torch.randint(2**62, ()).item())).bit_generator
    raw = bits.random_raw(-(-h.numel() // 8)).view(np.uint8)[: h.numel()]
    integer = torch.int16 if h.element_size() == 2 else torch.int32
    keep = torch.from_numpy(raw).view(h.shape).to(integer)
    return keep.neg_().add_(threshold - 1).bitwise_right_shift_(8), 256 / (256 - threshold)


def _drop(h: Tensor, keep: Tensor) -> Tensor:
    h.view(keep.dtype).bitwise_and_(keep)
    return h


_aten = torch.ops.aten
_FORWARD = {
    "relu": torch.relu_,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh_,
    "silu": nn.functional.silu,
}
# Of dh, what the activation was made from (in place: its output) and what went on from here.
_BACKWARD = {
    "relu": lambda dh, _, h: _aten.threshold_backward.grad_input(dh, h, 0, grad_input=dh),
    "gelu": lambda dh, a, _: _aten.gelu_backward.grad_input(dh, a, approximate="none", grad_input=dh),
    "tanh": lambda dh, a, _: _aten.tanh_backward.grad_input(dh, a, grad_input=dh),
    "silu": lambda dh, a, _: _aten.silu_backward.grad_input(dh, a, grad_input=dh),
}
