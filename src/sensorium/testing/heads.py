"""Rules of heads, of vectors and of sequences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import parts
from sensorium.contracts import Head, SequenceHead
from sensorium.errors import BadRecipe
from sensorium.numerics.moments import InputStats
from sensorium.testing.rules import Skip
from sensorium.types import Affine

_D, _LIKE = 12, 5  # widths of the input and of the other side
_NEAR = 1e-4
_LENGTHS = (1, 7, 23, 30)


class Subject:
    """A built head in evaluation mode, and inputs for it."""

    def __init__(self, make: partial, values: Sequence[Any] | None) -> None:
        self.make = make
        random = np.random.default_rng(0)
        self.rows = (random.standard_normal((60, _D)) * np.arange(1, _D + 1) + 3).astype(np.float32)
        self.x = torch.from_numpy(self.rows)
        self.frames = torch.from_numpy(random.standard_normal((len(_LENGTHS), max(_LENGTHS), _D)).astype(np.float32))
        self.lengths = torch.tensor(_LENGTHS)
        self.frames[torch.arange(max(_LENGTHS)) >= self.lengths[:, None]] = 0.0
        self.head: Head = self.built()

    def built(self) -> Any:
        """A new head with weights, the same ones each time."""
        torch.manual_seed(0)
        head = self.make()
        head.build(_D, self._statistics(head) if head.needs_statistics else None, _LIKE)
        return head.eval()

    def _statistics(self, head: Head) -> InputStats:
        """Of the inputs, or of the head's features of them."""
        with torch.no_grad():
            return InputStats.of(self.rows if head.features is None else head.features(self.x).numpy())

    @torch.no_grad()
    def out(self, head: Any = None) -> Tensor:
        """Outputs of vectors, or of sequences by a head that takes no vectors."""
        head = self.head if head is None else head
        return head(self.x) if head.takes_vectors else head(self.frames, self.lengths)


def described(s: Subject) -> None:
    """Its arguments make an equal head, and building sets the widths of input and output."""
    missing = sorted(set(parts.arguments(s.make.func)) - set(s.head.arguments)) if not s.make.args else []
    assert not missing, f"arguments lacks {', '.join(missing)}"
    again = s.make.func(*s.make.args, **s.head.arguments)
    assert dict(again.arguments) == dict(s.head.arguments), f"{dict(again.arguments)} of {dict(s.head.arguments)}"
    fresh = s.make()
    assert fresh.dim_in is None and fresh.dim is None, "dim_in and dim must be None before build"
    assert s.head.dim_in == _D, f"dim_in is {s.head.dim_in} after build({_D})"
    assert isinstance(s.head.dim, int) and s.head.dim >= 1, f"dim is {s.head.dim!r} after build"
    assert not s.head.open_width or s.head.dim == _LIKE, f"dim is {s.head.dim}, the other side's is {_LIKE}"
    assert s.head.takes_vectors or s.head.takes_sequences, "it takes neither vectors nor sequences"


def shape(s: Subject) -> None:
    """Outputs are finite float32 vectors of its own width."""
    z = s.out()
    n = len(s.x) if s.head.takes_vectors else len(s.lengths)
    assert tuple(z.shape) == (n, s.head.dim), f"shape {tuple(z.shape)}, expected {(n, s.head.dim)}"
    assert z.dtype == torch.float32, f"type {z.dtype}"
    assert torch.isfinite(z).all(), "NaN or infinity"


def alone(s: Subject) -> None:
    """In evaluation mode an output does not depend on the other rows of its batch, and is the same each time."""
    _near(s.out(), s.out(), "the second time", 1e-6)
    with torch.no_grad():
        if s.head.takes_vectors:
            each = torch.cat([s.head(s.x[i : i + 1]) for i in range(len(s.x))])
        else:
            each = torch.cat([s.head(s.frames[i : i + 1, :n], torch.tensor([n])) for i, n in enumerate(_LENGTHS)])
    _near(s.out(), each, "alone")


def unit_length(s: Subject) -> None:
    """Outputs have unit length where it says so."""
    if not s.head.normalize:
        raise Skip("normalize is off")
    length = s.out().norm(dim=1)
    assert (length - 1).abs().max() < 1e-4, f"lengths from {length.min():.3f} to {length.max():.3f}"


def reloaded(s: Subject) -> None:
    """A head made from its arguments, built without statistics and given the saved weights, gives the same outputs."""
    again = s.make()
    again.build(_D, None, s.head.dim)
    again.load_state_dict({key: value.clone() for key, value in s.head.state_dict().items()})
    assert again.dim == s.head.dim, f"dim {again.dim} after loading, {s.head.dim} before"
    _near(s.out(), s.out(again.eval()), "after loading", 1e-6)


def trained(s: Subject) -> None:
    """A trainable head has parameters, whose gradients are finite and not all zero; any other has none."""
    if not s.head.trainable:
        some = [name for name, p in s.head.named_parameters() if p.requires_grad]
        assert not some, f"trainable is False, but {', '.join(some)} require gradients"
        return
    head = s.built().train()
    x = (s.x,) if head.takes_vectors else (s.frames, s.lengths)
    torch.manual_seed(0)
    z = head(*x)
    (z * torch.randn(z.shape)).sum().backward()
    grads = {name: p.grad for name, p in head.named_parameters() if p.requires_grad}
    assert grads, "it has no parameters; say trainable = False"
    bad = [name for name, grad in grads.items() if grad is not None and not torch.isfinite(grad).all()]
    assert not bad, f"the gradient of {', '.join(bad)} is not finite"
    assert any(grad is not None and grad.abs().max() > 0 for grad in grads.values()), "all gradients are zero"


def linear(s: Subject) -> None:
    """Its affine map, where it gives one, computes its outputs but for their length."""
    affine = s.head.affine()
    if affine is None:
        raise Skip("affine() is None")
    z = torch.from_numpy(affine(s.rows.astype(np.float64))).float()
    _near(s.out(), F.normalize(z, dim=1) if s.head.normalize else z, "by affine()", 1e-3)


def layered(s: Subject) -> None:
    """Its layers for the fused step, where it gives them, compute its outputs."""
    layers = s.head.affine_layers()
    if layers is None:
        raise Skip("affine_layers() is None")
    function = {"relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh, "silu": F.silu}[layers.activation]
    with torch.no_grad():
        x = h = layers.preprocess(s.x)
        for i, layer in enumerate(layers.layers[:-1]):
            h = layer(h)
            h = function(layers.norms[i](h) if layers.norms else h)
        z = layers.layers[-1](h)
        z = z if layers.skip is None else z + layers.skip(x)
    _near(s.out(), F.normalize(z, dim=1) if layers.normalize else z, "by affine_layers()")
    assert layers.normalize == s.head.normalize, "affine_layers().normalize is not that of the head"


def started(s: Subject) -> None:
    """It starts exactly at a linear map, or refuses by BadRecipe."""
    random = np.random.default_rng(1)
    affine = Affine(random.standard_normal((_D, s.head.dim)), random.standard_normal(s.head.dim))
    head = s.built()
    try:
        head.initialise(affine)
    except BadRecipe as error:
        raise Skip(str(error)) from None
    if head.solved or head.features is not None:
        raise Skip("a closed form is written into it, and what it makes of that is its own")
    expected = torch.from_numpy(affine(s.rows.astype(np.float64))).float()
    _near(F.normalize(s.out(head), dim=1), F.normalize(expected, dim=1), "after initialise()", 1e-3)


def padded(s: Subject) -> None:
    """Of sequences, what lies behind the valid frames does not matter."""
    _of_sequences(s)
    with torch.no_grad():
        z = s.head(s.frames, s.lengths)
        noise = torch.where(
            (torch.arange(s.frames.shape[1]) >= s.lengths[:, None])[..., None],
            torch.full_like(s.frames, 5.0),
            s.frames,
        )
        _near(z, s.head(noise, s.lengths), "with other numbers behind the frames")
        longer = F.pad(s.frames, (0, 0, 0, 9))
        _near(z, s.head(longer, s.lengths), "with more padding")
    assert tuple(z.shape) == (len(_LENGTHS), s.head.dim), f"shape {tuple(z.shape)}"


def fixed_part(s: Subject) -> None:
    """What it computes of frames before any weight, where it says so, gives the same outputs."""
    _of_sequences(s)
    if s.head.frozen is None:
        raise Skip("frozen is None")
    with torch.no_grad():
        _near(s.head(s.frames, s.lengths), s.head(s.head.frozen(s.frames, s.lengths)), "by frozen()")


def streamed(s: Subject) -> None:
    """Streamed outputs equal those of the whole sequence, after every frame and however the frames arrive."""
    head = _streaming(s)
    n = _LENGTHS[-1]
    x = s.frames[-2:, :n]
    with torch.no_grad():
        whole = torch.stack([head(x[:, : t + 1], torch.tensor([t + 1] * 2)) for t in range(n)], 1)
        for cuts in ([0, n], [0, 1, 2, 2, 11, n]):
            state, found = head.start(2), []
            for begin, end in pairwise(cuts):
                z, state = head.step(x[:, begin:end], state)
                assert tuple(z.shape) == (2, end - begin, head.dim), f"step gives {tuple(z.shape)}"
                found.append(z)
            _near(whole, torch.cat(found, 1), f"in pieces up to frames {cuts[1:]}")
        first, _ = head.step(x[:, :3])
        _near(whole[:, :3], first, "with state None")


def advanced(s: Subject) -> None:
    """Several streams with different numbers of new frames advance together as each would alone."""
    head = _streaming(s)
    with torch.no_grad():
        state, first = head.start(len(_LENGTHS)), torch.tensor([1, 0, 10, 4])
        _, state = head.advance(s.frames[:, :10], first, state)
        rest = s.lengths - first
        more = torch.zeros(len(_LENGTHS), int(rest.max()), _D)
        for i, (a, b) in enumerate(zip(first.tolist(), rest.tolist(), strict=True)):
            more[i, :b] = s.frames[i, a : a + b]
        z, _ = head.advance(more, rest, state)
        moved = rest > 0
        _near(head(s.frames, s.lengths)[moved], z[moved], "by advance()")
    assert all(len(part) == 0 for part in head.start(0)), "start(0) is not the state of no streams"


def composed(s: Subject) -> None:
    """A query of a set is as wide as its head; the order of its items, padding and other sets do not matter."""
    if not s.head.takes_sets:
        raise Skip("it takes no sets")
    sizes, places = torch.tensor([3, 1, 5, 2]), len(s.head.categories)
    random = torch.Generator().manual_seed(0)
    x = torch.randn(4, 5, _D, generator=random)
    category = torch.randint(-1, max(places, 1), (4, 5), generator=random).clamp_max(places - 1)
    slot = torch.tensor([places - 1, -1, min(0, places - 1), -1])
    with torch.no_grad():
        z = s.head.compose(x, sizes, category, slot)
        assert tuple(z.shape) == (4, s.head.dim), f"shape {tuple(z.shape)}, expected {(4, s.head.dim)}"
        assert torch.isfinite(z).all(), "NaN or infinity"
        each = [s.head.compose(x[i : i + 1, :n], sizes[i : i + 1], category[i : i + 1, :n], slot[i : i + 1])
                for i, n in enumerate(sizes.tolist())]  # fmt: skip
        _near(z, torch.cat(each), "without the other sets and without padding")
        orders = [[*reversed(range(n)), *range(n, 5)] for n in sizes.tolist()]
        at = torch.arange(4)[:, None], torch.tensor(orders)
        _near(z, s.head.compose(x[at], sizes, category[at], slot), "with the items in another order")
        rest = torch.arange(5) >= sizes[:, None]
        behind = x.masked_fill(rest[..., None], float("nan"))
        _near(z, s.head.compose(behind, sizes, category.masked_fill(rest, 0), slot), "with NaN behind the items")


def _of_sequences(s: Subject) -> None:
    if not s.head.takes_sequences:
        raise Skip("it takes no sequences")


def _streaming(s: Subject) -> SequenceHead:
    if not s.head.streams:
        raise Skip("it does not stream")
    return s.head


def _near(a: Tensor, b: Tensor, how: str, tolerance: float = _NEAR) -> None:
    assert a.shape == b.shape, f"shape {tuple(b.shape)} {how}, {tuple(a.shape)} before"
    off = float((a - b).abs().max() / max(1.0, float(a.abs().max()))) if a.numel() else 0.0
    assert off <= tolerance, f"outputs differ by {off:.2g} {how}, at most {tolerance:g} is rounding"


RULES = (described, shape, alone, unit_length, reloaded, trained, linear, layered, started, padded, fixed_part,
         streamed, advanced, composed)  # fmt: skip
