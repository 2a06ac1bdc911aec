"""What is interrupted at each of its disk calls, and what must hold afterwards: nothing acknowledged is lost,
everything opens, the same call goes on."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import disk
import numpy as np
from toys import Words

from sensorium import consent, integrity, io, store
from sensorium.errors import SensoriumError
from sensorium.search.journal import Change, Journal
from sensorium.types import Items

MADE_BY = {"name": "toy"}


@dataclass
class Scenario:
    """prepare(folder) is done once; act(folder, acknowledge) is interrupted on a copy; state(folder) is what is there.

    After an interruption the state is that from before or after; after it once "done" was acknowledged. Then
    act must succeed, undisturbed, and no temporary file may stay.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path, Callable[[str], None]], None]
    state: Callable[[Path], Any]
    between: Callable[[Any, Any, Any], bool] = lambda found, before, after: found in (before, after)
    swept: Callable[[Path], list[Path]] = field(default=lambda folder: list(folder.rglob(".tmp-*")))
    slow: int = 1  # how many times fewer interruptions are tried where not all are


def memory() -> str | None:
    """A folder in memory where there is one: SIGKILL loses no page cache, so waiting for a disk tests nothing."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def vector(text: str, d: int = 6) -> np.ndarray:
    return np.random.default_rng(list(text.encode())).normal(size=d).astype(np.float32)


def content(folder: Path) -> Any:
    if not store.exists(folder):
        return None
    assert store.verify(folder) == []
    found = store.open(folder)
    assert len(set(found.ids.tolist())) == len(found.ids)
    meta = {name: found.meta[name].tolist() for name in found.meta}
    return {id: (row.tobytes(), *(column[i] for column in meta.values()))
            for i, (id, row) in enumerate(zip(found.ids.tolist(), found.vectors[:], strict=True))}  # fmt: skip


def append(folder: Path, ids: list[str], salt: str = "", **meta: Any) -> None:
    store.append(folder, ids, np.stack([vector(i + salt) for i in ids]), MADE_BY, meta)


def filled(folder: Path) -> None:
    for part in range(3):
        append(folder, [f"{part}.{i}" for i in range(5)], year=[part] * 5)
    store.remove(folder, ["1.1"])


def replaced(folder: Path, acknowledge: Callable[[str], None]) -> None:
    append(folder, ["0.0", "0.1", "new"], salt="!", year=[9, 9, 9])
    acknowledge("done")


def first(folder: Path, acknowledge: Callable[[str], None]) -> None:
    append(folder, ["a", "b"])
    acknowledge("done")


def removed(folder: Path, acknowledge: Callable[[str], None]) -> None:
    store.remove(folder, ["0.0", "0.1", "0.2", "0.3", "0.4", "2.2"])
    acknowledge("done")


def compacted(folder: Path, acknowledge: Callable[[str], None]) -> None:
    store.compact(folder)
    acknowledge("done")


TEXTS = [f"text {i}" for i in range(12)]


def embedded(folder: Path, acknowledge: Callable[[str], None]) -> None:
    found = store.embed(Items(np.array(TEXTS), TEXTS, "text"), Words(), folder, shard_rows=4, progress=False)
    assert np.array_equal(found.vectors[:], np.stack([Words().vector(t) for t in TEXTS]))
    acknowledge("done")


def some_embedded(folder: Path) -> None:
    some = TEXTS[:3]
    store.embed(Items(np.array(some), some, "text"), Words(), folder, progress=False)


def without_manifest(folder: Path) -> None:
    filled(folder)
    (folder / "manifest.json").unlink()


def repaired(folder: Path, acknowledge: Callable[[str], None]) -> None:
    store.repair(folder)
    acknowledge("done")


def published(folder: Path, acknowledge: Callable[[str], None]) -> None:
    with io.publish(folder / "out") as building:
        for name in ("a", "b"):
            io.write(building / name, b"new " * 50_000)
    acknowledge("done")


def earlier_published(folder: Path) -> None:
    (folder / "out").mkdir(parents=True)
    for name in ("a", "b", "old"):
        (folder / "out" / name).write_bytes(b"before")


def files(folder: Path) -> Any:
    return {p.name: p.read_bytes() for p in (folder / "out").iterdir()} if (folder / "out").is_dir() else None


def point(number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    import torch  # not above: a process with it forks slowly

    return {"w": torch.arange(40.0) * number}, {"step": number, "events": [1, 2, number]}


def saved_point(folder: Path) -> None:
    from sensorium.fitting import checkpoint

    folder.mkdir(parents=True)
    checkpoint.save(folder / "checkpoint", *point(1))


def next_point(folder: Path, acknowledge: Callable[[str], None]) -> None:
    from sensorium.fitting import checkpoint

    checkpoint.save(folder / "checkpoint", *point(2))
    acknowledge("done")


def loaded_point(folder: Path) -> Any:
    from sensorium.fitting import checkpoint

    found = checkpoint.load(folder / "checkpoint")
    return None if found is None else ({k: v.tolist() for k, v in found[0].items()}, found[1])


def changes(*names: str) -> list[Change]:
    return [Change(n, vector(n), {"c": n}, "e", "image/png", n.encode() * 40) for n in names]


def journal_begun(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("a", "b", "a"):
        Journal(folder, "left").append(changes(name))


def journal_appended(folder: Path, acknowledge: Callable[[str], None]) -> None:
    Journal(folder, "left").append(changes("c", "d"))
    acknowledge("done")


def journal_rewritten(folder: Path, acknowledge: Callable[[str], None]) -> None:
    Journal(folder, "left").rewrite()
    acknowledge("done")


def journal_state(folder: Path) -> Any:
    journal = Journal(folder, "left")
    journal.read()
    return {id: (c.vector.tobytes(), c.columns, journal.media(id)) for id, c in journal.latest.items()}


def some_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("metrics.json", "trust.json"):
        (folder / name).write_text(name)
    integrity.write(folder)


def listed_again(folder: Path, acknowledge: Callable[[str], None]) -> None:
    integrity.write(folder)
    acknowledge("done")


def trusted(folder: Path, acknowledge: Callable[[str], None]) -> None:
    os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
    consent.trust(folder / "run", remember=True)
    acknowledge("done")


def run_with_own_part(folder: Path) -> None:
    (folder / "run").mkdir(parents=True)
    (folder / "own.py").write_text("class Own: pass\n")
    (folder / "run" / "left.json").write_text(json.dumps({"name": f"{folder}/own.py:Own"}))


def remembered(folder: Path) -> Any:
    path = folder / "config" / "sensorium" / "trusted.json"
    return io.read_json(path) if path.is_file() else None


def growing(found: Any, before: Any, after: Any) -> bool:
    """An embedding commits shard by shard: nothing from before is lost, nothing is there that does not belong."""
    found, before = found or {}, before or {}
    return before.items() <= found.items() and found.items() <= after.items()


def whole_run(folder: Path) -> None:
    import small_run

    small_run.make(folder / "run", "evaluate.plots=false")


def again(stage: str, *overrides: str) -> Callable[[Path, Callable[[str], None]], None]:
    def act(folder: Path, acknowledge: Callable[[str], None]) -> None:
        from sensorium import pipeline

        _one_thread()
        pipeline._again(folder / "run", overrides, True, stage)
        acknowledge("done")

    return act


def run_again(folder: Path, acknowledge: Callable[[str], None]) -> None:
    import small_run

    _one_thread()
    small_run.make(folder / "run", "evaluate.plots=false", "seed=1", "right.encoder.dim=48")
    acknowledge("done")


def run_state(folder: Path) -> Any:
    """What a user of the run sees, all checksums computed; None where there is no run."""
    import sensorium

    _one_thread()
    if not (folder / "run").exists():
        return None
    run = sensorium.open(folder / "run")
    assert integrity.problems(run.folder) == []
    hits = [run.search(text=text, k=3) for text in ("square root", "left parenthesis")]
    return run.metrics["recipe"], run.recipe.toml(), hits, run.metrics["results"], run.metrics["index"]["left"]["items"]


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def unswept_run(folder: Path) -> list[Path]:
    return [*folder.rglob(".tmp-*"), *folder.glob(".run.building"), *(folder / "run").glob(".lock")]


def whole(name: str, prepare: Callable[[Path], None], act: Any) -> Scenario:
    """A whole verb over a run, which does some 200 disk calls and takes a second."""
    return Scenario(name, prepare, act, run_state, swept=unswept_run, slow=12)


SCENARIOS = [
    Scenario("append to a new store", lambda folder: None, first, content),
    Scenario("append, replacing", filled, replaced, content),
    Scenario("remove", filled, removed, content),
    Scenario("compact", filled, compacted, content),
    Scenario("embed", some_embedded, embedded, content, growing),
    Scenario("repair", without_manifest, repaired, content),
    Scenario("publish a folder", earlier_published, published, files),
    Scenario("journal append", journal_begun, journal_appended, journal_state, growing),
    Scenario("journal rewrite", journal_begun, journal_rewritten, journal_state),
    Scenario("run.json", some_files, listed_again, lambda folder: integrity.read(folder)),
    Scenario("trusted.json", run_with_own_part, trusted, remembered),
    Scenario("checkpoint", saved_point, next_point, loaded_point),
    whole("sensorium run", lambda folder: None, run_again),
    whole("sensorium run, replacing", whole_run, run_again),
    whole("sensorium evaluate", whole_run, again("evaluate", "evaluate.resamples=60", "evaluate.plots=false")),
    whole("sensorium index", whole_run, again("index", "index=exact")),
]


@dataclass
class Tally:
    """What interruptions led to. lost, silent and tracebacks hold one line each; all three must stay empty."""

    tried: int = 0
    lost: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)


def interrupt(scenario: Scenario, fault: str, every: int = 1, first_call: int = 0, passes: int = 1) -> Tally:
    """Let the fault happen at every ``every``-th disk call of a scenario, each time on a fresh copy.

    passes: each call so many times, with more and more of a write done before the fault. Of a slow scenario every
    call is tried once, or fewer calls.
    """
    if scenario.slow > 1:
        every, passes = every * scenario.slow if every > 1 else 1, 1
    tally = Tally()
    with tempfile.TemporaryDirectory(dir=memory()) as name:
        place = Path(name)
        template = place / "template"
        scenario.prepare(template)

        def fresh(to: str) -> Path:
            folder = place / to
            if template.exists():
                shutil.copytree(template, folder)
            return folder

        whole = fresh("whole")
        before = scenario.state(fresh("before")) if scenario.name != "repair" else None
        counted = disk.child(lambda acknowledge: scenario.act(whole, acknowledge))
        assert counted.acknowledged == ["done"], f"{scenario.name}: {counted.raised}"
        after = scenario.state(whole)
        numbers = list(range(first_call, counted.calls, every))
        for step in range(passes):
            for number in numbers:
                folder = fresh(f"{number}")
                _one(scenario, fault, number, (step + 1) / (passes + 1), folder, before, after, tally)
                shutil.rmtree(folder, ignore_errors=True)
    return tally


def _one(
    scenario: Scenario, fault: str, number: int, share: float, folder: Path, before: Any, after: Any, tally: Tally
) -> None:
    what = f"{scenario.name}, {fault} at disk call {number}"
    ended = disk.child(lambda acknowledge: scenario.act(folder, acknowledge), number, fault, share)
    tally.tried += 1
    expected = {"kill": (), "full": ("DiskFull",), "read-only": ("ReadOnly",)}[fault]
    if (ended.raised and not ended.raised.startswith(expected)) or (
        fault != "kill" and not ended.raised and not ended.acknowledged
    ):
        tally.tracebacks.append(f"{what}: {ended.raised}")
    try:
        unrepaired = scenario.name == "repair" and not store.exists(folder)
        found = before if unrepaired else scenario.state(folder)
        wanted = found == after if ended.acknowledged else scenario.between(found, before, after)
        if not wanted:
            tally.lost.append(f"{what}: neither the state before nor after")
        # Undisturbed, in another process, the same call goes on and leaves nothing behind.
        again = disk.child(lambda acknowledge: scenario.act(folder, acknowledge))
        if again.acknowledged != ["done"] or scenario.state(folder) != after:
            tally.lost.append(f"{what}: the same call does not go on: {again.raised}")
        for rest in folder.rglob(".tmp-*"):
            io.sweep(rest.parent, age=0)
        if rest := scenario.swept(folder):
            tally.lost.append(f"{what}: {rest[0]} stays")
    except (SensoriumError, AssertionError) as error:
        tally.lost.append(f"{what}: {type(error).__name__}: {error}")
    except Exception as error:
        tally.tracebacks.append(f"{what}: {type(error).__name__}: {error}")
