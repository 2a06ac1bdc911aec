"""The Hub's client of this process, or of a command, turned to a fake Hub."""

import contextlib
import os
import sys

import processes
import pytest
from fake_hub import TOKEN, FakeHub


def environment(fake, home, token=TOKEN, **more):
    """The variables of a process whose client asks the fake Hub. home: of its cache and login."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HF_") and "proxy" not in k.lower()}
    own = {"HF_ENDPOINT": fake.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
    return kept | own | ({"HF_TOKEN": token} if token else {}) | more


def command(*words):
    """``sensorium`` with these words, as a list for ``subprocess``."""
    return [sys.executable, "-m", "sensorium", *map(str, words)]


def typed(fake, home, *words, token=TOKEN, **more):
    """Run a command to its end; returns it with returncode, stdout and stderr."""
    return processes.run(*words, env=environment(fake, home, token, **more), text=True)


@contextlib.contextmanager
def turned(monkeypatch, home, token=TOKEN):
    """A fake Hub that the client of this process asks; no second passes between two tries."""
    pytest.importorskip("huggingface_hub")
    from sensorium.store import hub_errors

    hub = hub_errors.module()
    with FakeHub() as fake:
        for name, value in {"ENDPOINT": fake.endpoint, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True,
                            "HUGGINGFACE_CO_URL_TEMPLATE": fake.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
                            "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"),
                            "HF_TOKEN_PATH": str(home / "token")}.items():  # fmt: skip
            monkeypatch.setattr(hub.constants, name, value)
        monkeypatch.setattr(hub_errors, "FIRST", 0.01)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: fake.waits.append(seconds))
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN", raising=False)
        hub.utils.close_session()
        yield fake
        hub.utils.close_session()


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """See :func:`turned`."""
    with turned(monkeypatch, tmp_path / "home") as fake:
        yield fake
