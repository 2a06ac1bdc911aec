"""Imports point down only, and importing the package stays instant."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sensorium

PACKAGE = Path(sensorium.__file__).parent

# From the roof to the ground. A module may import only from lower floors, or from its own package.
FLOORS = [
    {"__main__", "cli", "systems", "sklearn"},
    {"scale"},
    {"serve", "experiments", "exchange", "testing", "memory"},
    {"pipeline"},
    {"search"},
    {"recipe"},
    {"fitting", "evaluate", "stream"},
    {"objectives", "datasets", "values"},
    {"encoders", "heads", "indexes"},
    {"store", "scores", "modalities", "integrity"},
    {"numerics", "pairs", "table", "formats", "fingerprint", "consent"},
    {"parts"},
    {"contracts"},
    {"types", "io", "progress", "downloads"},
    {"errors"},
]
FLOOR = {name: height for height, names in enumerate(reversed(FLOORS)) for name in names}
#: The roof's __main__ starts the command line.
BESIDE = {("__main__", "cli")}
#: Arrows that still run up: each is to be turned, none may be added.
STILL_UP: set[tuple[str, str]] = set()
HEAVY = (
    "torch",
    "faiss",
    "scipy",
    "sklearn",
    "matplotlib",
    "sentence_transformers",
    "transformers",
    "skimage",
    "pyarrow",
)


def modules() -> list[tuple[str, Path]]:
    return [(p.relative_to(PACKAGE).parts[0].removesuffix(".py"), p) for p in PACKAGE.rglob("*.py")]


def imported(path: Path) -> set[str]:
    """First names below ``sensorium`` that a file imports, anywhere in it but for annotations alone."""
    found, tree = set(), ast.parse(path.read_text("utf-8"))
    typing_only = {node for block in ast.walk(tree) if isinstance(block, ast.If) and ast.unparse(block.test) ==
                   "TYPE_CHECKING" for statement in block.body for node in ast.walk(statement)}  # fmt: skip
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sensorium":
            inner = node.module.split(".")[1:]
            found |= {inner[0]} if inner else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("sensorium.")}
    return found - {"__version__"}


@pytest.mark.parametrize(("module", "path"), modules(), ids=lambda value: str(getattr(value, "name", value)))
def test_imports_point_down(module, path):
    if module == "__init__":
        return
    assert module in FLOOR, f"{module} has no floor yet: give it one in FLOORS"
    for other in imported(path) - {module}:
        lower = FLOOR[other] < FLOOR[module] or (module, other) in BESIDE | STILL_UP
        assert lower, f"{path.relative_to(PACKAGE)} (floor {FLOOR[module]}) imports {other} (floor {FLOOR[other]})"
    if module in ("datasets", "encoders", "heads", "objectives", "indexes"):
        own = {node.module for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)}
        parts = [name for name in own if name and name.startswith(f"sensorium.{module}.")]
        assert all(name.split(".")[2].startswith("_") for name in parts), "a part imports no other part of its kind"


def test_the_evaluation_knows_vectors_and_pairs_only():
    """It is given what it needs: no recipe is read, nothing is fitted, no data set is known."""
    for module, path in modules():
        if module == "evaluate":
            assert not imported(path) & {"recipe", "fitting", "datasets", "search", "pipeline"}, path.name


@pytest.mark.parametrize(
    "statement",
    [
        "import sensorium",
        "import sensorium.cli",
        "import sensorium.recipe",
        "import sensorium.pairs, sensorium.table, sensorium.parts",
    ],
)
def test_importing_loads_nothing_heavy(statement):
    code = f"import sys; {statement}; print(*sorted(m for m in {HEAVY!r} if m in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_help_loads_nothing_heavy():
    absent = ("numpy", *HEAVY)
    code = (
        f"import sys; sys.argv = ['sensorium', '--help']; from sensorium.cli import main\n"
        f"try: main()\nexcept SystemExit: pass\nprint('LOADED', *(m for m in {absent!r} if m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1].strip() == "LOADED"


def test_no_file_does_two_jobs():
    long = {str(p.relative_to(PACKAGE)): n for _, p in modules() if (n := len(p.read_text("utf-8").splitlines())) > 400}
    assert long == {}
