"""The extra `scale` in a virtual environment of its own: what runs on Ray, in Milvus and in object stores.

    python tests/packaging/scale.py                 the usual tests
    python tests/packaging/scale.py --slow          the slow ones too, such as twenty kills
    python tests/packaging/scale.py --keep FOLDER   the environment stays there, for the next time

Not a pytest file: the environment takes up to a minute. It shares torch and what else the interpreter that runs this has,
adds what the extra names, and runs every test that says `pip install 'sensorium[scale]'`. It exits 1 when one fails, or
is skipped because something of the extra is not installed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from encoders import ENVIRONMENTS, ROOT, Environment, install

EXTRA = "sensorium[scale]"


def requirements() -> tuple[str, ...]:
    """What the extra adds to the others."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return tuple(one for one in project["optional-dependencies"]["scale"] if not one.startswith("sensorium["))


def files() -> list[str]:
    """The test files that need the extra."""
    found = sorted((ROOT / "tests").rglob("test_*.py"))
    of_scale = [p for p in found if p.parent.name == "scale" or EXTRA in p.read_text("utf-8")]
    return [str(path.relative_to(ROOT)) for path in of_scale]


def main() -> int:
    """Install and test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", action="store_true", help="the slow tests too")
    parser.add_argument("--keep", type=Path, help="a folder in which the environment stays")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        ENVIRONMENTS["scale"] = Environment(requirements(), (), "")
        python = install("scale", (given.keep or Path(temporary)).resolve() / "scale")
        path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
        chosen = [] if given.slow else ["-m", "not slow"]
        done = subprocess.run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files(), *chosen], cwd=ROOT,
                              env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)  # fmt: skip
    print(done.stdout[-6000:], done.stderr[-1000:], sep="\n")
    skipped = re.findall(r"^SKIPPED.*is not installed.*$", done.stdout, re.M)
    return int(done.returncode != 0 or bool(skipped))


if __name__ == "__main__":
    sys.exit(main())
