"""Pseudo-images inside a head, in torch: gradients reach the vectors; and those of a folder, read instead of made."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from sensorium.modalities.image import pseudo_files, resize
from sensorium.modalities.image.pseudo import CHANNELS, EPSILON, LEVELS, PseudoImage


class PseudoImages(nn.Module):
    """Vectors x (n, d) as pictures (n, 3, size, size), as :class:`sensorium.modalities.image.pseudo.PseudoImage` says.

    Equal to it to 1e-6, and to the bit where no values blend. Its settings are all there is to save: what it computes
    with is derived from them. ``quantize`` passes gradients on as if it were not there (straight-through).

    folder: of pictures that ``sensorium images`` wrote; those of vectors that it holds are read instead of made.
    """

    def __init__(self, transform: PseudoImage, dim: int, folder: str = "") -> None:
        super().__init__()
        self.transform, self.side, self.planes = transform, transform.side(dim), CHANNELS[transform.channels]
        self.pad = self.planes * self.side**2 - dim
        self.exact = transform.mode in resize.NEAREST
        if self.exact:
            blend = torch.from_numpy(resize.places(self.side, transform.size, transform.mode).copy())
        else:
            blend = torch.from_numpy(resize.matrix(self.side, transform.size, transform.mode).copy())
        self.register_buffer("blend", blend, persistent=False)
        self.stored = pseudo_files.Stored(Path(folder), transform) if folder else None

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d) to (n, 3, size, size)."""
        if self.stored is None or torch.jit.is_tracing():
            return self._made(x)
        rows, pixels = self.stored.read(x.detach().float().cpu().numpy(), required=self.training)
        if len(rows) == len(x):
            return torch.from_numpy(PseudoImage.from_pixels(pixels)).to(x.device)
        image = self._made(x)
        if len(rows):
            read = torch.from_numpy(PseudoImage.from_pixels(pixels)).to(image)
            image = image.index_copy(0, torch.from_numpy(rows).to(x.device), read)
        return image

    def _made(self, x: Tensor) -> Tensor:
        wants = self.transform
        x = x.float()
        x = x.clamp(-1, 1) if wants.clamp else x
        image = nn.functional.pad(x, (0, self.pad)).reshape(-1, self.planes, self.side, self.side)
        if self.exact and wants.size >= self.side:  # every value stays: the small picture is scaled, which is less work
            image = self._resized(self._scaled(image))
        else:
            image = self._scaled(self._resized(image))
        return image.expand(-1, 3, -1, -1) if self.planes == 1 else image

    def _resized(self, image: Tensor) -> Tensor:
        if self.exact:
            last = image.permute(0, 2, 3, 1)  # planes last, as the convolutions want it: a copy of 50 MB less
            return last.index_select(2, self.blend).index_select(1, self.blend).permute(0, 3, 1, 2)
        wide = image.device.type != "mps"  # which has no double precision
        blend = self.blend if wide else self.blend.float()
        return (blend @ (image.double() if wide else image) @ blend.T).float()

    def _scaled(self, image: Tensor) -> Tensor:
        wants = self.transform
        if wants.minmax == "none":
            return image
        axes = (2, 3) if wants.minmax == "channel" else (1, 2, 3)
        low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
        image = (image - low) / (high - low + float(EPSILON))
        if not wants.quantize:
            return image
        level = torch.floor(image.detach() * float(LEVELS)) / float(LEVELS)
        return image + (level - image).detach() if image.requires_grad else level


def count_rows(size: int, memory: int = 1 << 28) -> int:
    """Pictures of ``size`` pixels a pass, so that 32 planes of them take ``memory`` bytes."""
    return max(1, memory // (32 * 4 * size * size))
