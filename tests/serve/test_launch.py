"""The verb serve: what it refuses before it listens."""

import socket

import pytest

from sensorium.errors import BadRecipe
from sensorium.serve import Settings, create_app, launch

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
