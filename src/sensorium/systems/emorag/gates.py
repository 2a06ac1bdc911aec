"""Gates applied to the clips of a library: as a filter of the search, as verdicts with numbers, and as counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from sensorium.errors import BadData
from sensorium.systems.emorag.profiles import RATES, TARGET_RMS, Gate, Profile
from sensorium.table import Table
from sensorium.table.columns import kind_of, missing

PEAK = 0.99  # that a clip brought to the target level may have
#: Remarks in transcripts that stand for sounds without words: [laughs], (sobbing), <sigh>, *cough*, 【笑】.
_REMARK = re.compile(r"[\[(<*{【（]([^\])>*}】）]{1,40})[\])>*}】）]")
_SOUNDS = re.compile(
    r"laugh|giggl|chuckl|sob|cry|weep|sniff|sigh|gasp|cough|scream|shout|yawn|groan|moan|breath|snort|cheer|laughter"
    r"|笑|哭|泣|叹|喘|咳|웃|울음|lach|schluchz|rire|pleur|risa|llor",
    re.IGNORECASE,
)
#: How to get the columns that a library lacks.
_REMEDY = "make the run anew from the clips (data=clips data.root=FOLDER), which measures them"
_REMEDIES = {
    "transcript": "give the transcripts: data.table=TABLE with a column text",
    "speech_rate": "give the transcripts: data.table=TABLE with a column text",
}


def nonverbal(text: str) -> list[str]:
    """The remarks of a transcript that stand for laughter, sobbing and other sounds without words.

    >>> nonverbal("[laughs] Well (to Bob), that was <sigh> something."), nonverbal("He laughed at it.")
    (['laughs', 'sigh'], [])
    """
    return [remark.strip() for remark in _REMARK.findall(text) if _SOUNDS.search(remark)]


class Gates:
    """A profile's gates over the clips of one table, whose values are read once. In the thread of the index.

    level: the clips will be brought to :data:`TARGET_RMS` when they are written, so that loudness is judged as it will
    be. sounds: laughter and sobbing are wanted, so that the gate "nonverbal" is left out.

    Attributes: where, conditions of ``Table.where`` that every passing clip meets, for the index; unjudged, names of
    the gates that the library has no numbers for.

    Raises BadData for a required gate whose column is missing, saying how to get it.
    """

    def __init__(self, table: Table, profile: Profile, level: bool = False, sounds: bool = False) -> None:
        self.table, self.profile, self.level = table, profile, level
        self.about = self.key(profile, level, sounds)
        self._words = _languages(table)
        gates = [gate for gate in profile.gates if not (sounds and gate.name == "nonverbal")]
        lost = [gate for gate in gates if gate.required and gate.column not in table.columns]
        if lost:
            names = ", ".join(f"'{gate.column}' (gate {gate.name})" for gate in lost)
            remedy = next((_REMEDIES[gate.column] for gate in lost if gate.column in _REMEDIES), _REMEDY)
            off = " ".join(f"--gate {gate.name}=off" for gate in lost)
            raise BadData(f"{profile.name}: the clips have no column {names}; {remedy}, or leave them out: {off}")
        self.values: dict[str, np.ndarray] = {}
        self.limits: dict[str, tuple[Any, Any]] = {}
        self.unjudged: list[str] = []
        self.gates: list[Gate] = []
        for gate in gates:
            values = self._values(gate)
            if values is None:
                self.unjudged.append(gate.name)
                continue
            self.gates.append(gate)
            self.values[gate.name] = values
            self.limits[gate.name] = self._limits(gate)
        self._passing = np.ones(len(table), bool)
        for gate in self.gates:
            if gate.name != "line_rate":
                self._passing &= self.passes(gate.name)
        self.usual_rate = self._usual_rate()

    @staticmethod
    def key(profile: Profile, level: bool, sounds: bool) -> str:
        """Equal for gates that judge every clip alike."""
        return repr((profile, level, sounds))

    @property
    def passing(self) -> np.ndarray:
        """Mask (n,) of the clips that pass every gate but ``line_rate``, which depends on the line."""
        return self._passing

    @property
    def where(self) -> dict[str, Any]:
        """Conditions that every passing clip meets: ranges of plain columns, in the table's own terms."""
        found: dict[str, Any] = {}
        for gate in self.gates:
            if gate.name == "transcript":
                found[gate.column] = {"!=": [None, ""]}
                continue
            plain = gate.required and gate.name not in ("rate", "line_rate", "nonverbal")
            if not plain or (gate.name == "loudness" and self.level):
                continue
            found[gate.column] = {sign: end for sign, end in ((">=", gate.low), ("<=", gate.high)) if end is not None}
        return {name: condition for name, condition in found.items() if condition}

    def passes(self, name: str) -> np.ndarray:
        """Mask (n,) of the clips that pass one gate; a clip without a value fails a required one only."""
        gate = next(gate for gate in self.gates if gate.name == name)
        values, (low, high) = self.values[name], self.limits[name]
        with np.errstate(invalid="ignore"):
            fine = (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))
        return fine if gate.required else fine | np.isnan(values)

    def fits(self, rows: np.ndarray, rate: float | np.ndarray | None = None) -> np.ndarray:
        """Mask of the clips at rows that pass all gates. rate: characters a second of the line, see :meth:`rates`."""
        fine = self._passing[rows]
        if "line_rate" in self.values:
            low, high = self.limits["line_rate"]
            relative = self._relative(rows, rate)
            with np.errstate(invalid="ignore"):
                near = (relative >= (low or 0)) & (relative <= (np.inf if high is None else high))
            fine = fine & (near | np.isnan(relative))
        return fine

    def verdicts(self, row: int, rate: float | None = None) -> dict[str, dict[str, Any]]:
        """What each gate says of the clip at a row: value, low, high, unit and pass; pass is None where not judged."""
        found: dict[str, dict[str, Any]] = {}
        for gate in self.gates:
            value = float(self.values[gate.name][row])
            low, high = (None if end is None else float(end[row] if isinstance(end, np.ndarray) else end)
                         for end in self.limits[gate.name])  # fmt: skip
            if gate.name == "line_rate":
                value = float(self._relative(np.array([row]), rate)[0])
            known = bool(np.isfinite(value))
            fine = known and (low is None or value >= low) and (high is None or value <= high)
            verdict = fine if known or gate.required else None
            found[gate.name] = {"value": round(value, 4) if known else None, "low": low, "high": high,
                                "unit": gate.unit, "pass": verdict}  # fmt: skip
        for name in self.unjudged:
            found[name] = {"value": None, "low": None, "high": None, "unit": "", "pass": None}
        return found

    def counts(self, mask: np.ndarray | None = None) -> dict[str, Any]:
        """How many clips of a mask (n,) pass, and how many each gate alone removes.

        ``{"clips", "passing", "removed": {gate: n}, "unjudged": [gate]}``, gates that remove most first.
        """
        mask = np.ones(len(self.table), bool) if mask is None else mask
        removed = {gate.name: int(np.count_nonzero(mask & ~self.passes(gate.name)))
                   for gate in self.gates if gate.name != "line_rate"}  # fmt: skip
        return {
            "clips": int(mask.sum()),
            "passing": int(np.count_nonzero(mask & self._passing)),
            "removed": dict(sorted(removed.items(), key=lambda one: -one[1])),
            "unjudged": list(self.unjudged),
        }

    def _values(self, gate: Gate) -> np.ndarray | None:
        """A gate's value of each clip as float64 (n,), NaN where it has none; None where no clip can have one."""
        columns, n = self.table.columns, len(self.table)
        if gate.name == "transcript":
            return None if gate.column not in columns else _lengths(columns[gate.column])
        if gate.name == "nonverbal":
            return self._sounds()
        if gate.column not in columns:
            return None
        values = _numbers(columns[gate.column], gate.column)
        if gate.name == "loudness" and self.level and "peak" in columns:
            peak = np.maximum(_numbers(columns["peak"], "peak"), 1e-9)
            return np.minimum(TARGET_RMS, values * np.maximum(PEAK / peak, 1e-9)) if n else values
        return values

    def _limits(self, gate: Gate) -> tuple[Any, Any]:
        """A gate's limits: two numbers, or an array each where they depend on the clip's language."""
        if gate.name != "rate" or gate.low is not None or gate.high is not None:
            return gate.low, gate.high
        words = self._words
        known = {word: RATES.get(word.split("-")[0], RATES[""]) for word in set(words)}
        if len(known) <= 1:
            return next(iter(known.values()), RATES[""])
        return np.array([known[word][0] for word in words]), np.array([known[word][1] for word in words])

    def _sounds(self) -> np.ndarray | None:
        """Number of laughs, sobs and the like of each clip, by the column "nonverbal" and by its transcript."""
        columns, n = self.table.columns, len(self.table)
        if "nonverbal" not in columns and "transcript" not in columns:
            return None
        count = np.zeros(n)
        if "nonverbal" in columns:
            column = columns["nonverbal"]
            count += np.array([0 if v is None or v is False or str(v).strip() in ("", "0", "nan", "False", "no", "none")
                               else 1 for v in column.tolist()], float)  # fmt: skip
        if "transcript" in columns:
            count += np.array([len(nonverbal(str(v))) if v is not None else 0 for v in columns["transcript"].tolist()])
        return count

    def _usual_rate(self) -> dict[str, float]:
        """Median speaking rate of the passing clips, by language."""
        if "line_rate" not in self.values:
            return {}
        words, rates = np.array(self._words), self.values["line_rate"]
        known = np.isfinite(rates) & self._passing
        return {word: float(np.median(rates[known & (words == word)])) for word in sorted(set(words[known].tolist()))}

    def _relative(self, rows: np.ndarray, rate: Any) -> np.ndarray:
        """The clips' speaking rates over the line's, or over the usual one of their language where that is unknown."""
        rates = self.values["line_rate"][rows]
        if rate is not None:
            return rates / rate
        if len(self.usual_rate) == 1:
            return rates / next(iter(self.usual_rate.values()))
        return rates / np.array([self.usual_rate.get(self._words[row], np.nan) for row in np.asarray(rows).tolist()])


def _languages(table: Table) -> list[str]:
    """The language of each clip in lower case; "" where unknown."""
    if "language" not in table.columns:
        return [""] * len(table)
    return [
        "" if value is None else str(value).strip().lower().replace("_", "-")
        for value in table.columns["language"].tolist()
    ]


def _lengths(column: np.ndarray) -> np.ndarray:
    gaps = missing(column)
    return np.array([0 if gap else len(str(v).strip()) for v, gap in zip(column.tolist(), gaps, strict=True)], float)


def _numbers(column: np.ndarray, name: str) -> np.ndarray:
    """A column as float64, NaN where a value is missing. Raises BadData for one that holds no numbers."""
    kind = kind_of(column)
    if kind not in ("number", "integer", "empty", "boolean"):
        raise BadData(f"column '{name}' holds {kind}; expected numbers, as the data set clips measures them")
    gaps = missing(column)
    found = np.full(len(column), np.nan)
    found[~gaps] = column[~gaps].astype(np.float64)
    return found


def as_mapping(where: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """Two filters that must hold together as one; conditions on one column are joined."""
    joined = dict(where or {})
    for name, condition in more.items():
        joined[name] = _both(joined[name], condition) if name in joined else condition
    return joined


def _both(first: Any, second: Any) -> dict[str, Any]:
    """Two conditions on one column that must hold together, as operators with a list of values each."""
    one, other = (c if isinstance(c, Mapping) else {"==": c} for c in (first, second))
    joined: dict[str, Any] = {}
    for sign in dict.fromkeys([*one, *other]):
        values = [c[sign] for c in (one, other) if sign in c]
        if sign == "==" and len(values) == 2:
            sets = [set(v) if isinstance(v, (list, tuple, set, frozenset)) else {v} for v in values]
            joined[sign] = sorted(sets[0] & sets[1], key=repr)
            continue
        joined[sign] = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return joined
