"""What *Share* copies is run for real: the Python in a process of its own, the command in a shell; both find what is shown."""

import json
import subprocess
import sys
import urllib.parse

import pytest
import small_voices
import soundfile

pytestmark = pytest.mark.slow
LINE = "Get out of my house"


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """A server of a run of 48 made clips, and the folder in which runs/voices is."""
    from page_server import Server

    folder = tmp_path_factory.mktemp("share")
    server = Server(small_voices.make(folder / "runs" / "voices").folder)
    server.folder = folder
    soundfile.write(folder / "mine.wav", small_voices.clip("angry", "ada", 7, 3.0), 16_000)
    yield server
    server.stop()


def copied(voices, open_page, kind, act=None, **params):
    """What is copied of a search, and the ids that the page shows."""
    address = urllib.parse.urlencode({"run": "voices", **params}, doseq=True)
    page = open_page(f"{voices.url}/#/search?{address}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if act:
        act(page)
    page.wait_for_selector(".hits .hit")
    page.wait_for_selector(".results:not([aria-busy])")
    page.get_by_role("button", name="Share").click()
    page.get_by_role("button", name=f"Copy as {kind}").click()
    page.wait_for_selector("text=Python copied" if kind == "Python" else "text=Command copied")
    shown = page.locator(".hits .hit").evaluate_all("all => all.map((one) => one.dataset.id)")
    return page.evaluate("() => navigator.clipboard.readText()"), shown


def choose(voices):
    return lambda page: page.locator("input[type=file][accept='audio/*']").first.set_input_files(
        voices.folder / "mine.wav"
    )


SEARCHES = {
    "text": {"q": LINE, "k": 6},
    "filter": {"q": LINE, "where": json.dumps({"emotion": ["sad", "calm"], "duration": {">=": 4}}), "k": 6, "vary": 0.3},
    "item": {"id": "ada/sad_0.wav", "from": "right", "to": "right", "k": 6},
    "several": {"in": [f"text:1:left:{LINE}", "id:0.5:right:ben/calm_0.wav"], "to": "right", "k": 6},
}  # fmt: skip


@pytest.mark.parametrize("search", SEARCHES)
def test_the_copied_python_finds_what_is_shown(voices, open_page, search):
    code, shown = copied(voices, open_page, "Python", **SEARCHES[search])
    if search == "several":
        code += "for hit in hits:\n    print(hit['rank'], hit['id'], hit['score'])\n"
    ran = subprocess.run([sys.executable, "-c", code], cwd=voices.folder, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert [line.split(" ", 1)[1].rsplit(" ", 1)[0] for line in ran.stdout.splitlines()] == shown and len(shown) == 6


@pytest.mark.parametrize("search", SEARCHES)
def test_the_copied_command_finds_what_is_shown(voices, open_page, search):
    command, shown = copied(voices, open_page, "curl", **SEARCHES[search])
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert [hit["id"] for hit in json.loads(ran.stdout)["hits"]] == shown


def test_a_file_is_sent_by_the_copied_command_and_read_by_the_copied_python(voices, open_page):
    def act(page):
        page.get_by_role("button", name="Audio").first.click()
        choose(voices)(page)

    command, shown = copied(voices, open_page, "curl", act)
    ran = subprocess.run(["sh", "-c", command.replace("FILE", "mine.wav")], cwd=voices.folder, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert [hit["id"] for hit in json.loads(ran.stdout)["hits"]] == shown
    code, shown = copied(voices, open_page, "Python", act)
    ran = subprocess.run([sys.executable, "-c", code.replace("FILE", "mine.wav")], cwd=voices.folder, capture_output=True, text=True, timeout=120)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert [line.split(" ", 1)[1].rsplit(" ", 1)[0] for line in ran.stdout.splitlines()] == shown
