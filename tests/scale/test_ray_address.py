"""--on: what it takes, and what it says without the extra or without a cluster."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from sensorium.cli import app
from sensorium.errors import BadRecipe, MissingExtra, Unreachable
from sensorium.scale.cluster import Where, connected
from sensorium.scale.on import on


def test_addresses():
    assert Where.of("ray") == Where() and Where.of("ray://10.0.0.1:6379") == Where("10.0.0.1:6379")
    assert Where.of("ray://auto") == Where("auto")


@pytest.mark.parametrize("text", ["", "spark", "ray:", "ray://", "ray://host", "ray://:1", "ray://host:0", "ray://h:x"])
def test_other_addresses_are_refused(text):
    with pytest.raises(BadRecipe, match=r"--on .*; expected ray, ray://auto or ray://HOST:PORT"):
        Where.of(text)


def test_the_port_of_ray_client_is_said():
    with pytest.raises(BadRecipe, match=r"--on ray://head:10001; 10001 is .* Ray Client, .* such as ray://head:6379$"):
        Where.of("ray://head:10001")


def test_without_the_extra_every_verb_says_what_installs_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"'ray' .*; type: pip install 'sensorium\[scale\]'"), on("ray"):
        pass
    for verb in ("embed", "run"):
        done = CliRunner().invoke(app, [verb, "glyphs", "--on", "ray", "--out", str(tmp_path / "r")])
        assert isinstance(done.exception, MissingExtra) or "sensorium[scale]" in done.output


def test_workers_need_a_place(tmp_path):
    done = CliRunner().invoke(app, ["embed", "glyphs", "--workers", "2", "--out", str(tmp_path / "r")])
    assert "--workers 2 needs --on; type: --on ray --workers 2" in f"{done.output}{done.exception}"


def test_no_cluster_at_the_address(monkeypatch):
    ray = pytest.importorskip("ray", reason="'ray' is not installed; type: pip install 'sensorium[scale]'")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(Unreachable, match=r"no Ray cluster answers at 127.0.0.1:9 .*: ray start --head"), \
            connected(Where("127.0.0.1:9")):  # fmt: skip
        pass


def test_nothing_of_ray_is_imported_unless_asked_for():
    code = "import sys, sensorium.cli, sensorium.scale.on, sensorium.pipeline; print('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
