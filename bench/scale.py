"""What several processes and large indexes cost and bring: embedding on Ray, an index on disk, two workers that serve.

    python -m bench.scale [--quick] [--parts ray index serve] [--n 1000000] [--items 3000] [--folder FOLDER]

Each part is a program of its own, which is run here and says more: bench.scaling.ray, .index and .serve, with --help. A
table of all that they print follows. --quick takes a minute on an idle machine, and says nothing about speed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PARTS = ("ray", "index", "serve")


def lines(part: str, options: list[str]) -> list[dict[str, object]]:
    """What a part prints, as it comes; what is no JSON is passed on alone. Ends with the part where it fails."""
    found = []
    command = [sys.executable, "-m", f"bench.scaling.{part}", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        for text in running.stdout:
            print(f"{part}: {text}", end="", file=sys.stderr, flush=True)
            found.append(json.loads(text) if text.startswith("{") else {"note": text.strip()})
    if running.returncode:
        raise SystemExit(f"bench.scaling.{part} ended with status {running.returncode}")
    return found


def main() -> None:
    """Run the parts, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--n", type=int, default=1_000_000, help="vectors of the index")
    parser.add_argument("--items", type=int, default=3000, help="texts that are embedded")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the index is built, and stays")
    parser.add_argument("--quick", action="store_true", help="small, one round")
    given = parser.parse_args()
    quick = ["--quick"] * given.quick
    with tempfile.TemporaryDirectory() as temporary:
        folder = ["--folder", str(given.folder), "--reuse"] if given.folder else ["--folder", f"{temporary}/index"]
        options = {
            "ray": ["--items", str(given.items), "--rounds", str(given.rounds)],
            "index": ["--n", str(given.n), *folder],
            "serve": ["--rounds", str(given.rounds)],
        }
        said = {part: lines(part, options[part] + quick) for part in given.parts}
    print("| part | measured |\n| --- | --- |")
    for part, found in said.items():
        for row in found:
            print(f"| {part} | " + ", ".join(f"{name} {value}" for name, value in row.items()) + " |")


if __name__ == "__main__":
    main()
