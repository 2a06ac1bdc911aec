"""Weights from a folder, a package, the cache and a hub on this machine; offline, damaged, and without an answer."""

import hashlib
import json
import os
import socket
import time

import processes
import pytest
from fake_hub import hub

from sensorium import downloads, parts
from sensorium.errors import BadData

pytest.importorskip("huggingface_hub")
REPOSITORY = "someone/tiny"
ONE, TWO = "1" * 40, "2" * 40
FIRST = {"config.json": b'{"a": 1}', "model.safetensors": b"weights" * 100, "README.md": b"not wanted"}
SECOND = {**FIRST, "model.safetensors": b"others!" * 100}
REVISIONS = {ONE: FIRST, TWO: SECOND, "main": SECOND, "v1": FIRST}

CODE = """
import json, sys
from sensorium import downloads
from sensorium.errors import SensoriumError
wanted = downloads.Weights("tiny", files=("*.json", "model.safetensors"), extra="speech", remedy="type: pip install tiny",
                      repair="type: pip install --force-reinstall tiny", **json.loads(sys.argv[1]))
try:
    folder = downloads.folder(wanted)
    print(json.dumps({"files": sorted(p.name for p in folder.iterdir()), "commit": downloads.commit(folder),
                      "weights": (folder / "model.safetensors").read_bytes()[:7].decode()}))
except SensoriumError as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
"""


def resolve(cache, endpoint="http://127.0.0.1:9", offline=False, **wanted):
    """What ``downloads.folder`` finds in a new process, as the hub's client reads its settings once."""
    inherited = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("HF_")}
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
    done = processes.run(json.dumps({"model": REPOSITORY, **wanted}), code=CODE, text=True,
                         env=inherited | environment | ({"HF_HUB_OFFLINE": "1"} if offline else {}))  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.stderr


def test_downloaded_once_then_from_the_cache_by_any_name_of_the_commit(tmp_path):
    with hub(REPOSITORY, REVISIONS) as (endpoint, asked):
        found, said = resolve(tmp_path, endpoint)
        assert found == {"files": ["config.json", "model.safetensors"], "commit": TWO, "weights": "others!"}
        assert said.strip() == f"downloading {REPOSITORY} from {endpoint}"
        pinned, _ = resolve(tmp_path, endpoint, revision="v1")
        assert (pinned["commit"], pinned["weights"]) == (ONE, "weights")
        before = len(asked)
        for revision in ("", "main", TWO, "v1", ONE):
            again, said = resolve(tmp_path, endpoint, revision=revision)
            assert again["commit"] == (ONE if revision in ("v1", ONE) else TWO) and not said
        assert len(asked) == before, "what is in the cache asks nothing of the hub"
    assert resolve(tmp_path, revision="v1")[0] == pinned, "nor does it need one"
    assert resolve(tmp_path, offline=True)[0] == found


def test_a_revision_that_does_not_exist_is_said_so(tmp_path):
    with hub(REPOSITORY, REVISIONS) as (endpoint, _):
        found, _ = resolve(tmp_path, endpoint, revision="v9")
        assert "the hub did not deliver it" in found["error"] and found["error"].startswith(
            "BadData: tiny: someone/tiny"
        )


@pytest.mark.parametrize("offline", [False, True])
def test_without_a_hub_the_answer_comes_within_seconds(offline, tmp_path):
    started = time.monotonic()
    found, _ = resolve(tmp_path, offline=offline)
    why = "HF_HUB_OFFLINE is set" if offline else "http://127.0.0.1:9 gives no answer"
    assert found["error"] == ("BadData: tiny: its weights are not installed, someone/tiny is not in the cache and "
                              f"{why}; type: pip install tiny")  # fmt: skip
    assert time.monotonic() - started < 20


@pytest.mark.slow
def test_a_hub_that_accepts_and_never_answers(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        found, _ = resolve(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "gives no answer" in found["error"]
        assert time.monotonic() - started < 5 + 20


def test_other_content_than_its_checksum_is_refused_and_never_used(tmp_path):
    with hub(REPOSITORY, REVISIONS, lie="model.safetensors") as (endpoint, _):
        found, _ = resolve(tmp_path, endpoint)
        assert "error" in found and "someone/tiny" in found["error"]
        again, _ = resolve(tmp_path, endpoint)
        assert "error" in again, "what was refused once is not taken from the cache"


def test_a_file_damaged_in_the_cache_is_refused(tmp_path):
    with hub(REPOSITORY, REVISIONS) as (endpoint, _):
        resolve(tmp_path, endpoint)
    (weights,) = (p for p in tmp_path.rglob("model.safetensors"))
    content = bytearray(weights.read_bytes())
    content[100] ^= 4
    weights.resolve().write_bytes(content)
    found, _ = resolve(tmp_path)
    assert found["error"].startswith("Corrupt: ") and "has sha256" in found["error"]
    assert found["error"].endswith("type: pip install --force-reinstall tiny")


def test_the_checksum_that_an_encoder_names_binds_the_hub_too(tmp_path):
    named = {"model.safetensors": hashlib.sha256(FIRST["model.safetensors"]).hexdigest()}
    with hub(REPOSITORY, REVISIONS) as (endpoint, _):
        assert resolve(tmp_path, endpoint, revision="v1", sha256=named)[0]["weights"] == "weights"
        assert "Corrupt" in resolve(tmp_path, endpoint, sha256=named)[0]["error"]


def test_a_folder_and_a_package_go_before_everything(tmp_path, monkeypatch):
    for name in ("mine", "carrying/model"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "carrying" / "__init__.py").write_text("raise RuntimeError('looked at, not imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    ways = {"files": ("*.json",), "extra": "speech", "remedy": "", "repair": "", "package": "carrying"}
    assert downloads.folder(downloads.Weights("tiny", str(tmp_path / "mine"), **ways)) == tmp_path / "mine"
    assert downloads.folder(downloads.Weights("tiny", REPOSITORY, **ways)) == tmp_path / "carrying" / "model"
    for model in ("./nowhere", "~/nowhere", str(tmp_path), "no-id", "a/b/c"):
        with pytest.raises(BadData, match="no folder with a config.json, and no id"):
            downloads.folder(downloads.Weights("tiny", model, **ways))


def test_encoders_with_weights_say_their_licence():
    licences = {name: parts.licence("encoders", name) for name in parts.names("encoders")}
    assert {name for name, licence in licences.items() if licence} >= {
        "minilm",
        "hubert",
        "wav2vec2",
        "wavlm",
        "whisper",
    }
    assert licences["minilm"] == "Apache 2.0" and licences["hashing"] == "" and parts.licence("encoders", "none") == ""
