"""The network of PaSST in torch: samples at 32 kHz to scene vectors, by weights named as in the package hear21passt.

Koutini et al., Efficient Training of Audio Transformers with Patchout, 2022. A vision transformer over patches of a
log-mel spectrum, with positions in time and in frequency of their own, a class and a distillation token. Evaluation
alone: patchout and the masks of training are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

RATE = 32_000  # Hz
MELS = 128
_FFT, _WINDOW = 1024, 800  # samples
_FLOOR, _PREEMPHASIS = 1e-5, 0.97
_TOP = 15_000.0  # Hz, upper end of the last filter
_HEAD = 64  # width of an attention head in every published model
_PREFIXES = ("module.", "net.")  # of data-parallel training, and of the package's wrapper


@dataclass(frozen=True)
class Shape:
    """What the weights do not say: attention heads, strides of the patches (mels, frames), samples between frames."""

    heads: int
    stride: tuple[int, int]
    hop: int = 320


class LogMel(nn.Module):
    """Log-mel spectrum: pre-emphasis, power of a 25 ms window, 128 Kaldi filters, (log(x + 1e-5) + 4.5) / 5."""

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("window", torch.hann_window(_WINDOW, periodic=False), persistent=False)
        self.register_buffer("filters", kaldi_filters(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Samples (b, n) to (b, 128, 1 + (n - 1) // hop), in float32 under autocast too."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            x = x[:, 1:] - _PREEMPHASIS * x[:, :-1]
            spectrum = torch.stft(x, _FFT, self.hop, _WINDOW, self.window, return_complex=True)
            power = torch.view_as_real(spectrum).square().sum(-1)
            return ((self.filters @ power + _FLOOR).log() + 4.5) / 5.0


def kaldi_filters() -> Tensor:
    """Kaldi's triangular filters, (128, 513): triangles in mel = 1127 ln(1 + f / 700), 0 to 15 kHz."""
    mel = lambda hz: 1127.0 * torch.log1p(hz / 700.0)  # noqa: E731
    edges = torch.linspace(0.0, float(mel(torch.tensor(_TOP, dtype=torch.float64))), MELS + 2, dtype=torch.float64)
    bins = mel(torch.arange(_FFT // 2, dtype=torch.float64) * (RATE / _FFT))
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return functional.pad(torch.minimum(rising, falling).clamp(min=0.0), (0, 1)).float()


class Attention(nn.Module):
    """Self-attention over all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    """A transformer block with normalisation before each part."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, d) to (b, t, d)."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))


class Passt(nn.Module):
    """Samples (b, n) to vectors: ``features`` (b, d) and ``logits`` (b, c) of the classes it was trained on.

    state: weights, of which the sizes are read. Raises KeyError or ValueError where it is none of PaSST.
    """

    def __init__(self, state: Mapping[str, Tensor], shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width, channels, *patch = state["patch_embed.proj.weight"].shape
        (grid_f, grid_t), self.patch = _grid(state), (patch[0], patch[1])
        depth = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
        if channels != 1 or width % shape.heads:
            raise ValueError(f"{channels} channels and width {width} in {shape.heads} heads")
        self.mel = LogMel(shape.hop)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, self.patch, shape.stride)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width)) if "dist_token" in state else None
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 1 + (self.dist_token is not None), width))
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, width, grid_f, 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, width, 1, grid_t))
        hidden = len(state["blocks.0.mlp.fc1.bias"])
        self.blocks = nn.Sequential(*(Block(width, hidden, shape.heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, len(state["head.1.bias"])))

    @property
    def window(self) -> int:
        """Samples that it hears at once: whole seconds where its positions in time allow that."""
        frames = (self.time_new_pos_embed.shape[3] - 1) * self.shape.stride[1] + self.patch[1]
        most = (frames + self.shape.stride[1] - 1) * self.shape.hop  # one frame more would need another position
        whole = round(self.time_new_pos_embed.shape[3] * self.shape.stride[1] * self.shape.hop / RATE) * RATE
        return whole if 0 < whole <= most else most

    @property
    def least(self) -> int:
        """Samples of one patch."""
        return (self.patch[1] - 1) * self.shape.hop + 2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (b, n), ``least`` to ``window`` of them, to logits (b, c) and features (b, d)."""
        x = self.patch_embed["proj"](self.mel(x)[:, None])
        x = x + self.time_new_pos_embed[..., : x.shape[3]] + self.freq_new_pos_embed
        x = x.flatten(2).transpose(1, 2)
        first = [self.cls_token, *([] if self.dist_token is None else [self.dist_token])]
        tokens = torch.cat(first, 1) + self.new_pos_embed
        x = self.norm(self.blocks(torch.cat([tokens.expand(len(x), -1, -1), x], 1)))
        features = x[:, : len(first)].mean(1)
        return self.head(features), features


def of(state: Mapping[str, Tensor], shape: Shape | None = None, hop: int = 320) -> Passt:
    """The network of a checkpoint, for evaluation; without ``shape``, that of the published models.

    Raises KeyError, ValueError or RuntimeError where the weights are none of PaSST, or some are missing.
    """
    named = bare(state)
    found = Passt(named, shape or usual_shape(named, hop))
    found.load_state_dict({key: named[key] for key in found.state_dict()})
    return found.eval()


def bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the network's own names, without the prefix that a wrapper puts before them."""
    found = {}
    for key, value in state.items():
        for prefix in _PREFIXES:
            key = key.removeprefix(prefix)
        found[key] = value
    return found


def usual_shape(state: Mapping[str, Tensor], hop: int = 320) -> Shape:
    """Heads of 64 numbers, and the stride in both directions that gives the positions of the weights."""
    width, stride = state["patch_embed.proj.weight"].shape[0], MELS // _grid(state)[0]
    return Shape(max(1, math.ceil(width / _HEAD)), (stride, stride), hop)


def _grid(state: Mapping[str, Tensor]) -> tuple[int, int]:
    """Positions in frequency and in time."""
    return state["freq_new_pos_embed"].shape[2], state["time_new_pos_embed"].shape[3]
