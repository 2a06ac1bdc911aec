"""Files of outfits, pairs and questions, read to lists of ids with the rows that messages name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.datasets._items import ids_of
from sensorium.datasets._source import Source
from sensorium.errors import BadData, BadRecipe
from sensorium.formats import reading
from sensorium.pairs import csr
from sensorium.types import is_missing

#: Splits, and how names of files call them.
SPLITS = {"train": ("train",), "validation": ("valid", "validation", "val", "dev"), "test": ("test",)}
_SOME = 3  # places that a message names
_SET_KEYS, _ITEM_KEYS = ("outfit_id", "set_id", "id"), ("item_id", "id")
Resolve = Callable[[str], str]


@dataclass(frozen=True, eq=False)
class Lists:
    """o lists of ids, laid end to end in ``ids`` (m) with ``offsets`` (o + 1,).

    label, split, names: (o,), a split is "" where the file says none. file (m,): place in ``files`` of the file of
    each id; row (m,): its row, line or entry there. answers, correct: of questions, how many of the last ids are
    answers, and which of them is right.
    """

    ids: list[str]
    offsets: np.ndarray
    label: np.ndarray
    split: np.ndarray
    names: np.ndarray
    files: Sequence[str]
    file: np.ndarray
    row: np.ndarray
    answers: np.ndarray | None = None
    correct: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.label)

    @classmethod
    def of(cls, lists: Sequence[Sequence[str]], *, where: str, rows: Sequence[int] | np.ndarray, split: str = "",
           label: Any = None, names: Sequence[str] | None = None, **questions: Any) -> Lists:  # fmt: skip
        """Lists of one file. rows (o,): the row, line or entry of each."""
        counts, o = np.array([len(one) for one in lists], np.int64), len(lists)
        flat = [id for one in lists for id in one]
        label = np.ones(o, np.int8) if label is None else np.asarray(label, np.int8)
        names = _texts([""] * o if names is None else list(names))
        return cls(flat, csr.offsets_of(counts), label, np.full(o, split, "<U10"), names, [where],
                   np.zeros(len(flat), np.int64), np.repeat(np.asarray(rows, np.int64), counts),
                   **questions)  # fmt: skip

    def place(self, at: Sequence[int] | np.ndarray) -> str:
        """The files and rows of these ids, for messages: "entry 7 of outfits_train.json"."""
        found = [f"{_noun(self.files[self.file[i]])} {self.row[i]:,} of {self.files[self.file[i]]}" for i in at]
        found = list(dict.fromkeys(found))
        return ", ".join(found[:_SOME]) + (", …" if len(found) > _SOME else "")

    def owners(self) -> np.ndarray:
        """The list (m,) that each id stands in."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def take(self, which: np.ndarray) -> Lists:
        """The lists at these positions."""
        at = csr.rows_of(self.offsets, which)
        more = {name: value[which] for name in ("answers", "correct") if (value := vars(self)[name]) is not None}
        return replace(self, ids=[self.ids[i] for i in at.tolist()], label=self.label[which], split=self.split[which],
                       offsets=csr.offsets_of(np.diff(self.offsets)[which]), names=self.names[which],
                       file=self.file[at], row=self.row[at], **more)  # fmt: skip


def joined(parts: Iterable[Lists | None]) -> Lists | None:
    """Lists of several files as one; None of none."""
    parts = [one for one in parts if one is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    shift = np.cumsum([0, *(len(one.files) for one in parts)])
    both = {name: np.concatenate([vars(one)[name] for one in parts]) for name in ("label", "split", "names", "row")}
    questions = {name: np.concatenate([vars(one)[name] for one in parts]) for name in ("answers", "correct")
                 if vars(parts[0])[name] is not None}  # fmt: skip
    return Lists([id for one in parts for id in one.ids],
                 csr.offsets_of(np.concatenate([np.diff(one.offsets) for one in parts])),
                 files=[name for one in parts for name in one.files],
                 file=np.concatenate([one.file + at for one, at in zip(parts, shift, strict=False)]),
                 **both, **questions)  # fmt: skip


def files_of(root: Path, given: str | None, key: str, usual: str, whole: str = "") -> list[tuple[Path, str]]:
    """The files of one kind that are there, each with its split ("" for a file of all splits).

    given: what the recipe names: a file, a name with ``{split}``, "" for none, None for the usual names, which are
    ``usual``, with ``{split}``, or ``whole``. Raises BadRecipe for a named file that is not there.
    """
    if given == "":
        return []
    for pattern in (usual, whole) if given is None else (given,):
        if "{split}" not in pattern:
            if pattern and (root / Path(pattern).expanduser()).is_file():
                return [(root / Path(pattern).expanduser(), "")]
            continue
        named = {split: [root / Path(pattern.replace("{split}", word)).expanduser() for word in words]
                 for split, words in SPLITS.items()}  # fmt: skip
        found = {split: [path for path in paths if path.is_file()] for split, paths in named.items()}
        for split, paths in found.items():
            if len(paths) > 1:
                raise BadData(f"{paths[0]} and {paths[1].name} are both of the {split} split; move one away")
        if any(found.values()):
            return [(paths[0], split) for split, paths in found.items() if paths]
    if given is not None:
        raise BadRecipe(f"data.{key}={given}: no such file in {root}; expected a name, which may hold {{split}} for "
                        f"train, valid and test, such as {usual}")  # fmt: skip
    return []


def of_table(path: Path, split: str, id_columns: Sequence[str], label: str, split_column: str | None) -> Lists:
    """A table of pairs: a row, two columns of ids, a label of 0 or 1 where there is such a column. Raises BadData."""
    source = Source.open(str(path), path.parent)
    ids = [_ids(source, name, "pair_ids") for name in id_columns]
    labels = np.ones(source.n, np.int8)
    if label in source.columns:
        labels = _labels(source.columns.exact(label).tolist(), lambda at: source.rows(at), f"{path.name}: '{label}'")
    flat = [id for pair in zip(*(one.tolist() for one in ids), strict=True) for id in pair]
    rows = np.arange(source.n) + source.columns.first
    n = source.n
    return Lists(flat, np.arange(0, 2 * n + 1, 2), labels, _splits(source, split, split_column),
                 np.full(n, ""), [path.name], np.zeros(2 * n, np.int64), np.repeat(rows, 2))  # fmt: skip


def of_long_table(path: Path, split: str, outfit: str, item: str, split_column: str | None) -> Lists:
    """A table with a row an item: its outfit, its id, and the outfit's split where there is such a column.

    Raises BadData for an outfit of two splits.
    """
    source = Source.open(str(path), path.parent)
    names, ids = _ids(source, outfit, "outfit_id"), _ids(source, item, "item_id")
    words = _splits(source, split, split_column)
    _, first, code = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # outfits in the order of their first rows
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    code, first = rank[code.ravel()], first[order]
    if (differ := np.flatnonzero(words != words[first][code])).size:
        raise BadData(f"{path.name}: {len(np.unique(code[differ]))} outfits stand in two splits, such as "
                      f"'{names[differ[0]]}' ({source.rows(differ)}); name one split for each outfit")  # fmt: skip
    at = np.argsort(code, kind="stable")
    return Lists(ids[at].tolist(), csr.offsets_of(np.bincount(code, minlength=len(first))),
                 np.ones(len(first), np.int8), words[first], names[first], [path.name], np.zeros(len(at), np.int64),
                 at + source.columns.first)  # fmt: skip


def of_json(path: Path, split: str) -> Lists:
    """Outfits in JSON: a list of lists of ids, of objects with ``items`` (ids, or objects with an id), or an object of
    lists by name. Raises BadData with the entries that are none of these.
    """
    body = read_json(path)
    if isinstance(body, Mapping):
        body = [{"id": name, "items": items} for name, items in body.items()]
    lists, names, bad = [], [], []
    for number, entry in enumerate(_list(body, path, "outfits"), 1):
        items = entry.get("items") if isinstance(entry, Mapping) else entry
        name = _first(entry, _SET_KEYS) if isinstance(entry, Mapping) else None
        ids = [_id(_first(one, _ITEM_KEYS) if isinstance(one, Mapping) else one) for one in items] \
            if isinstance(items, list) else [None]  # fmt: skip
        if None in ids:
            bad.append(number)
            continue
        lists.append(ids)
        names.append(_id(name) or "")
    if bad:
        raise BadData(f"{path.name}: {len(bad)} of {len(body)} outfits are no lists of ids ({_numbers('entry', bad)}); "
                      'expected ["id", …] or {"items": [{"id": "…"}, …]}')  # fmt: skip
    return Lists.of(lists, where=path.name, rows=range(1, len(lists) + 1), split=split, names=names)


def of_lines(path: Path, split: str, resolve: Resolve | None = None) -> Lists:
    """Lines ``1 id id …`` of outfits that belong together and ``0 id id …`` of made-up ones.

    resolve: from words to ids. Raises BadData with the lines whose label is neither.
    """
    lines = [(n, words) for n, line in enumerate(text_of(path).splitlines(), 1) if (words := line.split())]
    label = _labels([words[0] for _, words in lines], lambda at: _numbers("line", [lines[i][0] for i in at]), path.name)
    lists = [words[1:] if resolve is None else [resolve(word) for word in words[1:]] for _, words in lines]
    return Lists.of(lists, where=path.name, rows=[n for n, _ in lines], split=split, label=label)


def of_questions(path: Path, split: str, right: Callable[[Mapping[str, Any]], int | None],
                 resolve: Resolve | None = None) -> Lists:  # fmt: skip
    """Questions in JSON: objects with ``question``, ids that are there, and ``answers``, ids to choose from.

    right: the place of the right answer in an object, None where it says none. resolve: from words to ids. Raises
    BadData with the entries that are no such questions.
    """
    body = _list(read_json(path), path, "questions")
    lists, answers, correct, bad = [], [], [], []
    for number, entry in enumerate(body, 1):
        parts = [entry.get(key) if isinstance(entry, Mapping) else None for key in ("question", "answers")]
        ids = [[_id(one) for one in part] if isinstance(part, list) else [] for part in parts]
        place = right(entry) if ids[0] and len(ids[1]) > 1 and None not in (*ids[0], *ids[1]) else None
        if place is None or not 0 <= place < len(ids[1]):
            bad.append(number)
            continue
        lists.append([one if resolve is None else resolve(one) for part in ids for one in part])
        answers.append(len(ids[1]))
        correct.append(place)
    if bad:
        raise BadData(f"{path.name}: {len(bad)} of {len(body)} questions cannot be used ({_numbers('entry', bad)}); "
                      'expected {"question": [ids], "answers": [ids], "correct": place of the right answer, '
                      "from 0}")  # fmt: skip
    return Lists.of(lists, where=path.name, rows=range(1, len(lists) + 1), split=split,
                    answers=np.array(answers, np.int64), correct=np.array(correct, np.int64))  # fmt: skip


def stated(entry: Mapping[str, Any]) -> int | None:
    """The place that a question's own key ``correct`` says; None without one."""
    place = entry.get("correct")
    return place if isinstance(place, int) and not isinstance(place, bool) else None


def text_of(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark. Raises BadData for another encoding."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not text in UTF-8 ({error}); save it in UTF-8") from None


def read_json(path: Path) -> Any:
    """A JSON file. Raises BadData for one that is none."""
    with reading(path, "correct it, or write it again"):
        return json.loads(text_of(path))


def _ids(source: Source, name: str, key: str) -> np.ndarray:
    if name not in source.columns:
        raise BadRecipe(f"{source.missing(name)}; another column is data.{key}=COLUMN")
    return ids_of(source, name, "left")


def _splits(source: Source, split: str, column: str | None) -> np.ndarray:
    """The split (n,) of each row: of the file, else of its column, else ""."""
    if split or column is None or column not in source.columns:
        return np.full(source.n, split, "<U10")
    words = source.columns.texts(column).tolist()
    if bad := [i for i, word in enumerate(words) if split_of(word) is None]:
        raise BadData(f"{source.where}: the split '{column}' of {len(bad)} rows is {words[bad[0]]!r} "
                      f"({source.rows(bad)}); expected train, dev|valid|validation or test")  # fmt: skip
    return np.array([split_of(word) for word in words], "<U10")


def split_of(word: Any) -> str | None:
    """The split that a word of a column names; None where it names none."""
    known = {one: split for split, words in SPLITS.items() for one in (*words, split)}
    return None if is_missing(word) else known.get(str(word).strip().lower())


def _labels(values: Sequence[Any], said: Callable[[list[int]], str], where: str) -> np.ndarray:
    """Labels (n,) of 0 and 1. Raises BadData with the rows of others."""
    known = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "False": 0, "True": 1}
    found = [known.get(str(value).strip()) for value in values]
    if bad := [i for i, label in enumerate(found) if label is None]:
        value = "missing" if is_missing(values[bad[0]]) else repr(values[bad[0]])
        raise BadData(f"{where}: the label of {len(bad)} of {len(found)} is {value} ({said(bad)}); expected 1 (belong "
                      "together) or 0 (do not)")  # fmt: skip
    return np.array(found, np.int8)


def _list(body: Any, path: Path, what: str) -> list[Any]:
    if not isinstance(body, list):
        raise BadData(f"{path} holds {type(body).__name__}; expected a list of {what}")
    return body


def _first(entry: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((entry[key] for key in keys if key in entry), None)


def _id(value: Any) -> str | None:
    """An id of JSON as text; None for what is no id."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if (whole or isinstance(value, str)) and str(value) else None


def _texts(values: list[str]) -> np.ndarray:
    return np.array(values, np.str_) if values else np.zeros(0, "<U1")


def _noun(file: str) -> str:
    return {".txt": "line", ".json": "entry", "": "line"}.get(Path(file).suffix.lower(), "row")


def _numbers(noun: str, numbers: Sequence[int]) -> str:
    plural = {"entry": "entries"}.get(noun, f"{noun}s") if len(numbers) > 1 else noun
    return f"{plural} {', '.join(f'{n:,}' for n in numbers[:_SOME])}{', …' if len(numbers) > _SOME else ''}"
