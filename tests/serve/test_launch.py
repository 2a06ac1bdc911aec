"""The verb serve: what it refuses before it listens."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import httpx
import pytest

from sensorium.errors import BadData, BadRecipe
from sensorium.serve import Settings, create_app, launch, waiting
from sensorium.serve import log as logs

pytestmark = pytest.mark.xdist_group("serve")


def test_an_address_in_use_is_named():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        with pytest.raises(BadRecipe, match=r"cannot listen on 127.0.0.1:\d+ .*--port 0"):
            launch.listen("127.0.0.1", one.getsockname()[1])


def test_a_socket_takes_connections_before_they_are_served():
    with launch.listen("127.0.0.1", 0) as listener:
        with pytest.raises(BadRecipe, match="Address already in use"):
            launch.listen("127.0.0.1", listener.getsockname()[1])
        with socket.create_connection(listener.getsockname(), timeout=5):
            pass


def test_settings_that_cannot_be_meant_are_named(symbols):
    with pytest.raises(BadRecipe, match="log: Input should be"):
        launch.serve([symbols], log="loud")
    with pytest.raises(BadRecipe, match="--token-file"):
        launch.serve([symbols], host="0.0.0.0")


def test_two_folders_of_one_name_are_refused(symbols, tmp_path):
    with pytest.raises(BadRecipe, match="the same name"):
        create_app([symbols, tmp_path / symbols.name], Settings())


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SENSORIUM_MAX_K", "7")
    monkeypatch.setenv("SENSORIUM_TOKEN", "x" * 20)
    settings = Settings()
    assert settings.max_k == 7 and "xxx" not in repr(settings)


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("fd00::1", "[fd00::1]"), ("[fd00::1]", "[fd00::1]"), ("a", "a")],
)
def test_addresses_are_written_as_in_a_url(host, url):
    assert launch.in_url(host) == url


def test_a_person_is_told_the_address_without_markup(monkeypatch, capsys):
    from sensorium.cli import serve

    serve._announce("http://[fd00::1]:8000")
    assert "http://[fd00::1]:8000" in capsys.readouterr().err


def test_a_refused_address_of_ipv6_is_written_as_in_a_url():
    with pytest.raises(BadRecipe, match=r"cannot listen on \[2001:db8::1\]:0 "):
        launch.listen("2001:db8::1", 0)


def test_nothing_to_serve_is_said_before_anything_listens(tmp_path):
    with pytest.raises(BadData, match="is not a run"):
        launch.serve([tmp_path / "none"])


def test_a_folder_that_does_not_exist_yet_is_waited_for(tmp_path):
    """As ``sensorium run … &`` makes it some seconds after ``sensorium serve`` has looked first."""
    said = []

    def begin():
        (tmp_path / ".new.building").mkdir()

    timer = threading.Timer(0.3, begin)
    timer.start()
    start = time.monotonic()
    waiting.for_a_run([tmp_path / "new"], 30, said.append)
    timer.join()
    assert 0.2 < time.monotonic() - start < 25
    assert len(said) == 1 and "no run at" in said[0] and "waiting up to 30 s" in said[0] and "--wait 0" in said[0]


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_what_is_not_begun_in_time_is_said(tmp_path, seconds):
    said = []
    with pytest.raises(BadData, match="is not a run .* make one with: sensorium run RECIPE --out"):
        waiting.for_a_run([tmp_path / "none"], seconds, said.append)
    assert len(said) == bool(seconds)


def test_a_folder_that_is_there_and_no_run_is_not_waited_for(tmp_path, symbols):
    start, said = time.monotonic(), []
    with pytest.raises(BadData, match="is not a run"):
        waiting.for_a_run([tmp_path], 30, said.append)
    waiting.for_a_run([tmp_path / "none", symbols], 30, said.append)  # the other run is served at once
    assert not said and time.monotonic() - start < 20


def test_a_run_in_the_making_alone_is_served(tmp_path):
    """What a person types while ``sensorium run … --out new`` goes on in another terminal."""
    building = tmp_path / ".new.building"
    building.mkdir()
    (building / "recipe.toml").write_text('name = "mine"\n')
    command = [str(Path(sys.executable).with_name("sensorium")), "serve", str(tmp_path / "new"), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "SENSORIUM_LOG": "info"})
    try:
        url = json.loads(process.stderr.readline())["url"]
        for _ in range(200):
            try:
                (run,) = httpx.get(url + "/runs").json()["runs"]
                break
            except httpx.TransportError:
                time.sleep(0.1)
        assert run["name"] == "new" and run["state"] == "building" and "interrupted" in run["detail"]
    finally:
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        process.wait(30)
    assert process.returncode == 0 and all(json.loads(line) for line in rest.splitlines())


def test_every_line_of_the_log_is_json(symbols, serve):
    """What uvicorn says of a request that is none, too."""
    server = serve(symbols, SENSORIUM_LOG="debug")
    for junk in (
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), 10) as one:
            one.sendall(junk)
            one.recv(1000)
    lines = [json.loads(line) for line in server.stop().splitlines()]
    assert {"listening", "opened", "log"} <= {line["event"] for line in lines}
    assert any("Invalid HTTP request" in line.get("message", "") for line in lines)


def test_what_python_and_libraries_say_is_captured(capsys):
    import gc

    root, hooks = logging.getLogger(), (threading.excepthook, sys.unraisablehook)
    handlers = [*root.handlers]
    try:
        logs.capture(logs.Log(Settings(log="warning")))
        logging.getLogger("some.library").error("it %s\nhere", "broke", exc_info=ValueError("why"))
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old", stacklevel=1)
        worker = threading.Thread(target=lambda: 1 / 0)
        worker.start()
        worker.join()
        logs.Log(Settings()).line("warning", "odd", text="\ud800", path=Path("x"))
        gc.collect()
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        threading.excepthook, sys.unraisablehook = hooks
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    text = json.dumps(lines)
    assert len(lines) == 4 and "it broke" in text and "ValueError: why" in text and "ZeroDivisionError" in text
