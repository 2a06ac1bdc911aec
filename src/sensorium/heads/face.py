"""A perceptron on a perception vector: landmarks made upright inside, the emotions standardised on their own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sensorium.contracts import Head
from sensorium.errors import BadRecipe, nearest
from sensorium.heads import check_dim
from sensorium.heads._blocks import ACTIVATIONS, check_blocks
from sensorium.heads._face import FaceFeatures, FaceInput
from sensorium.heads._preprocess import AffineLayers, set_linear, unit
from sensorium.numerics import face_shape
from sensorium.numerics.moments import InputStats
from sensorium.types import Affine

_MOST_POINTS, _HEAVIEST, _WIDEST = 100_000, 100, 100_000


class Face(nn.Module, Head):
    """z of a vector of landmarks, blendshapes where there are some, and emotion probabilities; at unit length.

    The landmarks are moved so that the middle between the eyes is the origin, scaled to one size and turned until the
    eyes are level: where the face is in the picture, how large it is and how it is rolled do not matter. They become
    principal components of the training faces (an active shape model's parameters, Cootes et al. 1995). Probabilities
    become logarithms, standardised. Then ``depth`` times Linear, activation, dropout, then Linear.

    points: landmarks at the start of a vector, of 3 or of 2 numbers; None: 478 or 468 of MediaPipe, or 68 of dlib and
        face-api.js, whichever the vectors' width allows.
    emotions: probabilities at the end; None: 7 or 0, as the width allows. 52 numbers between are blendshapes.
    eyes: landmarks of the eye on the picture's left, then of the other; None: those known for these numbers.
    logarithm: log(p + 0.001) of a probability p in place of p.
    components: principal components of the landmarks, at most; 0 takes each coordinate, standardised.
    weight: deviation of each component and blendshape, where each emotion has 1; 0 leaves them out.
    dim: output width; None takes that of the other side, or else 256.
    hidden: width of each of the ``depth`` hidden layers. depth: how many; 0 is one linear map, for closed forms too.
    activation: "relu", "gelu", "tanh" or "silu". dropout: probability, 0 to below 1.
    normalize: outputs of unit length.
    """

    needs_statistics = True

    def __init__(
        self,
        points: int | None = None,
        emotions: int | None = None,
        eyes: Sequence[Sequence[int]] | None = None,
        logarithm: bool = True,
        components: int = 32,
        weight: float = 0.1,
        dim: int | None = None,
        hidden: int = 256,
        depth: int = 1,
        activation: str = "gelu",
        dropout: float = 0.5,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        check_dim(dim)
        if not 2 <= (2 if points is None else points) <= _MOST_POINTS or not 0 <= (emotions or 0) <= _MOST_POINTS:
            raise BadRecipe(f"face: points={points}, emotions={emotions}; expected 2 to {_MOST_POINTS} landmarks and 0 "
                            f"to {_MOST_POINTS} probabilities, such as points=478 emotions=7")  # fmt: skip
        if not 0 <= components <= _MOST_POINTS or not 0 <= weight <= _HEAVIEST:
            raise BadRecipe(f"face: components={components}, weight={weight}; expected 0 to {_MOST_POINTS} components "
                            f"and a weight from 0 to {_HEAVIEST}")  # fmt: skip
        if activation not in ACTIVATIONS:
            raise BadRecipe(f"face: activation '{activation}'; {nearest(activation, ACTIVATIONS)}")
        check_blocks("face", depth or 1, 1, dropout)
        if not 1 <= hidden <= _WIDEST or (dim or 1) > _WIDEST:
            raise BadRecipe(f"face: hidden={hidden}, dim={dim}; expected 1 to {_WIDEST}; for one linear map depth=0")
        both = None if eyes is None and points is None else face_shape.eyes_of(points or _MOST_POINTS, eyes)
        self.arguments = {
            "points": points, "emotions": emotions, "eyes": None if eyes is None else [list(one) for one in both],
            "logarithm": logarithm, "components": components, "weight": weight, "dim": dim, "hidden": hidden,
            "depth": depth, "activation": activation, "dropout": dropout, "normalize": normalize,
        }  # fmt: skip
        self.normalize = normalize
        self._features = FaceFeatures(points, emotions, both, logarithm)

    def features(self, x: Tensor) -> Tensor:
        """What ``stats`` of :meth:`build` are of: vectors (n, d) with landmarks upright, of the same width."""
        return self._features(x)

    def build(self, dim_in: int, stats: InputStats | None = None, like: int | None = None) -> None:
        """Make the weights. ``stats`` of :meth:`features` of the training rows; None when ``load_state_dict`` follows.

        Raises BadRecipe for a width that is none of landmarks, blendshapes and emotions.
        """
        own = self.arguments
        self.dim_in, self.dim = dim_in, own["dim"] or like or 256
        self.inputs = FaceInput(self._features, dim_in, own["components"], own["weight"], stats)
        widths = [self.inputs.dim, *[own["hidden"]] * own["depth"]]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, [*widths[1:], self.dim], strict=True))
        self.activation = ACTIVATIONS[own["activation"]]()
        self.dropout = nn.Dropout(own["dropout"])

    def initialise(self, affine: Affine) -> None:
        """Take a closed form of what the layers take. Raises BadRecipe with hidden layers, or for another ``dim``."""
        if self.arguments["depth"]:
            raise BadRecipe("the face head with hidden layers cannot hold or start at a closed form; type: "
                            "left.head.depth=0")  # fmt: skip
        if self.arguments["dim"] is None and len(affine.bias) != self.dim:
            self.dim, self.layers = len(affine.bias), nn.ModuleList([nn.Linear(self.inputs.dim, len(affine.bias))])
        set_linear(self.layers[0], affine)

    def affine_layers(self) -> AffineLayers:
        """Its layers, for the fused training step."""
        own = self.arguments
        return AffineLayers(self.inputs, self.layers, (), None, own["activation"], own["dropout"], self.normalize)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, d_in) to (n, dim)."""
        z = self.inputs(x)
        for layer in self.layers[:-1]:
            z = self.dropout(self.activation(layer(z)))
        z = self.layers[-1](z)
        return unit(z) if self.normalize else z
