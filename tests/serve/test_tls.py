"""HTTPS by ``--tls-cert`` and ``--tls-key``: refused where they are no pair, and really served."""

import shutil
import ssl
import subprocess
import urllib.request

import pytest
from page_server import Server

from sensorium.errors import BadRecipe
from sensorium.serve import Settings


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate and its key; and a key of another."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here; type: apt-get install -y openssl")
    folder = tmp_path_factory.mktemp("tls")
    for name in ("mine", "other"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / f"{name}.key", "-out",
                        folder / f"{name}.pem"], check=True, capture_output=True)  # fmt: skip
    return folder


def test_what_is_no_pair_is_refused_with_what_to_type(pair, tmp_path):
    with pytest.raises(BadRecipe, match=r"belong together.*--tls-key KEY.pem"):
        Settings(tls_cert=pair / "mine.pem").check()
    with pytest.raises(BadRecipe, match=r"--tls-key .*no such file.*openssl req -x509"):
        Settings(tls_cert=pair / "mine.pem", tls_key=tmp_path / "none.key").check()
    with pytest.raises(BadRecipe, match=r"no pair of PEM certificate and key.*openssl req"):
        Settings(tls_cert=pair / "mine.pem", tls_key=pair / "other.key").check()


def test_a_server_speaks_https(pair, tmp_path, monkeypatch):
    import numpy as np

    import sensorium

    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    np.savez(tmp_path / "pairs.npz", left=x, right=x)
    keys = ["left.head=linear", "right.head=linear", "objective=ridge", "data.left=left", "data.right=right",
            f"data.file={tmp_path}/pairs.npz", "evaluate.baselines=[]", "evaluate.plots=false"]  # fmt: skip
    run = sensorium.run("arrays", keys, out=tmp_path / "runs" / "small", quiet=True).folder
    monkeypatch.setenv("SENSORIUM_TLS_CERT", str(pair / "mine.pem"))
    monkeypatch.setenv("SENSORIUM_TLS_KEY", str(pair / "mine.key"))
    trusted = ssl.create_default_context(cafile=str(pair / "mine.pem"))
    server = Server(run, trust=trusted)
    try:
        assert server.url.startswith("https://127.0.0.1:")
        with urllib.request.urlopen(f"{server.url}/readyz", context=trusted) as answer:
            assert answer.status == 200
    finally:
        server.stop()
