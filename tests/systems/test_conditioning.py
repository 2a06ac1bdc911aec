"""How a projected vector changes the states of a prompt: nothing at strength 0, a rotation, a sum; styles of prompts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import BadData, BadRecipe
from sensorium.systems.perception import conditioning, preview, styles

END = 3


def states(seed: int = 0, dim: int = 24, tokens: int = 9) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((1, tokens, dim)).astype(np.float32))


def vector(seed: int = 1, dim: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(dim)


def cosine(a, b) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("mode", conditioning.MODES)
def test_strength_0_gives_the_prompt_itself(mode):
    before = states()
    assert conditioning.condition(before, vector(), END, mode, 0) is before


def test_shift_adds_tanh_of_the_vector_to_every_token():
    before, z = states(), vector()
    after = conditioning.condition(before, z, END, "shift", 0.8)
    expected = before.numpy() + (0.8 * np.tanh(z)).astype(np.float32)
    np.testing.assert_allclose(after.numpy(), expected, atol=1e-6)


def test_shift_gives_a_normalised_vector_the_length_of_the_pooled_state():
    before, z = states(), vector()
    z = z / np.linalg.norm(z)
    after = conditioning.condition(before, z, END, "shift", 1.0)
    expected = before.numpy() + np.tanh(z * np.linalg.norm(before[0, END])).astype(np.float32)
    np.testing.assert_allclose(after.numpy(), expected, atol=1e-6)
    assert np.abs(after.numpy() - before.numpy()).max() > 0.5


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.floats(0.01, 1), st.floats(0.01, 100))
def test_blend_turns_the_pooled_state_along_the_great_circle(seed, other, strength, length):
    """Against spherical linear interpolation, written down as in the paper; lengths and inner angles stay."""
    before, z = states(seed), vector(other) * length
    after = conditioning.condition(before, z, END, "blend", strength)
    p, q = before[0, END].double().numpy(), z / np.linalg.norm(z)
    size = np.linalg.norm(p)
    angle = np.arccos(np.clip(p @ q / size, -1, 1))
    slerp = (np.sin((1 - strength) * angle) * p / size + np.sin(strength * angle) * q) / np.sin(angle) * size
    np.testing.assert_allclose(after[0, END].numpy(), slerp, atol=2e-5)
    turned, same = after[0, END:].double().numpy(), before[0, END:].double().numpy()
    np.testing.assert_allclose(turned @ turned.T, same @ same.T, atol=1e-4)
    assert torch.equal(after[:, :END], before[:, :END])


def test_blend_at_strength_1_has_the_direction_of_the_vector():
    z = vector()
    after = conditioning.condition(states(), z, END, "blend", 1.0)
    assert cosine(after[0, END], z) == pytest.approx(1, abs=1e-6)


def test_blend_of_parallel_vectors_is_defined():
    before = states()
    p = before[0, END].numpy()
    np.testing.assert_allclose(
        conditioning.condition(before, 3 * p, END, "blend", 0.7).numpy(), before.numpy(), atol=1e-5
    )
    opposite = conditioning.condition(before, -p, END, "blend", 1.0)
    assert cosine(opposite[0, END], p) == pytest.approx(-1, abs=1e-6)
    halfway = conditioning.condition(before, -p, END, "blend", 0.5)
    assert cosine(halfway[0, END], p) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_type_of_the_states_is_kept(dtype):
    for mode in conditioning.MODES:
        assert conditioning.condition(states().to(dtype), vector(), END, mode, 0.5).dtype == dtype


@pytest.mark.parametrize("mode", conditioning.MODES)
def test_vectors_that_cannot_condition_are_refused(mode):
    with pytest.raises(BadData, match=r"a projected vector of 7 numbers; the text model's states have 24"):
        conditioning.condition(states(), vector(dim=7), END, mode, 0.5)
    for wrong in (np.full(24, np.nan), np.full(24, np.inf), np.zeros(24)):
        with pytest.raises(BadData, match="holds NaN, infinity, or only zeros"):
            conditioning.condition(states(), wrong, END, mode, 0.0)


def test_wrong_modes_and_strengths_are_refused():
    with pytest.raises(BadRecipe, match="mode 'blnd'; did you mean 'blend'"):
        conditioning.check("blnd", 0.5)
    for strength in (-0.1, 1.5, float("nan")):
        with pytest.raises(BadRecipe, match=r"expected 0 \(the prompt alone\) to 1"):
            conditioning.check("shift", strength)


def test_prompts_of_styles():
    assert styles.prompt("none", "a sailor") == ("a sailor", "")
    text, negative = styles.prompt("sci-fi")
    assert text.startswith("a portrait of a person of the far future, ") and "blurry" in negative
    assert styles.prompt("abstract", " a sailor ", "red").text.startswith("a sailor, expressionist")
    assert styles.prompt("abstract", "a sailor", "red").negative == "red"
    assert styles.prompt("realistic", emotion="happy").text.endswith(", happy")
    assert set(styles.STYLES) >= {"abstract", "realistic", "sci-fi"}
    with pytest.raises(BadRecipe, match="no style 'realist'; did you mean 'realistic'"):
        styles.prompt("realist")
    with pytest.raises(BadRecipe, match="no emotion 'joyful'; known: angry"):
        styles.prompt("none", emotion="joyful")


def test_moods_are_of_the_seven_emotions():
    from sensorium.modalities.face.layout import EMOTIONS

    assert tuple(styles.MOODS) == EMOTIONS


def test_previews_are_linear_in_the_latents():
    latents = torch.zeros(1, 4, 5, 6)
    assert (preview.pixels(latents) == 128).all() and preview.pixels(latents).shape == (5, 6, 3)
    latents[0, 0, 2, 3] = 1
    assert tuple(preview.pixels(latents)[2, 3]) == tuple(np.round(255 * (preview.RGB[0] / 2 + 0.5)).astype(int))
    assert preview.pixels(torch.zeros(1, 16, 5, 6)) is None and preview.webp(torch.zeros(1, 16, 5, 6)) is None
    assert preview.pixels(torch.full((1, 4, 5, 6), float("nan"))) is None
    assert preview.webp(latents)[8:12] == b"WEBP"
