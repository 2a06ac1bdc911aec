"""Conditioning: the token states of a prompt, changed by a projected vector z before the denoising model reads them.

Stable Diffusion 1.x conditions on the states (t, d) of CLIP's text model, t = 77, d = 768. The state at the
end-of-text token is the pooled text vector, which is what a head of the recipe ``perception`` was fitted to predict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sensorium.errors import BadData, BadRecipe, nearest

if TYPE_CHECKING:
    from torch import Tensor

#: Ways to condition, each with what it does.
MODES = {
    "blend": "the prompt's pooled state, and those of the padding after it, are turned towards z on the sphere",
    "shift": "strength x tanh(z) is added to the state of every token",
}
#: The strength of each where none is given; that of shift is the old project's.
STRENGTH = {"blend": 0.5, "shift": 0.8}
_UNIT = 1e-3  # how far from 1 the length of a normalised vector may be


def check(mode: str, strength: float) -> None:
    """Raise BadRecipe for an unknown mode or a strength outside 0 ... 1."""
    if mode not in MODES:
        raise BadRecipe(f"mode '{mode}'; {nearest(mode, MODES)}")
    if not 0 <= strength <= 1:
        raise BadRecipe(f"strength {strength:g}; expected 0 (the prompt alone) to 1")


def condition(states: Tensor, z: np.ndarray, end: int, mode: str, strength: float) -> Tensor:
    """The states (1, t, d) of a prompt under the influence of z (d,); end: the position of the end-of-text token.

    With strength 0 the same tensor is returned, so that the picture is that of the prompt, bit for bit. Raises
    BadRecipe for a wrong mode or strength, BadData for a z of another width, with NaN, or of zeros.
    """
    check(mode, strength)
    z = np.asarray(z, np.float64).reshape(-1)
    if len(z) != states.shape[-1]:
        raise BadData(f"a projected vector of {len(z)} numbers; the text model's states have {states.shape[-1]}")
    if not np.isfinite(z).all() or not z.any():
        raise BadData("the projected vector holds NaN, infinity, or only zeros; expected finite numbers")
    if strength == 0:
        return states
    return (blend if mode == "blend" else shift)(states, z, end, strength)


def shift(states: Tensor, z: np.ndarray, end: int, strength: float) -> Tensor:
    """states + strength * tanh(z), the same for every token.

    tanh is meant for numbers of the size of a state's, about 1. A head that normalises gives numbers of about
    1/sqrt(d), so a z of unit length is first given the length of the prompt's pooled state.
    """
    import torch

    length = float(np.linalg.norm(z))
    if abs(length - 1) < _UNIT:
        z = z * float(states[0, end].double().norm())
    return states + torch.from_numpy(np.tanh(z) * strength).to(states)


def blend(states: Tensor, z: np.ndarray, end: int, strength: float) -> Tensor:
    """The states from the end-of-text token on, turned by ``strength`` of the angle between its state p and z.

    The rotation takes place in the plane of p and z (for p itself: spherical linear interpolation, Shoemake 1985),
    so lengths, and the angles between the states that are turned, stay as they are. With strength 1 the pooled state
    has the direction of z. The states of the words before it, which say what is to be seen, are unchanged.
    """
    import torch

    p = states[0, end].double().cpu().numpy()
    u, v, angle = plane(p, z)
    turned = states[:, end:].double().cpu().numpy()
    along, across = turned @ u, turned @ v
    cos, sin = np.cos(strength * angle), np.sin(strength * angle)
    turned = turned + np.multiply.outer(along * (cos - 1) - across * sin, u)
    turned = turned + np.multiply.outer(along * sin + across * (cos - 1), v)
    return torch.cat([states[:, :end], torch.from_numpy(turned).to(states)], dim=1)


def plane(p: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Orthonormal u (along p) and v of the plane of two vectors, and the angle from p to z in radians, 0 ... pi.

    Where they are parallel, any plane that holds p does.
    """
    u = p / np.linalg.norm(p)
    z = z / np.linalg.norm(z)
    rest = z - (z @ u) * u
    angle = float(np.arctan2(np.linalg.norm(rest), z @ u))
    if np.linalg.norm(rest) < 1e-9:
        rest = np.eye(len(u))[np.abs(u).argmin()]
        rest = rest - (rest @ u) * u
    return u, rest / np.linalg.norm(rest), angle
