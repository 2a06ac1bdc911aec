"""passt: numbers of the package hear21passt, long and short sounds, files of weights, and the releases' server."""

import functools
import http.server
import importlib.util
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny_passt
import torch

from sensorium import parts, testing
from sensorium.encoders import _passt_network, _release, passt
from sensorium.errors import BadData, BadRecipe, Corrupt

RATE = passt.RATE
#: Logits and features of the package's get_scene_embeddings, mode "all", the first four of each; recorded from 0.0.26.
RECORDED = {
    1.0: ([-0.93625, 0.56222, -0.29931, 0.01607], [-0.17898, -1.47801, -0.98997, -1.2172]),
    0.2: ([-1.20675, 0.15344, -0.02274, 0.13161], [-0.28401, -1.24942, -0.74677, -1.08106]),
    2.6: ([-1.0911, 0.44812, -0.34664, 0.08727], [-0.234, -1.41918, -1.00108, -1.16834]),
}
PACKAGE = "python tests/packaging/encoders.py passt"


def chirp(seconds: float, rate: int = RATE) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (200 * t + 900 * t * t)) * np.exp(-t)).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_passt.save(tmp_path_factory.mktemp("passt") / "tiny.pt")


def made(model: Path, **more: object) -> object:
    return parts.make("encoders", {"name": "passt", "model": str(model), "precision": "fp32", "hop": 0.25, **more})


def package(classes: int = tiny_passt.CLASSES) -> torch.nn.Module:
    """The package's own network and wrapper with the tiny weights; a window of 1 s, every 0.25 s."""
    from sensorium.encoders import _torchaudio, _torchvision

    _torchaudio.guard(), _torchvision.guard()
    import hear21passt.models.passt as models
    from hear21passt.models.preprocess import AugmentMelSTFT
    from hear21passt.wrapper import PasstBasicWrapper

    models.first_RUN = False
    network = models.PaSST(img_size=(128, 98), stride=(10, 10), patch_size=16, in_chans=1, num_classes=classes,
                           embed_dim=64, depth=2, num_heads=1, mlp_ratio=1.5, distilled=True)  # fmt: skip
    network.load_state_dict(tiny_passt.weights())
    mel = AugmentMelSTFT(n_mels=128, sr=RATE, win_length=800, hopsize=320, n_fft=1024, fmin_aug_range=10,
                         fmax_aug_range=2000)  # fmt: skip
    return PasstBasicWrapper(mel=mel, net=network, mode="all", max_model_window=1000, scene_hop=250).eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    importlib.util.find_spec("hear21passt") is None, reason=f"hear21passt is not installed; type: {PACKAGE}"
)
def test_numbers_are_those_of_the_package(weights: Path) -> None:
    oracle, rng = package(), np.random.default_rng(0)
    sounds = [chirp(seconds) for seconds in (1.0, 0.2, 0.9999, 1.0001, 2.6, 5.17)]
    sounds += [(0.1 * rng.standard_normal(n)).astype(np.float32) for n in (32_000, 7_777, 100_001)]
    found = made(weights, mode="all").encode([(sound, RATE) for sound in sounds])
    for row, sound in zip(found, sounds, strict=True):
        with torch.no_grad():
            expected = oracle.get_scene_embeddings(torch.from_numpy(sound)[None])[0].numpy()
        np.testing.assert_allclose(row, expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("hear21passt") is None, reason=f"hear21passt is not installed; type: {PACKAGE}"
)
@pytest.mark.parametrize(("arch", "keys", "seconds"), [
    ("passt_s_swa_p16_128_ap476", {}, 10), ("passt_l_kd_p16_128_ap47", {}, 10), ("passt_20sec", {"input_tdim": 2000}, 20),
    ("stfthop100", {"input_tdim": 3200}, 10), ("passt_s_p16_s16_128_ap468", {"fstride": 16, "tstride": 16}, 10),
])  # fmt: skip
def test_sizes_of_the_published_models_are_read_from_their_weights(arch: str, keys: dict, seconds: int) -> None:
    package()  # the guards
    from hear21passt.models.passt import get_model
    from hear21passt.models.preprocess import AugmentMelSTFT

    hop = passt.ARCHITECTURES[arch][1]
    theirs = get_model(arch, pretrained=False, **keys).eval()
    ours = _passt_network.of(theirs.state_dict(), hop=hop)
    mel = AugmentMelSTFT(
        sr=RATE, win_length=800, hopsize=hop, n_fft=1024, fmin_aug_range=10, fmax_aug_range=2000
    ).eval()
    x = 0.1 * torch.randn(1, 2 * RATE)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[1], theirs(mel(x)[:, None])[1], atol=1e-5, rtol=1e-4)
    assert ours.window == seconds * RATE


@pytest.mark.parametrize("seconds", RECORDED)
def test_numbers_that_the_package_gave(weights: Path, seconds: float) -> None:
    sounds = [(chirp(1.3), RATE), (chirp(seconds), RATE), (chirp(0.2), RATE)]
    found = made(weights, mode="all").encode(sounds)[1]
    logits, features = RECORDED[seconds]
    np.testing.assert_allclose(found[:4], logits, atol=3e-5)
    np.testing.assert_allclose(found[7:11], features, atol=3e-5)
    np.testing.assert_allclose(made(weights, mode="logits").encode(sounds)[1], found[:7], atol=1e-6)
    plain = made(weights).encode(sounds)[1]
    np.testing.assert_allclose(plain, found[7:], atol=1e-6)
    unit = made(weights, normalize=True).encode(sounds)[1]
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain), atol=1e-6)


def test_a_long_sound_is_the_mean_over_reflected_windows(weights: Path) -> None:
    x, encoder = chirp(2.6), made(weights, hop=0.5)
    around = np.pad(x, RATE // 2, mode="reflect")
    windows = [around[at : at + RATE] for at in range(0, len(around) - RATE + 1, RATE // 2)]
    assert len(windows) == 6
    expected = encoder.encode([(window, RATE) for window in windows]).mean(0)
    np.testing.assert_allclose(encoder.encode([(x, RATE)])[0], expected, atol=1e-6)


def test_very_short_sounds_another_rate_and_two_channels(weights: Path) -> None:
    encoder = made(weights)
    shortest = encoder.encode([(np.ones(1, np.float32), RATE), (chirp(0.05), RATE), (chirp(0.5, 8_000), 8_000)])
    assert shortest.shape == (3, 64) and np.isfinite(shortest).all()
    padded = np.pad(chirp(0.05), (0, encoder.network.least - len(chirp(0.05))))
    np.testing.assert_array_equal(shortest[1], encoder.encode([(padded, RATE)])[0])
    two = np.stack([chirp(0.5), 0.5 * chirp(0.5)], 1)
    np.testing.assert_allclose(
        encoder.encode([(two, RATE)])[0], encoder.encode([(0.75 * chirp(0.5), RATE)])[0], atol=1e-5
    )


def test_the_contract(weights: Path) -> None:
    testing.check(
        "passt",
        "encoders",
        {"model": str(weights), "precision": "fp32"},
        values=[(chirp(0.5), RATE), (chirp(1.5), RATE)],
    )
    encoder = made(weights)
    assert encoder.dim == 64 and made(weights, mode="all").dim == 71 and encoder.sample_rate == 32_000
    assert encoder.encode([]).shape == (0, 64)
    assert "mode embed_only" in encoder.taken_from and "0.25 s" in encoder.taken_from
    assert encoder.settle()["model"] == str(weights.resolve())
    network = encoder.network
    x = encoder.collate(network, [encoder.prepare((chirp(0.5), RATE)), encoder.prepare((chirp(1.2), RATE))])
    encoder.features(network, x).sum().backward()  # a fit can train it
    assert network.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


def test_what_is_a_checkpoint(weights: Path, tmp_path: Path) -> None:
    """A file, a folder, safetensors, a dict around it, the wrapper's prefix: all the same vectors."""
    from safetensors.torch import save_file

    state, sounds = tiny_passt.weights(), [(chirp(1.5), RATE), (chirp(0.4), RATE)]
    expected = made(weights).encode(sounds)
    (tmp_path / "folder").mkdir()
    save_file(state, tmp_path / "folder" / "model.safetensors")
    torch.save(
        {"state_dict": {f"net.{key}": value for key, value in state.items()}, "epoch": 3}, tmp_path / "wrapped.pt"
    )
    for place in ("folder", "folder/model.safetensors", "wrapped.pt"):
        np.testing.assert_array_equal(made(tmp_path / place).encode(sounds), expected)
    assert made(tmp_path / "folder").fingerprint["weights"] != made(weights).fingerprint["weights"]  # another file


def test_a_model_of_other_heads_and_stride_by_its_settings(tmp_path: Path) -> None:
    torch.save(tiny_passt.weights(), tmp_path / "model.pt")
    usual, sounds = made(tmp_path).encode([(chirp(0.9), RATE)]), [(chirp(0.9), RATE)]
    usual_print = made(tmp_path).fingerprint
    (tmp_path / "config.json").write_text(json.dumps({"num_heads": 4, "stride": [10, 12]}))
    other = made(tmp_path)
    assert np.abs(other.encode(sounds) - usual).max() > 0.01 and other.fingerprint != usual_print
    assert other.network.shape == _passt_network.Shape(4, (10, 12), 320)
    for settings, said in (({"num_heads": 0}, "num_heads of 1 or more"), ({"stride": [1, 2, 3]}, "a stride such as"),
                           ({"hopsize": "x"}, "hopsize='x'; expected 1 to 32000 samples"), ({"num_heads": 5}, "64 in 5 heads")):  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps(settings))
        with pytest.raises(Corrupt, match=said):
            made(tmp_path).encode(sounds)


@pytest.mark.parametrize(("keys", "said"), [
    ({"arch": "passt_s_swa_p16_128_ap47"}, "did you mean 'passt_s_swa_p16_128_ap476'"),
    ({"mode": "embed"}, "passt: mode='embed'; expected embed_only, logits, all"),
    ({"hop": 0.0}, "passt: hop=0.0; expected 0.1 to 60 seconds"), ({"hop": 61}, "expected 0.1 to 60 seconds"),
    ({"precision": "fp16"}, "passt: precision='fp16'; expected auto, fp32, bf16"),
])  # fmt: skip
def test_wrong_keys(weights: Path, keys: dict, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        made(weights, **keys)


class _Pickled:
    def __reduce__(self) -> tuple:
        return (print, ("run",))


def test_damaged_weights(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    state, path = tiny_passt.weights(), tmp_path / "weights.pt"
    cases = {
        "lacks": ({key: value for key, value in state.items() if key != "blocks.1.norm2.bias"}, "blocks.1.norm2.bias"),
        "other": ({"fc.weight": torch.ones(2, 2)}, "patch_embed.proj.weight"),
        "shape": ({**state, "blocks.0.attn.qkv.weight": torch.ones(3, 3)}, "size mismatch|blocks.0.attn.qkv"),
        "objects": ({"a": _Pickled()}, "objects in it are not run"),
        "none": ({"epoch": 3}, "no tensors by name"),
    }
    for content, said in cases.values():
        torch.save(content, path)
        with pytest.raises(Corrupt, match=f"holds no .*weights of PaSST .*({said})"):
            made(path).encode([(chirp(0.5), RATE)])
    assert capsys.readouterr().out == ""
    for name in ("cut.pt", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"damaged")
        with pytest.raises(Corrupt, match="weights of PaSST"):
            _ = made(tmp_path / name).dim
    (tmp_path / "empty").mkdir()
    for missing in ("empty", "nowhere.pt"):
        with pytest.raises(BadData, match="no file of weights and no folder with one"):
            _ = made(tmp_path / missing).fingerprint


class Releases(http.server.BaseHTTPRequestHandler):
    """A server of releases: whole, cut off in the middle, or without the file."""

    content, how = b"", "whole"

    def do_GET(self) -> None:
        if self.how == "missing":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: len(self.content) // 2 if self.how == "cut" else None])
        return None

    def log_message(self, *_: object) -> None:
        pass


def test_weights_from_the_releases(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloaded once into torch's folder, whole or not at all."""
    handler = type("Handler", (Releases,), {"content": weights.read_bytes()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(passt, "RELEASES", f"http://127.0.0.1:{server.server_port}/download")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    default = functools.partial(parts.make, "encoders", {"name": "passt", "precision": "fp32"})
    folder = tmp_path / "hub" / "checkpoints"
    try:
        for how, said in (("missing", "answers 404; type: left.encoder.model=FILE"), ("cut", r"of [\d,]+ bytes came")):
            handler.how = how
            with pytest.raises(BadData, match=said):
                _ = default().fingerprint
            assert list(folder.iterdir()) == []
        handler.how = "whole"
        with passt._release.downloads.offline(), pytest.raises(BadData, match="may not be downloaded"):
            _ = default().fingerprint
        assert default().fingerprint["weights"] == made(weights).fingerprint["weights"]
        assert [path.name for path in folder.iterdir()] == ["passt-s-f128-p16-s10-ap.476-swa.pt"]
        handler.how = "missing"  # from now on it is here
        assert default().encode([(chirp(0.5), RATE)]).shape == (1, 64)
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(BadData, match="gives no answer, or broke off"):
        _release.file("passt", f"http://127.0.0.1:{server.server_port}/other.pt", "type: something")
