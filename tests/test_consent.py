"""A run folder's own code is executed only after consent: shown with file and SHA-256, remembered until it changes."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_run import make
from typer.testing import CliRunner

import sensorium
from sensorium import consent, heads, parts, pipeline
from sensorium import recipe as recipes
from sensorium.cli import app
from sensorium.errors import BadRecipe, Corrupt, Untrusted
from sensorium.search.run import open as open_run

TRAINED = ("objective=infonce", "train.epochs=1", "train.batch=16")  # a solved head is saved as "linear"
OWN = '''"""A head that leaves a trace when its file is executed."""
from pathlib import Path
from sensorium.heads.linear import Linear
Path(__file__).with_suffix(".executed").touch()

class Own(Linear):
    """Linear."""
'''


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A user's configuration folder of its own, and a process that has used no part yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(parts, "USED", set())
    monkeypatch.setattr(consent, "_GRANTED", set())
    return tmp_path / "config" / "sensorium" / "trusted.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run whose left head is somebody's own file."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    make(folder / "run", f"left.head={folder}/own.py:Own", *TRAINED)
    (folder / "own.executed").unlink()
    return folder


@pytest.fixture
def run(made, config):
    (made / "own.executed").unlink(missing_ok=True)
    (made / "own.py").write_text(OWN)
    return made / "run"


def executed(run: Path) -> bool:
    return (run.parent / "own.executed").exists()


def test_opening_is_refused_with_the_file_and_its_hash_before_anything_runs(run):
    sha256 = hashlib.sha256(OWN.encode()).hexdigest()
    message = (rf"recipe\.toml names code outside of sensorium.*'{run.parent}/own\.py:Own', that is {run.parent}/own\.py "
               rf"\(sha256 {sha256}\)\. Read it; if you trust it, type: sensorium show {run} --trust .*trust=True")  # fmt: skip
    for refused in (sensorium.open, open_run, pipeline.evaluate_again, pipeline.index_again):
        with pytest.raises(Untrusted, match=message):
            refused(run)
    with pytest.raises(Untrusted, match=r"left\.json names code"):
        heads.restore(run / "left")
    for verb in (["show"], ["search", "--text", "root"], ["evaluate"], ["index"], ["export", "onnx", "--out", "x"],
                 ["stream"], ["doctor"]):  # fmt: skip
        arguments = [verb[0], *(["onnx"] if verb[0] == "export" else []), str(run), *(
            ["x.wav"] if verb[0] == "stream" else []), *(verb[2:] if verb[0] == "export" else verb[1:])]  # fmt: skip
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, (Untrusted, SystemExit)) and result.exit_code, arguments
    assert not executed(run)


def test_trust_in_python_holds_for_the_process(run, config):
    assert sensorium.open(run, trust=True).search(text="square root", k=2)
    assert executed(run) and not config.exists()
    assert sensorium.open(run).search(text="square root", k=2)
    consent._GRANTED.clear()
    parts.USED.clear()
    with pytest.raises(Untrusted):
        sensorium.open(run)


def test_trust_on_the_command_line_is_remembered_until_the_file_changes(run, config):
    result = CliRunner().invoke(app, ["search", str(run), "--text", "square root", "--trust", "--json"])
    assert result.exit_code == 0, result.output
    assert f"trusted: {run.parent}/own.py:Own = {run.parent}/own.py sha256" in result.stderr.replace("\n", " ")
    entry = {"file": f"{run.parent}/own.py", "class": "Own", "sha256": hashlib.sha256(OWN.encode()).hexdigest()}
    assert json.loads(config.read_text()) == {"format": 1, "trusted": [entry]}
    consent._GRANTED.clear()
    parts.USED.clear()
    assert sensorium.open(run).search(text="square root", k=2)
    parts.USED.clear()
    (run.parent / "own.py").write_text(OWN + "\n# changed\n")
    with pytest.raises(Untrusted):
        sensorium.open(run)
    consent.trust(run, remember=True)
    assert len(json.loads(config.read_text())["trusted"]) == 1
    consent._GRANTED.clear()
    assert sensorium.open(run)


def test_a_recipe_that_the_user_runs_is_consent_and_the_run_just_made_opens(made, config, tmp_path):
    again = make(tmp_path / "again", f"left.head={made}/own.py:Own", *TRAINED)
    assert again.search(text="square root", k=1) and sensorium.open(tmp_path / "again").head("left")
    code = f"import sensorium; sensorium.open({str(tmp_path / 'again')!r})"
    later = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert later.returncode and "Untrusted" in later.stderr


def test_every_file_of_a_run_that_names_code_is_asked_about(run, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (copied / "run.json").unlink()
    text = (copied / "recipe.toml").read_text()
    (copied / "recipe.toml").write_text(text.replace(f"{run.parent}/own.py:Own", "linear"))
    with pytest.raises(Untrusted, match=r"left\.json names code"):
        open_run(copied).head("left")
    stamp = json.loads((copied / "index/left.json").read_text())
    (copied / "index/left.json").write_text(json.dumps({**stamp, "part": {"name": f"{run.parent}/own.py:Own"}}))
    with pytest.raises(Untrusted, match=rf"index/left\.json names code.*sensorium show {copied} --trust"):
        open_run(copied).index("left")
    for key, value in (("baselines", '["{}"]'), ("resamples", '"{}"')):
        changed = text.replace(f"{run.parent}/own.py:Own", "linear").replace(
            "[evaluate]", f"[evaluate]\nx{key} = {value}"
        )
        (copied / "recipe.toml").write_text(changed.format(f"{run.parent}/own.py:Own"))
        with pytest.raises(Untrusted, match=r"recipe\.toml names code"):
            open_run(copied)
    assert not executed(run)


def test_modules_are_found_without_importing_their_packages(config, tmp_path, monkeypatch):
    package = tmp_path / "evil_package"
    (package / "inner").mkdir(parents=True)
    for folder in (package, package / "inner"):
        (folder / "__init__.py").write_text("raise SystemExit('executed')\n")
    (package / "inner" / "mod.py").write_text("raise SystemExit('executed')\n")
    monkeypatch.syspath_prepend(tmp_path)
    (code,) = consent.named({"a": ["x", {"b": "evil_package.inner.mod:X"}]})
    assert code.files == (package / "__init__.py", package / "inner/__init__.py", package / "inner/mod.py")
    joined = b"".join(path.read_bytes() for path in code.files)
    assert code.sha256 == hashlib.sha256(joined).hexdigest() and not code.allowed
    with pytest.raises(Untrusted, match=r"evil_package/inner/mod\.py"):
        consent.require("evil_package.inner.mod:X", tmp_path / "recipe.toml")
    assert [c.name for c in consent.named(["subprocess:Popen", "sys:x"])] == ["subprocess:Popen", "sys:x"]


def test_what_names_no_code_needs_no_consent(config, tmp_path):
    harmless = ["https://example.org/x", "no_such_module:X", "missing.py:X", "12:30", "C:\\x", "a b:c", ":", "json", 3, None,
                "evil_package.no.such:X", "json.decoder.no:X"]  # fmt: skip
    assert consent.named(harmless) == []
    consent.require(harmless, tmp_path / "recipe.toml")
    with pytest.raises(BadRecipe, match="no such file missing"):
        parts.find("heads", "missing.py:X")


def test_a_damaged_list_of_trusted_files_is_an_error_that_says_what_to_do(run, config):
    config.parent.mkdir(parents=True)
    for text in ("{", "[]", '{"format": 2}', '{"format": 1, "trusted": [3]}'):
        config.write_text(text)
        with pytest.raises(Corrupt, match=r"trusted\.json is not .*; delete it, and trust again what you need"):
            sensorium.open(run)


def test_a_users_own_recipe_file_may_name_own_parts(made, config, tmp_path):
    plan = recipes.load(made / "run" / "recipe.toml")
    assert plan.part("left.head").__class__.__name__ == "Own"
    with pytest.raises(Untrusted):
        parts.USED.clear()
        recipes.load(made / "run" / "recipe.toml", of_run=True)


def test_a_head_made_in_this_process_loads_again(made, config, tmp_path):
    head = parts.make("heads", f"{made}/own.py:Own")
    head.build(4, None, 3)
    heads.save(head, tmp_path / "left", f"{made}/own.py:Own", {})
    again, _ = heads.restore(tmp_path / "left")
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(heads.apply(again, x), heads.apply(head, x))
