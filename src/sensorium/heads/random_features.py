"""Random Fourier features of the input and one linear map: what a closed form solves for, as of a Gaussian kernel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe
from sensorium.heads import check_dim
from sensorium.heads._preprocess import Preprocess, check_mode, set_linear, unit
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine

_MOST = 1 << 16  # features
_WIDTHS = (0.01, 100.0)
_SEEDS = 1 << 31


class RandomFeatures(nn.Module, Head):
    """z = φ(P(x)) W + b with φ(x) = √(2 / m) cos(x Ω + θ), at unit length with ``normalize``.

    Inner products of features approach the Gaussian kernel exp(-|x - y|² / 2σ²) as their number m grows, with the
    columns of Ω drawn from N(0, I / σ²) and θ uniform in [0, 2π) (Rahimi & Recht 2007, "Random features for
    large-scale kernel machines", algorithm 1). A closed form of these features is that of the kernel: objective=cca
    is then kernel CCA (Lopez-Paz et al. 2014, "Randomized nonlinear component analysis"), objective=ridge kernel
    ridge regression. Features stay as drawn; W and b are solved for, or trained.

    dim: output width; None takes that of the closed form, of the other side, or else 256.
    features: m, their number, 1 to 65,536.
    width: σ as a multiple of the root mean square distance of two training inputs, 0.01 to 100. Larger ones are
        closer to a linear map.
    seed: of Ω and θ, 0 to 2,147,483,647.
    preprocess: P, of the inputs: "none", "unit", "center", "standardize" or "whiten"; see
        :class:`sensorium.heads._preprocess.Preprocess`.
    normalize: outputs of unit length.

    Raises BadRecipe for invalid values.
    """

    solved = True

    def __init__(
        self,
        dim: int | None = None,
        features: int = 1024,
        width: float = 1.5,
        seed: int = 0,
        preprocess: str = "standardize",
        normalize: bool = True,
    ) -> None:
        super().__init__()
        check_mode(preprocess)
        check_dim(dim)
        if not 1 <= features <= _MOST:
            raise BadRecipe(f"random_features: features={features}; expected 1 to {_MOST:,}, such as 1024")
        if not _WIDTHS[0] <= width <= _WIDTHS[1]:
            raise BadRecipe(f"random_features: width={width}; expected {_WIDTHS[0]} to {_WIDTHS[1]:g}, such as 1.5")
        if not 0 <= seed < _SEEDS:
            raise BadRecipe(f"random_features: seed={seed}; expected a whole number, 0 to {_SEEDS - 1:,}")
        self.arguments = {"dim": dim, "features": features, "width": width, "seed": seed, "preprocess": preprocess,
                          "normalize": normalize}  # fmt: skip
        self.normalize, self.lift_dim = normalize, features

    @property
    def needs_statistics(self) -> bool:
        """Always: the width is a multiple of the inputs' typical distance."""
        return True

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Draw the features. ``stats`` of the training rows; None when ``load_state_dict`` follows."""
        own = self.arguments
        self.dim_in, self.dim = dim_in, own["dim"] or like or 256
        self.preprocess = Preprocess(own["preprocess"], dim_in, stats)
        random = torch.Generator().manual_seed(own["seed"])
        omega = torch.randn((dim_in, own["features"]), generator=random)
        omega /= own["width"] * (1.0 if stats is None else self._distance(stats))
        self.register_buffer("omega", omega)
        self.register_buffer("theta", 2 * math.pi * torch.rand(own["features"], generator=random))
        self.layers = nn.ModuleList([nn.Linear(own["features"], self.dim)])

    def _distance(self, stats: InputStats) -> float:
        """Root mean square distance of two training inputs after the preprocessing, √(2 tr C)."""
        covariance = torch.from_numpy(stats.covariance)
        total = float(covariance.diagonal().sum())
        if self.preprocess.mode == "standardize":
            total = float((covariance.diagonal() * self.preprocess.scale.double() ** 2).sum())
        elif self.preprocess.mode == "whiten":
            matrix = self.preprocess.matrix.double()
            total = float((matrix * (covariance @ matrix)).sum())
        elif self.preprocess.mode == "unit":
            total /= max(total + float((stats.mean**2).sum()), 1e-300)
        return math.sqrt(2 * total) or 1.0

    def lift(self, x: Tensor) -> Tensor:
        """Features φ(P(x)) (n, m) of raw inputs x (n, d_in)."""
        scale = math.sqrt(2 / self.arguments["features"])
        return scale * torch.cos(torch.addmm(self.theta, self.preprocess(x), self.omega))

    def initialise(self, affine: Affine) -> None:
        """Take a closed form W, b of the features. Raises BadRecipe for another width than ``dim``."""
        width = len(affine.bias)
        if self.arguments["dim"] not in (None, width):
            raise BadRecipe(
                f"random_features: dim={self.arguments['dim']}, but the closed form is {width} wide; leave it out, or "
                f"type: objective.dim={self.arguments['dim']}"
            )
        self.dim, self.layers = width, nn.ModuleList([nn.Linear(self.arguments["features"], width)])
        set_linear(self.layers[0], affine)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, dim)."""
        z = self.layers[0](self.lift(x))
        return unit(z) if self.normalize else z
