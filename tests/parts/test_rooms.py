"""Modalities, systems and parts are found by listing folders, and by the entry points of other distributions."""

import importlib
import importlib.metadata
import sys

import pytest

import sensorium
from sensorium import parts
from sensorium.errors import BadRecipe, MissingExtra, require


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Another distribution on the import path: a modality, a system with formats, and a head."""
    (tmp_path / "moving").mkdir()
    (tmp_path / "moving" / "__init__.py").write_text('"""Video: frames of pictures."""\n')
    (tmp_path / "cinema").mkdir()
    (tmp_path / "cinema" / "__init__.py").write_text('"""Cinema: films by their trailers."""\n')
    (tmp_path / "cinema" / "formats.py").write_text('"""Old files of cinema."""\nENDINGS = (".reel",)\n')
    (tmp_path / "flips.py").write_text(
        '"""Turns signs."""\nclass Flip:\n    """-x."""\n    def __init__(self, sign: float = -1.0): self.sign = sign\n'
        "    def build(self, dim_in, stats=None, like=None): self.dim_in = self.dim = dim_in\n"
        "    def forward(self, x): return self.sign * x\n"
    )
    about = tmp_path / "cinema-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: cinema\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[sensorium.modalities]\nvideo = moving\n[sensorium.systems]\ncinema = cinema\n"
        "[sensorium.heads]\nflip = flips:Flip\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ("moving", "cinema", "flips")]:
        del sys.modules[name]


def test_our_own_systems_are_found_by_their_folder():
    assert parts.folders("systems")["speech_emotion"]
    assert set(parts.systems("model_pth")) == {"speech_emotion"}
    assert parts.systems("model_pth")["speech_emotion"].__name__ == "sensorium.systems.speech_emotion.model_pth"
    assert parts.systems("no_such_file") == {}
    assert parts.folders("modalities")["audio"]
    assert parts.package("modalities", "audio").__name__ == "sensorium.modalities.audio"


def test_another_distribution_adds_a_modality_a_system_and_a_head(distribution):
    assert parts.folders("modalities")["video"] == "Video: frames of pictures."
    assert "moving" not in sys.modules, "the first line is read, not imported"
    assert parts.package("modalities", "video").__name__ == "moving"
    assert parts.systems("formats")["cinema"].ENDINGS == (".reel",)
    assert "cinema" not in parts.systems("routes")
    assert parts.names("heads")["flip"] == "Turns signs."
    assert parts.make("heads", {"name": "flip", "sign": 2.0}).sign == 2.0


def test_ours_goes_before_another_distribution_of_the_same_name(distribution):
    points = distribution / "cinema-1.0.dist-info" / "entry_points.txt"
    points.write_text("[sensorium.heads]\nlinear = flips:Flip\n[sensorium.modalities]\naudio = moving\n")
    importlib.invalidate_caches()
    parts._entry_points_on.cache_clear()
    assert parts.find("heads", "linear").__module__ == "sensorium.heads.linear"
    assert parts.package("modalities", "audio").__name__ == "sensorium.modalities.audio"
    parts._entry_points_on.cache_clear()


def test_unknown_names_of_rooms_are_refused_with_the_nearest():
    with pytest.raises(BadRecipe, match="no modalities are called 'audoi'; did you mean 'audio'"):
        parts.package("modalities", "audoi")


def test_extras_are_those_of_the_installed_distribution():
    extras = parts.extras()
    assert {"train", "text", "audio", "speech", "image", "serve", "map", "onnx", "microphone"} <= set(extras)
    assert "torch" in extras["train"] and "sensorium[train]" in extras["text"]
    assert [parts.extra_of(m) for m in ("torch", "PIL", "skimage", "faiss", "soundfile", "sentence_transformers")] == [
        "train", "image", "image", "train", "audio", "text"]  # fmt: skip
    assert parts.extra_of("json") is None


def test_without_metadata_there_are_no_extras_and_no_crash(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", absent)
    assert parts.extras() == {} and parts.extra_of("torch") is None
    assert sensorium.__version__


def test_require_imports_or_says_what_to_type(tmp_path, monkeypatch):
    assert require("json.decoder", "train").__name__ == "json.decoder"
    with pytest.raises(MissingExtra, match=r"^'no_such_thing' is not installed; type: pip install 'sensorium\[map\]'$"):
        require("no_such_thing.inner", "map")
    (tmp_path / "half_there.py").write_text("import no_such_thing_either\n")
    (tmp_path / "cut_off.py").write_text("raise ImportError('libsound.so.1: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtra, match="'half_there' cannot be imported .*no_such_thing_either"):
        require("half_there", "map")
    with pytest.raises(MissingExtra, match="'cut_off' cannot be imported .*libsound.so.1"):
        require("cut_off", "audio")
