"""PaSST of a few thousand random weights, by the names of the package hear21passt; the same on every machine."""

from pathlib import Path

import numpy as np
import torch

WIDTH, DEPTH, CLASSES, GRID = 64, 2, 7, (12, 9)  # GRID: positions in frequency and time; 9 is one second


def weights(width: int = WIDTH, hidden: int = 96, grid: tuple[int, int] = GRID, distilled: bool = True) -> dict:
    """Tensors by name. Attention is sharp enough that unlike sounds have unlike vectors."""
    rng = np.random.default_rng(0)
    made: dict[str, torch.Tensor] = {}

    def add(name: str, *shape: int, scale: float = 1.0, around: float = 0.0) -> None:
        made[name] = torch.from_numpy((around + scale * rng.standard_normal(shape)).astype(np.float32))

    def linear(name: str, out: int, into: int, scale: float = 1.5) -> None:
        add(f"{name}.weight", out, into, scale=scale / into**0.5)
        add(f"{name}.bias", out, scale=0.1)

    def norm(name: str) -> None:
        add(f"{name}.weight", width, scale=0.2, around=1.0)
        add(f"{name}.bias", width, scale=0.1)

    tokens = ("cls_token", "dist_token") if distilled else ("cls_token",)
    for token in tokens:
        add(token, 1, 1, width)
    add("new_pos_embed", 1, len(tokens), width, scale=0.3)
    add("freq_new_pos_embed", 1, width, grid[0], 1, scale=0.3)
    add("time_new_pos_embed", 1, width, 1, grid[1], scale=0.3)
    add("patch_embed.proj.weight", width, 1, 16, 16, scale=1.0 / 16)
    add("patch_embed.proj.bias", width, scale=0.1)
    for block in range(DEPTH):
        name = f"blocks.{block}"
        norm(f"{name}.norm1")
        linear(f"{name}.attn.qkv", 3 * width, width)
        linear(f"{name}.attn.proj", width, width)
        norm(f"{name}.norm2")
        linear(f"{name}.mlp.fc1", hidden, width)
        linear(f"{name}.mlp.fc2", width, hidden)
    norm("norm")
    norm("head.0")
    linear("head.1", CLASSES, width)
    if distilled:
        linear("head_dist", CLASSES, width)
    return made


def save(path: Path) -> Path:
    """A file of weights, as the releases have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights(), path)
    return path
