"""A small convolutional network on pseudo-images of vectors: the vision head of Embed2Image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.heads import check_dim
from sensorium.heads._preprocess import Preprocess, check_mode, unit
from sensorium.heads._pseudo import PseudoImages, count_rows
from sensorium.modalities.image.pseudo import PseudoImage
from sensorium.numerics.moments import InputStats

_DEEPEST, _WIDEST = 8, 512  # stages; channels of the first one
_GROWTH = 8  # channels grow to at most so many times those of the first stage


class CNN(nn.Module, Head):
    """P(x) as a pseudo-image, ``stages`` times (twice conv 3 × 3, batch norm, GELU; max pool 2), mean, hidden, linear.

    Each stage has twice the channels of the one before, up to 8 times ``width``: 32, 64, 128, 256 by default. The
    mean over what is left of the picture passes Linear, GELU, dropout, Linear. The picture is made of the vector in
    each step; nothing of it is learned, so the settings are all there is to save. It has no reason to win over
    ``mlp``: the order of a vector's numbers means nothing. Its use is to read runs of Embed2Image, and to compare.

    dim: output width; None takes that of the other side, or else 256.
    size: pixels of a side of the picture. A step on a processor costs size² : 32 is 16 times as fast as 128.
    mode: of the resizing, "nearest", "nearest-exact", "bilinear", "bicubic" or "area".
    channels: "split" fills the R, G and B planes one after the other, "replicate" fills one plane and shows it thrice.
    clamp: cuts values to -1..1 before the resizing. minmax: scales values to 0..1 by the least and greatest of the
        "image", of each "channel", or "none".
    quantize: rounds values down to the 256 levels of a PNG file, so that pictures made and read are equal.
    images: a folder that ``sensorium images`` wrote; pictures of vectors that it holds are read instead of made. It
        needs ``quantize``, and preprocess "none". When a run is used elsewhere, without the folder, they are made.
    width: channels of the first stage. stages: how many there are.
    tail: one more pair of convolutions before the mean, without a pool, as the published code of Embed2Image has.
    hidden: width of the hidden layer, 0 for none. dropout: probability, 0 to below 1.
    preprocess: P, of the vectors: "none", "unit", "center", "standardize" or "whiten", with training statistics; see
        :class:`sensorium.heads._preprocess.Preprocess`.
    normalize: outputs of unit length.
    """

    def __init__(
        self,
        dim: int | None = None,
        size: int = 128,
        mode: str = "nearest",
        channels: str = "split",
        clamp: bool = False,
        minmax: str = "image",
        quantize: bool = False,
        images: str = "",
        width: int = 32,
        stages: int = 4,
        tail: bool = False,
        hidden: int = 512,
        dropout: float = 0.1,
        preprocess: str = "none",
        normalize: bool = True,
    ) -> None:
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        self.transform = PseudoImage(size, mode, channels, clamp, minmax, quantize)
        if not 1 <= stages <= _DEEPEST or not 1 <= width <= _WIDEST or hidden < 0 or not 0 <= dropout < 1:
            raise BadRecipe(
                f"cnn: width={width}, stages={stages}, hidden={hidden}, dropout={dropout}; expected width 1 to "
                f"{_WIDEST}, stages 1 to {_DEEPEST}, hidden 0 or above, and dropout from 0 to below 1"
            )
        if size < 2**stages:
            raise BadRecipe(f"cnn: size={size} is halved {stages} times; expected {2**stages} pixels or more, or fewer "
                            "stages")  # fmt: skip
        if images and (preprocess != "none" or not quantize):
            raise BadRecipe("cnn: picture files hold vectors as they are, in 256 levels; with images= expected "
                            "quantize=true and preprocess=none")  # fmt: skip
        self.arguments = {"dim": dim, **self.transform.asdict(), "images": str(images), "width": width,
                          "stages": stages, "tail": tail, "hidden": hidden, "dropout": dropout,
                          "preprocess": preprocess, "normalize": normalize}  # fmt: skip
        self.normalize = normalize

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of the training rows; None when ``load_state_dict`` follows."""
        own = self.arguments
        self.dim_in, self.dim = dim_in, own["dim"] or like or 256
        self.preprocess = Preprocess(own["preprocess"], dim_in, stats)
        self.image = PseudoImages(self.transform, dim_in, own["images"])
        outputs = [own["width"] * min(2**i, _GROWTH) for i in range(own["stages"] + own["tail"]) for _ in range(2)]
        pairs = zip([3, *outputs], outputs, strict=False)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in outputs)
        self.hidden = nn.Linear(outputs[-1], own["hidden"]) if own["hidden"] else None
        self.dropout = nn.Dropout(own["dropout"])
        self.fc = nn.Linear(own["hidden"] or outputs[-1], self.dim)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, d). Without gradients, so many rows a pass that memory stays bounded."""
        x = self.preprocess(x)
        rows = count_rows(self.transform.size)
        if self.training or torch.is_grad_enabled() or torch.jit.is_tracing() or len(x) <= rows:
            return self._outputs(x)
        return torch.cat([self._outputs(some) for some in x.split(rows)])

    def _outputs(self, x: Tensor) -> Tensor:
        h = self.image(x).contiguous(memory_format=torch.channels_last)  # half the time of the usual order
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            h = F.gelu(norm(convolution(h)))
            if i % 2 and i < 2 * self.arguments["stages"]:
                h = F.max_pool2d(h, 2)
        h = h.mean((2, 3))
        if self.hidden is not None:
            h = self.dropout(F.gelu(self.hidden(h)))
        z = self.fc(h)
        return unit(z) if self.normalize else z
