"""Where captioned media come from: the table below a folder, and the splits of what has none for a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.datasets import _captions_files, _captions_table
from sensorium.datasets._captions import Corpus
from sensorium.datasets._source import Source, Sources
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import jsonl

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
_USUAL = ("metadata", "captions")  # names of tables that are taken before others
WAYS = ("table", "file", "cache", "hub")


def of_table(root: Path | None, table: str | None, given: Mapping[str, Any], kind: str, bad: str) -> Corpus:
    """The clips of a table, or of the one table that lies in ``root``.

    Raises BadRecipe where there is none or several, and as :func:`_captions_files.corpus` does.
    """
    source, notes = _opened(found_table(root, table), root, bad)
    listing = _captions_table.read(source, given)
    corpus = _captions_files.corpus(listing, source.root, kind, bad, ids=given.get("id"))
    return replace(corpus, notes={**corpus.notes, **notes})


def _opened(where: str, root: Path | None, bad: str) -> tuple[Source, dict[str, Any]]:
    """The table, and notes of the broken lines of JSON lines, which are left out where ``bad`` is "skip"."""
    sources = Sources(None if root is None else str(root))
    path = Path(where).expanduser()
    try:
        return sources.open(where), {}
    except BadData as error:
        if path.suffix.lower() not in jsonl.FORMAT.endings or not path.is_file():
            raise
        columns, faults = jsonl.whole_lines(path)
        if not faults:
            raise
        if bad != "skip" or not len(columns):
            more = f" ({len(faults)} of its lines are broken)" if len(faults) > 1 else ""
            raise BadData(f"{error}{more}, or leave it out with data.bad=skip") from None
    source = Source.of(path.name, columns, root or path.parent)
    return source, {"lines_left_out": len(faults), "lines_left_out_such_as": faults[:3]}


def found_table(root: Path | None, table: str | None) -> str:
    """The path or address of the table. Raises BadRecipe where there is none, or several."""
    if table is not None:
        below = None if root is None else root / Path(table).expanduser()
        if below is not None and not Path(table).expanduser().exists() and below.exists():
            return str(below)
        return table
    if root is None or not root.is_dir():
        where = "no data.root" if root is None else f"no folder {root}"
        raise BadRecipe(f"{where}; type: data.root=FOLDER data.table=TABLE, of files and their captions "
                        "(file_name,caption_1,… or one caption a row)")  # fmt: skip
    tables = sorted(path for path in root.iterdir() if path.suffix.lower() in TABLES and not path.name.startswith("."))
    usual = [path for path in tables if path.stem.lower() in _USUAL]
    chosen = usual if len(usual) == 1 else tables
    if len(chosen) != 1:
        said = f"several tables ({', '.join(path.name for path in chosen[:5])})" if chosen else "no table"
        raise BadRecipe(f"{root} holds {said}; type: data.table=TABLE, of files and their captions "
                        "(file_name,caption_1,… or one caption a row)")  # fmt: skip
    return str(chosen[0])


def with_test(corpus: Corpus, test: float, seed: int) -> Corpus:
    """The corpus, of whose training clips some test where the data's own splits have no test.

    Splits that name only one split are no division: they are dropped, and all splits are drawn by clip.
    """
    words = set(corpus.split.tolist()) - {""}
    if not words or {"train", "test"} <= words:
        return corpus
    if len(words) == 1:
        return replace(corpus, split=np.full(len(corpus), "", "<U10"),
                       notes={**corpus.notes, "split_in_data": f"only {words.pop()}"})  # fmt: skip
    groups = np.unique(corpus.group[corpus.split == "train"])
    if "test" in words or len(groups) < 2:
        raise BadData(f"the data name the splits {' and '.join(sorted(words))}; training and test are needed: "
                      f"name more "
                      'of them, or ignore them: data.split=""')  # fmt: skip
    count = min(len(groups) - 1, max(1, round(test * len(groups)) if test <= 1 else int(test)))
    chosen = np.random.default_rng(seed).permutation(groups)[:count]
    split = np.where((corpus.split == "train") & np.isin(corpus.group, chosen), "test", corpus.split)
    return replace(corpus, split=split, notes={**corpus.notes, "test": "drawn from the training clips"})


def check_one(given: Mapping[str, Any], ways: Sequence[str] = WAYS) -> str:
    """Which of ``ways`` is given, "" for none. Raises BadRecipe for two of them."""
    found = [key for key in ways if given.get(key)]
    if len(found) > 1:
        raise BadRecipe(f"data.{found[0]} and data.{found[1]} are given; the captions come from one of them")
    return found[0] if found else ""
