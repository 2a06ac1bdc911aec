"""What the tests notice: random small changes of the code (by cosmic-ray), each against the tests of its file.

    make mutants                                        the files below, a few changes each
    python tests/mutants.py --each 40 pairs/csr.py      one file, more changes
    python tests/mutants.py --seed 7                    other changes

Works on a copy of the checkout. Prints the share of changes that a test noticed and a diff of each that none did;
exits 1 below 95%. Changes that make no difference are listed in tests/mutants_equivalent.txt with the reason.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENT = ROOT / "tests" / "mutants_equivalent.txt"
#: The share of changes, equivalent ones left out, that the tests have to notice.
GOAL = 0.95
#: Each file with the tests that have to notice what is changed in it: only fast ones, as they run once a change.
TARGETS = {
    "pairs/csr.py": ["pairs"],
    "pairs/positives.py": ["pairs/test_positives.py", "objectives/test_infonce.py"],
    "numerics/moments.py": ["numerics"],
    "scores/exact_topk.py": ["scores", "indexes/test_exact_segments.py"],
    "scores/int8.py": ["scores", "indexes/test_exact_segments.py"],
    "objectives/procrustes.py": ["fitting/test_closed_forms.py", "evaluate/test_evaluate_details.py"],
    "fitting/schedule.py": ["fitting/test_schedule.py"],
    "fitting/batches.py": ["fitting/test_minibatches.py", "fitting/test_fitting_details.py"],
    "scores/measures.py": ["scores/test_measures.py"],
    "evaluate/statistics.py": ["evaluate/test_statistics.py"],
    "evaluate/leaks.py": ["evaluate/test_leaks.py"],
    "stream/tracker.py": ["stream/test_tracker.py"],
    "search/query.py": [
        "search/test_hits.py",
        "search/test_options.py",
        "search/test_side_names.py",
        "search/test_python.py",
        "serve/test_one_table.py",
    ],
    "search/journal.py": ["search/test_journal.py"],
    "table/where.py": ["table/test_where.py", "table/test_table.py"],
    "table/columns.py": ["table"],
    "table/lookup.py": ["table"],
    "store/locations.py": ["store/test_locations.py", "store/test_model.py", "store/test_embed.py"],
    "serve/guard.py": ["serve/test_guard_limits.py", "serve/test_guard.py", "serve/test_bodies.py"],
    "serve/engine/query.py": [
        "serve/test_search.py",
        "serve/test_sound.py",
        "serve/test_one_table.py",
        "systems/test_outfit_routes.py",
    ],
    "serve/routes/search.py": ["serve/test_search.py", "serve/test_mutations.py"],
}
#: What the tests write when a change is noticed by nothing but the time it takes.
_LATE = re.compile(r"^timeout$|Failed: Timeout")
CONFIGURATION = """[cosmic-ray]
module-path = {module!r}
timeout = {timeout:.1f}
excluded-modules = []
test-command = {command!r}
[cosmic-ray.distributor]
name = "local"
"""


def copy(folder: Path) -> Path:
    """The checkout's own files, to be changed."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """(line, column) at which each annotation begins and ends; none of them is evaluated."""
    found: list[ast.expr | None] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found.append(node.returns)
        elif isinstance(node, (ast.arg, ast.AnnAssign)):
            found.append(node.annotation)
    return [((a.lineno, a.col_offset), (a.end_lineno or 0, a.end_col_offset or 0)) for a in found if a is not None]


def sample(session: Path, each: int, seed: str, source: str) -> int:
    """Leave ``each`` of the planned changes of a file, drawn from the seed; returns how many are left."""
    spans = annotations(source)
    with sqlite3.connect(session) as base:
        names = "operator_name, occurrence, start_pos_row, start_pos_col, job_id"
        planned = sorted(base.execute(f"select {names} from mutation_specs"))
        real = [one for one in planned if not any(start <= one[2:4] < end for start, end in spans)]
        kept = {job for *_, job in random.Random(seed).sample(real, min(each, len(real)))}
        for *_, job in planned:
            if job not in kept:
                base.execute("delete from mutation_specs where job_id = ?", (job,))
                base.execute("delete from work_items where job_id = ?", (job,))
    return len(kept)


def changes(tool: Path, checkout: Path, module: str, tests: list[str], each: int, seed: int) -> list[tuple[str, str]]:
    """(outcome, diff) of each change of one file; outcome is "killed", "timeout", "survived" or "incompetent"."""
    paths = [f"tests/{test}" for test in tests if (checkout / "tests" / test).exists()]
    command = f"{sys.executable} -m pytest -q -x -p no:cacheprovider -p no:randomly {' '.join(paths)}"
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command.split(), cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the tests of {module} fail without any change:\n{done.stdout[-2000:]}")
    session, configuration = checkout / "session.sqlite", checkout / "session.toml"
    session.unlink(missing_ok=True)
    text = CONFIGURATION.format(module=f"src/sensorium/{module}", timeout=600, command=command)
    configuration.write_text(text.replace("'", '"'))
    for step in (["init", configuration, session], ["exec", configuration, session]):
        subprocess.run([tool, *step], cwd=checkout, env=environment, capture_output=True, check=True)
        if step[0] == "init":
            sample(session, each, f"{seed} {module}", (checkout / "src" / "sensorium" / module).read_text("utf-8"))
    dump = subprocess.run([tool, "dump", session], cwd=checkout, capture_output=True, text=True, check=True).stdout
    results = [json.loads(line)[1] for line in dump.splitlines()]
    return [
        ("timeout" if _LATE.search(result["output"] or "") else result["test_outcome"], result["diff"] or "")
        for result in results
        if result
    ]


def lines(diff: str) -> str:
    """The changed lines of a diff, as tests/mutants_equivalent.txt lists them."""
    return " ".join(
        line[0] + " ".join(line[1:].split())
        for line in diff.splitlines()
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    )


def main() -> int:
    """Run what the command line names; the exit status says whether the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="files below src/sensorium, of those listed in this script")
    parser.add_argument("--each", type=int, default=12, help="changes of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tool", type=Path, default=Path(".venv-mutants/bin/cosmic-ray"))
    given = parser.parse_args()
    if gone := [name for name in TARGETS if not (ROOT / "src" / "sensorium" / name).is_file()]:
        parser.error(f"{gone[0]} is listed but not there; correct TARGETS")
    if unknown := [name for name in given.files if name not in TARGETS]:
        parser.error(f"{unknown[0]} is not listed; known: {', '.join(TARGETS)}")
    tool = given.tool.absolute()
    if not tool.is_file():
        parser.error(f"no {tool}; type: make mutants, or pip install cosmic-ray and --tool PATH")
    known = {line.partition("  #")[0].strip() for line in EQUIVALENT.read_text("utf-8").splitlines()}
    killed = survived = 0
    with tempfile.TemporaryDirectory() as folder:
        checkout = copy(Path(folder) / "checkout")
        for module in given.files or TARGETS:
            found = changes(tool, checkout, module, TARGETS[module], given.each, given.seed)
            missed = [diff for outcome, diff in found if outcome == "survived" and lines(diff) not in known]
            late = sum(outcome == "timeout" for outcome, _ in found)
            noticed = sum(outcome == "killed" for outcome, _ in found) + late
            killed, survived = killed + noticed, survived + len(missed)
            said = f", {late} by a time-out" if late else ""
            print(f"{module:32} {noticed:3} of {noticed + len(missed):3} noticed{said}", flush=True)
            for diff in missed:
                print(f"    not noticed: {lines(diff)}", flush=True)
    share = killed / max(1, killed + survived)
    print(f"{killed} of {killed + survived} changes noticed: {share:.1%} (goal {GOAL:.0%})")
    return int(share < GOAL)


if __name__ == "__main__":
    sys.exit(main())
