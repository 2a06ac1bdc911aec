"""Damage to every file of a run, a store and a checkpoint: the answer stays the same, or an error names the file."""

from __future__ import annotations

import copy
import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import small_run
from scenarios import filled, memory, point, vector
from toys import Words

import sensorium
from sensorium import integrity, store
from sensorium.errors import SensoriumError
from sensorium.evaluate import compare
from sensorium.fitting import checkpoint
from sensorium.search import media, related
from sensorium.types import Items

#: Mutations of each target by ``python -m tests.faults --long``; the tests do 60 of each.
LONG = {"run": 2500, "earlier run": 1200, "store": 1000, "embedding": 500, "checkpoint": 500, "fit": 300}
OTHERS: tuple[Any, ...] = (None, True, -1, 3.5, 10**18, "x", "", [], {}, [None], {"x": 1})


@dataclass
class Target:
    """A folder, what is asked of it, and another folder of its kind whose files are put in the place of its own.

    unchecked: patterns of files whose damage no checksum can show; of these only tracebacks count.
    """

    name: str
    folder: Path
    foreign: Path
    probe: Callable[[Path], Any]
    unchecked: tuple[str, ...] = ()


@dataclass
class Table:
    """By kind of file: mutations, same answers, errors that name the file; and one line for each that did neither."""

    tried: Counter = field(default_factory=Counter)
    same: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)


def damaged(content: bytes, foreign: bytes | None, name: str, draw: random.Random) -> tuple[str, bytes | None]:
    """One mutation of a file: what was done, and its new content; None deletes it."""
    ways = ["flip", "flip", "flip", "cut", "zeros", "longer", "delete", "empty"]
    ways += ["swap"] * (foreign is not None and foreign != content) + ["json"] * 6 * name.endswith(".json")
    way = draw.choice(ways)
    if way == "flip" and content:
        at, bit = draw.randrange(len(content)), draw.randrange(8)
        return f"bit {bit} of byte {at}", content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]
    if way == "cut" and content:
        at = draw.randrange(len(content))
        return f"cut at {at}", content[:at]
    if way == "zeros" and content:
        at = draw.randrange(len(content))
        return f"zeros from {at}", content[:at] + bytes(min(64, len(content) - at)) + content[at + 64 :]
    if way == "longer":
        return "longer", content + draw.randbytes(draw.randrange(1, 40))
    if way == "swap":
        return "of another", foreign
    if way == "empty":
        return "empty", b""
    if way == "json":
        return changed_json(content, draw)
    return "deleted", None


def changed_json(content: bytes, draw: random.Random) -> tuple[str, bytes]:
    """One value, anywhere in a JSON file, replaced by one of another type, or its key removed."""
    body = json.loads(content)
    places = list(_places(body, ()))
    if not places:
        return "json: []", b"[]"
    path = draw.choice(places)
    body, inner = (whole := copy.deepcopy(body)), None
    for step in path[:-1]:
        body = body[step]
    if draw.random() < 0.25:
        del body[path[-1]]
        return f"without {path}", json.dumps(whole).encode()
    inner = draw.choice(OTHERS)
    body[path[-1]] = inner
    return f"{path} = {inner!r}", json.dumps(whole).encode()


def _places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        if len(path) < 5:
            yield from _places(one, (*path, key))


def mutate(target: Target, count: int, seed: int, table: Table | None = None) -> Table:
    """``count`` mutations, spread evenly over the files of a target."""
    table, draw = table or Table(), random.Random(seed)
    expected = target.probe(target.folder)
    names = sorted(p.relative_to(target.folder).as_posix() for p in target.folder.rglob("*")
                   if p.is_file() and p.name != ".lock")  # fmt: skip
    with tempfile.TemporaryDirectory(dir=memory()) as place:
        for number in range(count):
            name = names[number % len(names)]
            folder = Path(place) / "copy"
            shutil.copytree(target.folder, folder)
            _one(target, folder, name, expected, draw, table)
            shutil.rmtree(folder)
    return table


def _one(target: Target, folder: Path, name: str, expected: Any, draw: random.Random, table: Table) -> None:
    path = folder / name
    other = counterpart(target, name)
    before = path.read_bytes()
    what, content = damaged(before, None if other is None else other.read_bytes(), name, draw)
    while content == before:  # zeros over zeros are no damage
        what, content = damaged(before, None if other is None else other.read_bytes(), name, draw)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    kind, line = f"{target.name}: {kind_of(name)}", f"{target.name}: {name}: {what}"
    table.tried[kind] += 1
    try:
        found = target.probe(folder)
    except SensoriumError as error:
        table.refused[kind] += 1
        if not any(word in str(error) for word in (path.name, path.stem, path.parent.name)):
            table.unnamed.append(f"{line}: {type(error).__name__}: {error}")
    except Exception as error:
        table.tracebacks.append(f"{line}: {type(error).__name__}: {error}")
    else:
        if same(found, expected):
            table.same[kind] += 1
        elif not any(Path(name).match(pattern) for pattern in target.unchecked):
            table.silent.append(line)


def counterpart(target: Target, name: str) -> Path | None:
    """The file of the foreign folder that plays the same part; shards are called by random names."""
    if (target.foreign / name).is_file():
        return target.foreign / name
    suffix = ".".join(Path(name).name.split(".")[-2:])
    return next(iter(sorted(target.foreign.rglob(f"*.{suffix}"))), None) if suffix.count(".") else None


def kind_of(name: str) -> str:
    """Name of a file without what is random or of a side."""
    for side in ("left", "right"):
        name = name.replace(side, "SIDE")
    words = Path(name).name.split(".")
    return name if len(words) < 3 else f"*.{'.'.join(words[-2:])}"


def same(a: Any, b: Any) -> bool:
    """Equal values, NaN and arrays included."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.shape(a) == np.shape(b) and np.array_equal(np.asarray(a), np.asarray(b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b) or (a != a and b != b)


def ask_run(folder: Path) -> Any:
    """Everything a user reads of a run: numbers, hits with probabilities, media, related items, ranks of queries."""
    run = sensorium.open(folder)
    answer: dict[str, Any] = {"metrics": run.metrics["results"], "recipe": run.recipe.values}
    answer["text"] = run.search(text="square root", k=5)
    answer["id"] = run.search(id=str(run.index("left").table.ids[3]), side="left", to="right", k=4)
    answer["trust"] = {k: dict(v) for k, v in run.trust.items()}
    answer["related"] = [column.tolist() for column in related.open(folder) or ()]
    shown = media.open(folder, "left")
    answer["media"] = [] if shown is None else [shown.get(id) for id in run.index("left").table.ids.tolist()]
    ranks = compare.load(folder / "per_query.npz")
    answer["ranks"] = {
        " ".join(key): {n: np.asarray(c).tolist() for n, c in vars(r).items()} for key, r in ranks.items()
    }
    answer["card"] = (folder / "README.md").is_file()
    return answer


def ask_store(folder: Path) -> Any:
    """What a store holds: opened, then embedded into and appended to."""
    found = store.open(folder)
    answer = [
        dict(zip(found.ids.tolist(), found.vectors[:].tolist(), strict=True)),
        {n: found.meta[n].tolist() for n in found.meta},
    ]
    store.append(folder, ["probe"], vector("probe")[None], found.fingerprint, {})
    after = store.open(folder)
    return [*answer, sorted(after.ids.tolist()), dict(after.fingerprint)]


def ask_embedding(folder: Path) -> Any:
    """The vectors of some items, from the store or, where it is damaged, from the encoder again."""
    texts = [f"text {i}" for i in range(12)]
    return store.embed(Items(np.array(texts), texts, "text"), Words(), folder, progress=False).vectors[:].tolist()


def ask_checkpoint(folder: Path) -> Any:
    """The point from which a fit goes on."""
    tensors, state = checkpoint.load(folder) or ({}, {})
    return {name: tensor.tolist() for name, tensor in tensors.items()}, state


def ask_fit(folder: Path) -> Any:
    """A fit that goes on from a checkpoint: the weights it ends with."""
    from training_data import tensors, train

    fitted = train(folder, epochs=3)
    return {name: tensor.numpy() for name, tensor in tensors(fitted).items()}


def targets(place: Path) -> list[Target]:
    """Made anew in an empty folder: runs with and without run.json, a store, an embedding, checkpoints."""
    from training_data import train

    small_run.make(place / "a")
    small_run.make(place / "b", "data.seed=1", "left.encoder.cell=4")
    for name in "ab":
        shutil.copytree(place / name, place / f"earlier-{name}")
        (place / f"earlier-{name}" / integrity.NAME).unlink()
    filled(place / "store")
    for part in range(2):
        store.append(place / "other", [f"x{part}"], vector("x")[None], {"name": "other"})
    store.remove(place / "other", ["x0"])
    for name, texts, made_by in (("embedded", 12, "words"), ("embedded-other", 3, "other")):
        made = [f"text {i}" for i in range(texts)]
        store.embed(
            Items(np.array(made), made, "text"), Words(name=made_by), place / name, shard_rows=5, progress=False
        )
    for name, number in (("point", 1), ("point-other", 2)):
        checkpoint.save(place / name, *point(number))
    for name, seed in (("fit", 0), ("fit-other", 1)):
        stop(lambda name=name, seed=seed: train(place / name, epochs=3, seed=seed, on_epoch=second))
    own = (
        "metrics.json",
        "recipe.toml",
        "trust.json",
        "partners.parquet",
        "*.npz",
        "media/*",
        "*.json",
        "README.md",
        "*.npy",
    )
    return [
        Target("run", place / "a", place / "b", ask_run, ("README.md", integrity.NAME)),
        Target("earlier run", place / "earlier-a", place / "earlier-b", ask_run, own),
        Target("store", place / "store", place / "other", ask_store),
        Target("embedding", place / "embedded", place / "embedded-other", ask_embedding),
        Target("checkpoint", place / "point", place / "point-other", ask_checkpoint),
        Target("fit", place / "fit", place / "fit-other", ask_fit, ("history.jsonl",)),
    ]


class Stopped(Exception):
    pass


def stop(work: Callable[[], Any]) -> None:
    try:
        work()
    except Stopped:
        return
    raise AssertionError("the fit was to be stopped")


def second(event: Mapping[str, Any]) -> None:
    if event.get("epoch") == 2:
        raise Stopped
