"""The built wheel installs and works with each extra alone, each in a virtual environment of its own.

    python tests/packaging/wheel.py                 the core and every light extra
    python tests/packaging/wheel.py train serve     these
    python tests/packaging/wheel.py --all           heavy ones too (gigabytes)

Not a pytest file: an environment takes up to a minute. It prints one line an extra and exits 1 when one fails.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Extras that bring gigabytes or compile for minutes: only asked for by name, or with --all.
HEAVY = {"scale", "map", "all", "dev"}
#: One command of each extra that uses what it brings, beside the doctor's answer that all of it is there.
USES = {
    "core": ["ls", "recipes"],
    "train": ["run", "arrays", "data.file=pairs.npz", "data.left=a", "data.right=b", "train.epochs=1", "--out", "run"],
}


def build(folder: Path) -> Path:
    """The wheel, built from a copy of what git tracks: a file that only lies in the checkout cannot help."""
    source = folder / "source"
    source.mkdir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, files.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        str(path.relative_to(source / "src"))
        for path in (source / "src" / "sensorium").rglob("*")
        if path.is_file() and path.suffix in {".py", ".toml", ".js", ".css", ".html", ".svg"}
    }
    if missing := sorted(expected - packed):
        raise SystemExit(f"the wheel lacks {len(missing)} files of the package, such as {missing[:3]}")
    return wheel


def check(wheel: Path, extra: str, folder: Path) -> str:
    """Install the wheel with one extra and use it; returns "" or what failed."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    name = str(wheel) if extra == "core" else f"sensorium[{extra}] @ {wheel.as_uri()}"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               "--constraint", ROOT / "constraints.txt", name]  # fmt: skip
    for command in (install, [python, "-m", "pip", "check"]):
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        if done.returncode:
            return f"{' '.join(map(str, command[1:4]))}: {(done.stdout + done.stderr).strip()[-300:]}"
    sensorium = folder / "bin" / "sensorium"
    done = subprocess.run([sensorium, "doctor", "--json"], capture_output=True, text=True, cwd=folder, check=False)
    findings = {row["check"]: row for row in map(json.loads, done.stdout.splitlines())}
    if done.returncode or "Traceback" in done.stderr:
        return f"doctor: {done.stderr.strip()[-300:]}"
    row = findings.get(f"extra [{extra}]")
    if extra != "core" and (row is None or row["state"] != "good"):
        return f"doctor says of {extra}: {row}"
    if extra != "core":
        subprocess.run([python, "-c", "import numpy as n; r = n.random.default_rng(0); x = r.normal(size=(200, 8)); "
                        "n.savez('pairs.npz', a=x.astype('f4'), b=x.astype('f4'))"], cwd=folder, check=True)  # fmt: skip
    use = USES["core" if extra in ("core", "map") else "train"]
    done = subprocess.run([sensorium, *use], capture_output=True, text=True, cwd=folder, check=False)
    return f"{' '.join(use[:2])}: {done.stderr.strip()[-300:]}" if done.returncode else ""


def main() -> int:
    """Check what the command line names; the number of failures decides the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras", nargs="*", help="core, or names of extras; by default the light ones")
    parser.add_argument("--all", action="store_true", help="heavy ones too")
    given = parser.parse_args()
    known = ["core", *tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]]
    if unknown := [name for name in given.extras if name not in known]:
        parser.error(f"no extra {unknown[0]}; known: {', '.join(known)}")
    extras = given.extras or [name for name in known if given.all or name not in HEAVY]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(Path(folder))
        for extra in extras:
            start = time.perf_counter()
            fault = check(wheel, extra, Path(folder) / extra)
            shutil.rmtree(Path(folder) / extra)
            failed += bool(fault)
            print(f"{extra:12} {time.perf_counter() - start:5.0f} s  {fault or 'ok'}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
