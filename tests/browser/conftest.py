"""A really served run and Debian's Chromium to look at it with."""

import shutil
import time
from pathlib import Path

import pytest
from page_server import PATIENCE, Server

INSTALL = "apt-get install -y chromium && pip install 'sensorium[dev]'"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream"]  # fmt: skip


@pytest.fixture(scope="session")
def served(glyphs):
    """The run glyphs and a run that is still to be made, ``lively``, served."""
    server = Server(glyphs / "runs" / "glyphs", glyphs / "runs" / "lively")
    server.folder = glyphs / "runs"
    yield server
    server.stop()


@pytest.fixture(scope="session")
def faces_run(tmp_path_factory):
    """The folder of a run of made faces and the vectors of their prompts."""
    import made_faces
    import numpy as np

    import sensorium

    folder = tmp_path_factory.mktemp("faces")
    made = made_faces.perception(n=84, people=3, dim=16)
    np.savez(folder / "pairs.npz", left=made.vectors, right=made.targets, ids=np.arange(84), label=made.labels)
    keys = ["left.head=linear", "right.head=linear", "objective=ridge", "data.left=left", "data.right=right",
            f"data.file={folder}/pairs.npz", "data.ids=ids", "evaluate.baselines=[]", "evaluate.plots=false"]  # fmt: skip
    return sensorium.run("arrays", keys, out=folder / "runs" / "faces", quiet=True).folder


@pytest.fixture
def start_server():
    """start_server(*runs, token=…): a server of the test's own, stopped when it ends."""
    started = []

    def start(*runs: Path, **told) -> Server:
        started.append(Server(*runs, **told))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def until():
    """until(page, holds): asks a question of a page again and again, by the clock and not by counting, until it holds."""

    def wait(page, holds):
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, "never"
            page.wait_for_timeout(50)

    return wait


@pytest.fixture(scope="module")
def chromium():
    """One browser for a module; playwright's loop must not outlive it, as other tests have loops of their own."""
    sync_api = pytest.importorskip("playwright.sync_api", reason=f"playwright is not installed; type: {INSTALL}")
    path = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no Chromium here; type: {INSTALL}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """open_page(url, **options of a context): a page whose faults fail the test when it ends."""
    contexts, faults, foreign = [], [], []

    def make(url: str, allow: tuple[str, ...] = (), **options):
        options = {"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce", **options}
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: faults.append(str(error)))

        def console(message):
            if message.type == "error" and not any(word in message.text for word in allow):
                faults.append(message.text)

        home = "/".join(url.split("/")[:3])
        page.on("console", console)
        page.on("request", lambda r: foreign.append(r.url) if not r.url.startswith((home, "blob:", "data:")) else None)
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []
    assert foreign == [], "the page asked another host"
