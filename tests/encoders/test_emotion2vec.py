"""emotion2vec: equal to FunASR on random weights, which are refused rather than run; the usual tests have no FunASR."""

import importlib.util
import os
import pickle

import numpy as np
import processes
import pytest
import tiny_emotion2vec
import torch
from fake_hub import hub
from made_voice import RATE, voice

from sensorium import downloads, parts, testing
from sensorium.cli import part_pages
from sensorium.encoders import _names
from sensorium.encoders.emotion2vec import Emotion2vec, _arithmetic, _chosen
from sensorium.errors import BadData, BadRecipe, Corrupt, MissingExtra

absent = importlib.util.find_spec("funasr") is None
needs_funasr = pytest.mark.skipif(
    absent, reason="funasr is not installed; type: python tests/packaging/encoders.py emotion2vec"
)
SOUNDS = [(voice(seconds, seed), RATE) for seed, seconds in enumerate((1.0, 2.3, 0.01, 1.7))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_emotion2vec.save(tmp_path_factory.mktemp("models") / "tiny")


@needs_funasr
def test_the_vectors_are_those_of_funasr(folder) -> None:
    from funasr import AutoModel

    theirs = AutoModel(model=str(folder), disable_update=True, disable_pbar=True, log_level="ERROR", device="cpu")
    ours = Emotion2vec(model=str(folder)).encode(SOUNDS)
    assert ours.shape == (4, 16) and ours.dtype == np.float32
    for row, (samples, _) in zip(ours, SOUNDS, strict=True):
        if len(samples) >= 400:  # FunASR cannot take less than a frame
            expected = theirs.generate(samples, granularity="utterance", extract_embedding=True)[0]["feats"]
            np.testing.assert_allclose(row, expected, atol=1e-6)
    frames = theirs.generate(SOUNDS[1][0], granularity="frame", extract_embedding=True)[0]["feats"]
    np.testing.assert_allclose(Emotion2vec(str(folder), pooling="frames").encode(SOUNDS[1:2])[0], frames, atol=1e-6)


@needs_funasr
@pytest.mark.parametrize("pooling", ["mean", "mean+std", "frames"])
def test_the_contract_and_no_difference_by_batch(folder, pooling: str) -> None:
    testing.check("emotion2vec", "encoders", {"model": str(folder), "pooling": pooling}, values=SOUNDS)


@needs_funasr
def test_long_recordings_go_through_in_parts_that_are_pooled_together(folder) -> None:
    long = [(voice(3.5), RATE)]
    frames = Emotion2vec(str(folder), pooling="frames", chunk=1).encode(long)[0]
    assert len(frames) == pytest.approx(3.5 * 50, abs=5)
    both = Emotion2vec(str(folder), pooling="mean+std", chunk=1).encode(long)[0]
    np.testing.assert_allclose(both, np.concatenate([frames.mean(0), frames.std(0)]), atol=1e-6)
    assert Emotion2vec(str(folder), pooling="mean+std").dim == 32


@needs_funasr
def test_weights_that_are_missing_are_an_error_and_not_random(tmp_path) -> None:
    made = tiny_emotion2vec.save(tmp_path / "part", without="blocks.1.")
    with pytest.raises(Corrupt, match=r"the checkpoint lacks 1\d weights of emotion2vec, such as blocks\.1\."):
        Emotion2vec(str(made)).encode(SOUNDS[:1])


def test_objects_in_a_checkpoint_are_refused_and_not_run(tmp_path) -> None:
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-here"),)

    made = tiny_emotion2vec.settings(tmp_path / "harmful")
    for content in (pickle.dumps({"model": Harm()}, 2), b"", b"no checkpoint at all"):
        (made / "model.pt").write_bytes(content)
        with pytest.raises(Corrupt, match="holds no plain weights of emotion2vec .* objects in it are not run"):
            Emotion2vec(str(made)).encode(SOUNDS[:1])
    torch.save({"model": Harm()}, made / "model.pt")
    with pytest.raises(Corrupt, match="objects in it are not run"):
        Emotion2vec(str(made)).encode(SOUNDS[:1])
    assert not (tmp_path / "was-here").exists()


def test_code_in_the_settings_is_refused_and_not_run(tmp_path) -> None:
    code = f"__import__('os').mkdir('{tmp_path / 'was-here'}')"
    made = tiny_emotion2vec.settings(tmp_path / "harmful", feature_encoder_spec=code)
    with pytest.raises(Corrupt, match="feature_encoder_spec=.*; it is not run; restore the model's folder"):
        Emotion2vec(str(made)).encode(SOUNDS[:1])
    assert not (tmp_path / "was-here").exists()
    for text in ("[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)]", "[(8, 10, 5)]"):
        assert _arithmetic(text)
    for text in ("x", "[(1, 2)] * 10**9", "[1] * 400 * 400", "(lambda: 1)()", "[" * 5000, "['a']", "[True]", "\0"):
        assert not _arithmetic(text)


def test_a_checkpoint_s_names_are_found_as_funasr_finds_them() -> None:
    own = {"a.w": 0, "decoder.b": 0, "x.decoder.b": "usual"}
    assert _chosen({"model": {"d2v_model.a.w": 1, "module.decoder.b": 2}}, own, ["d2v_model.", "none"]) == {
        "a.w": 1, "decoder.b": 2, "x.decoder.b": "usual"}  # fmt: skip
    assert _chosen({"state_dict": {"old.w": 3, "decoder.b": 2}}, own, "old.,a.")["a.w"] == 3
    with pytest.raises(Corrupt, match="lacks 2 weights of emotion2vec, such as a.w"):
        _chosen({}, own, ())


def test_its_width_is_that_of_the_settings_and_its_page_says_rate_and_layer(tmp_path) -> None:
    made = tiny_emotion2vec.settings(tmp_path / "tiny")
    (made / "model.pt").write_bytes(b"weights")
    assert (Emotion2vec(str(made)).dim, Emotion2vec(str(made), pooling="mean+std").dim) == (16, 32)
    assert Emotion2vec(str(made)).fingerprint["weights"] != Emotion2vec(str(made)).fingerprint["config"]
    page = part_pages.page("encoder", "emotion2vec")
    assert (page["takes"], page["sample_rate"], page["width"]) == ("audio", 16_000, 768)
    assert page["model"] == "iic/emotion2vec_plus_base"
    assert page["layer"] == "output of the last block, mean of its 50 frames a second"
    assert "see its card" in page["licence"]


def test_names_and_folders_that_mean_it(tmp_path) -> None:
    made = tiny_emotion2vec.settings(tmp_path / "tiny")
    (made / "model.pt").write_bytes(b"")
    for name in ("iic/emotion2vec_plus_large", "emotion2vec/emotion2vec_base", str(made)):
        assert _names.expand({"name": name}) == {"name": "emotion2vec", "model": name}
    assert _names.with_owner("emotion2vec", "emotion2vec_plus_seed") == "iic/emotion2vec_plus_seed"


def test_the_hub_is_asked_for_the_same_model_under_its_owner_there(tmp_path) -> None:
    made = tiny_emotion2vec.settings(tmp_path / "tiny")
    commit, shelf = "1" * 40, {"config.yaml": (made / "config.yaml").read_bytes(), "model.pt": b"weights", "x.md": b"-"}
    code = ("from sensorium.encoders.emotion2vec import Emotion2vec\nmade = Emotion2vec('iic/emotion2vec_tiny')\n"
            "print(made.dim, *sorted(path.name for path in made.folder.iterdir()))")  # fmt: skip
    inherited = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("HF_")}
    with hub("emotion2vec/emotion2vec_tiny", {commit: shelf, "main": shelf}) as (endpoint, asked):
        ours = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        done = processes.run(code=code, env=inherited | ours, text=True)
    assert done.stdout.split() == ["16", "config.yaml", "model.pt"], done.stderr
    assert any("model.pt" in path for path in asked)


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"pooling": "max"}, "pooling='max'; expected mean, mean\\+std, frames"),
     ({"chunk": 0.5}, "chunk=0.5; expected 1 to 120 seconds"), ({"chunk": 121.0}, "chunk=121.0; expected 1 to 120"),
     ({"chunk": float("nan")}, "chunk=nan; expected 1 to 120 seconds")],
)  # fmt: skip
def test_settings_out_of_range_are_refused(keys, said: str) -> None:
    with pytest.raises(BadRecipe, match=f"emotion2vec: {said}"):
        Emotion2vec(**keys)


def test_folders_that_hold_no_such_model(tmp_path) -> None:
    with pytest.raises(BadData, match=r"no folder with a config.yaml, and no id such as iic/emotion2vec_plus_base"):
        _ = Emotion2vec(str(tmp_path)).dim
    (tmp_path / "config.yaml").write_text("model: Paraformer\n")
    with pytest.raises(Corrupt, match="has no settings of emotion2vec"):
        _ = Emotion2vec(str(tmp_path)).dim
    made = tiny_emotion2vec.settings(tmp_path / "empty")
    with pytest.raises(Corrupt, match="model.pt is missing: the folder has no weights"):
        _ = Emotion2vec(str(made)).fingerprint
    with downloads.offline(), pytest.raises(BadData, match="is not in the cache"):
        _ = Emotion2vec("iic/no_such_emotion2vec").dim


@pytest.mark.skipif(not absent, reason="funasr is installed")
def test_without_funasr_the_extra_is_named(tmp_path) -> None:
    made = tiny_emotion2vec.settings(tmp_path / "tiny")
    torch.save({"model": {}}, made / "model.pt")
    with pytest.raises(MissingExtra, match=r"sensorium\[emotion2vec\]"):
        parts.make("encoders", {"name": "emotion2vec", "model": str(made)}).encode(SOUNDS[:1])
