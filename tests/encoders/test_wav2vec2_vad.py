"""The dimensional wav2vec 2.0 model against the classes of its model card, random and small."""

import numpy as np
import pytest
import torch

transformers = pytest.importorskip("transformers", reason="the extra 'speech' is not installed")
from tiny_models import RATE, save, save_dimensional  # noqa: E402

from sensorium import parts  # noqa: E402
from sensorium.errors import BadRecipe, Corrupt  # noqa: E402


def made(folder, **keys):
    return parts.make("encoders", {"name": "wav2vec2_vad", "model": str(folder), **keys})


def sounds(*lengths):
    random = np.random.default_rng(0)
    return [(0.1 * random.standard_normal(n).astype(np.float32), RATE) for n in lengths]


def by_the_card(model, folder, sound):
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    with torch.inference_mode():
        return model(extractor(sound[0], sampling_rate=RATE, return_tensors="pt").input_values)[0].numpy()


@pytest.mark.parametrize(
    "keys", [{}, {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}]
)
def test_ratings_are_the_cards_with_valence_first_on_the_common_scale(tmp_path, keys):
    model, inputs = save_dimensional(tmp_path, **keys), sounds(4000, 9000, 2500, 9000)
    card = np.stack([by_the_card(model, tmp_path, sound) for sound in inputs])
    assert card.std(axis=0).min() > 1e-3, "the outputs must differ for the order to be tested"
    arousal, dominance, valence = np.clip(card, 0, 1).T
    found = made(tmp_path).encode(inputs)
    np.testing.assert_allclose(found, 2 * np.stack([valence, arousal, dominance], 1) - 1, atol=2e-5)
    assert found.dtype == np.float32


def test_a_recording_has_the_same_ratings_in_any_company(tmp_path):
    save_dimensional(tmp_path)
    inputs = sounds(3000, 12000, 700, 8000)
    together = made(tmp_path).encode(inputs)
    for at, one in enumerate(inputs):
        np.testing.assert_allclose(made(tmp_path).encode([one])[0], together[at], atol=1e-5)


def test_weights_of_either_format_are_read(tmp_path):
    model = save_dimensional(tmp_path / "a")
    expected = made(tmp_path / "a").encode(sounds(5000))
    save_dimensional(tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "b" / "pytorch_model.bin")
    np.testing.assert_allclose(made(tmp_path / "b").encode(sounds(5000)), expected, atol=1e-6)


def test_the_stated_scale_is_mapped_and_part_of_the_fingerprint(tmp_path):
    model = save_dimensional(tmp_path)
    with torch.no_grad():
        model.classifier.out_proj.bias.add_(3.0)
    model.save_pretrained(tmp_path)
    inputs = sounds(6000)
    arousal, dominance, valence = np.clip(by_the_card(model, tmp_path, inputs[0]), 1, 7)
    encoder = made(tmp_path, scale="1..7")
    np.testing.assert_allclose(encoder.encode(inputs)[0], (np.array([valence, arousal, dominance]) - 4) / 3, atol=2e-5)
    assert encoder.fingerprint["scale"] == "1..7" and encoder.fingerprint["name"] == "wav2vec2_vad"
    assert encoder.fingerprint != made(tmp_path).fingerprint
    assert np.abs(made(tmp_path).encode(inputs)).max() <= 1  # beyond 0..1: cut off


def test_a_model_without_the_head_is_refused(tmp_path):
    save("wav2vec2", tmp_path / "plain")
    with pytest.raises(Corrupt, match=r"has no regression head \(classifier.dense.weight, classifier.dense.bias\)"):
        made(tmp_path / "plain").encode(sounds(3000))
    model = save_dimensional(tmp_path / "wide")
    state = model.state_dict()
    state["classifier.out_proj.weight"] = torch.zeros(4, 16)
    (tmp_path / "wide" / "model.safetensors").unlink()
    torch.save(state, tmp_path / "wide" / "pytorch_model.bin")
    with pytest.raises(Corrupt, match=r"classifier.out_proj.weight has shape \(4, 16\); expected \(3, 16\)"):
        made(tmp_path / "wide").encode(sounds(3000))


@pytest.mark.parametrize(
    ("keys", "message"),
    [({"chunk": 61.0}, "chunk=61.0; expected at most 60"), ({"chunk": 0.5}, "chunk=0.5; expected 1 second"),
     ({"scale": "0..10"}, "wav2vec2_vad.scale='0..10'"), ({"precision": "fp8"}, "expected one of fp32, bf16")],
)  # fmt: skip
def test_keys_that_cannot_be_are_refused(keys, message):
    with pytest.raises(BadRecipe, match=message):
        parts.make("encoders", {"name": "wav2vec2_vad", **keys})
