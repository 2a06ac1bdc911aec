"""The documentation is executed: every python block, every sensorium command, every verb's help page."""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from examples import PART
from typer.main import get_command
from typer.testing import CliRunner

from sensorium import parts
from sensorium.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(<!-- not executed: [^\n]+ -->\n+)?```(python|sh)\n(.*?)^```", re.M | re.S)
COMMANDS = get_command(app).commands


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of every block that is executed; one may be left out only with a written reason."""
    return [(lang, text) for skipped, lang, text in BLOCK.findall(page.read_text("utf-8")) if not skipped]


#: A run of the demo's size is measured quickly: what a page types does not depend on it.
SHORTER = ["evaluate.resamples=20", "evaluate.leaks=off", "evaluate.plots=false"]
#: Pages whose blocks take long: they make runs of the demo's size.
SLOW = ("quickstart.md", "concepts.md", "formats.md", "glyphs.md", "pairs.md")
THOROUGH = ("concepts.md", "quickstart.md")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            p, marks=[pytest.mark.slow] * (p.name in SLOW) + [pytest.mark.thorough] * (p.name in THOROUGH), id=p.name
        )
        for p in PAGES
        if blocks(p)
    ],
)
def test_blocks_run(page, glyphs, tiny_vectors, monkeypatch, tmp_path):
    # A page may use runs/glyphs (the demo's run), pairs.npz (vectors of one's own) and picture.png (a drawing).
    (tmp_path / "runs").mkdir()
    for name in ("glyphs", "embeddings"):
        (tmp_path / "runs" / name).symlink_to(glyphs / "runs" / name)
    (tmp_path / "pairs.npz").symlink_to(tiny_vectors)
    draw_arrow(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for lang, text in blocks(page):
        if lang == "python":
            exec(compile(text, f"{page.name}", "exec"), names)  # the page's own text
            continue
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "sensorium":
                words += SHORTER if words[1:3] == ["run", "glyphs"] and PART > 1 else []
                # In this process: commands as processes are tested in tests/cli, and each takes seconds to begin.
                done = CliRunner().invoke(app, words[1:], env={"COLUMNS": "120"}, catch_exceptions=False)
                assert done.exit_code == 0, f"{line}\n{done.stdout}\n{done.stderr}"
                assert done.stdout.strip(), f"{line} printed nothing"


def draw_arrow(path: Path) -> None:
    from PIL import Image, ImageDraw

    picture = Image.new("L", (200, 120), 255)
    pen = ImageDraw.Draw(picture)
    pen.line([(20, 60), (180, 60)], fill=0, width=10)
    pen.line([(60, 25), (20, 60), (60, 95)], fill=0, width=10)
    picture.save(path)


def test_help_page_is_current():
    done = subprocess.run([sys.executable, str(ROOT / "docs/help.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_help_that_opens_with_something_to_paste(verb):
    text = COMMANDS[verb].help
    assert text and f"[bold]sensorium {verb}" in text


def test_the_page_of_own_data_has_every_job():
    page = (ROOT / "docs" / "own-data.md").read_text("utf-8")
    for job in ("Pictures and their captions", "Sounds in class folders", "Two Parquet files", "Arrays in a notebook",
                "A scikit-learn pipeline", "An own data set and an own encoder", "A run inside a FastAPI application",
                "A GPU", "ONNX in another program", "10,000 items added", "Two runs compared"):  # fmt: skip
        section = page.partition(f"\n## {job}\n")[2].partition("\n## ")[0]
        assert BLOCK.search(section), f"docs/own-data.md has nothing to paste for: {job}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_recipe_has_a_page():
    from sensorium import recipe

    pages = " ".join(p.read_text("utf-8") for p in (ROOT / "docs" / "recipes").glob("*.md"))
    for name in recipe.names():
        assert f"sensorium run {name}" in pages, f"docs/recipes says nothing of {name}"


def test_the_tree_in_the_readme_names_what_is_there():
    readme = (ROOT / "README.md").read_text("utf-8")
    for name in sorted(p.name for p in (ROOT / "src" / "sensorium").iterdir() if not p.name.startswith(("_", "py."))):
        assert re.search(rf"\b{re.escape(name)}\b", readme), f"the annotated tree misses {name}"


def test_no_part_is_missing_from_its_list():
    for kind in parts.KINDS:
        assert all(parts.names(kind).values()), f"a file of {kind} does not say what it is"


def test_the_walks_name_functions_that_exist():
    page = (ROOT / "docs" / "concepts.md").read_text("utf-8")
    named = re.findall(r"`(sensorium(?:\.\w+)*):([\w.]+)`", page)
    assert len(named) > 20
    for module, names in named:
        found = importlib.import_module(module)
        for name in names.split("."):
            assert hasattr(found, name), f"docs/concepts.md names {module}:{names}"
            found = getattr(found, name)
