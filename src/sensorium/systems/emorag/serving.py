"""Prompts of a served run: picked in batches in the thread of the clips' index, as JSON or as an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import orjson

from sensorium.errors import SensoriumError
from sensorium.search import lines as many
from sensorium.search.query import Input, Options, resolve
from sensorium.search.ranking import Ranked
from sensorium.search.script import Script
from sensorium.serve.engine.batching import Batcher
from sensorium.serve.engine.workers import Workers
from sensorium.serve.problems import Problem
from sensorium.systems.emorag import profiles
from sensorium.systems.emorag.gates import Gates
from sensorium.systems.emorag.picker import Picker, Wanted
from sensorium.systems.emorag.voices import NearestVoice, Voices
from sensorium.table import Table

_PICKERS = 32  # of one side that are kept, each with what its gates say of every clip
_NEAR = 0.1  # share of a limit within which a number is near it
_STEPS = ("Hz", "tags", "characters")  # units of numbers that are right or wrong, not near


@dataclass(frozen=True)
class Ask:
    """The lines of a request. raw (m, d_in): their vectors as the encoder of side ``side`` gives them.

    failing: clips that fail gates are given, too. chosen: line → id of the clip that it has already. export: records
    are wanted, in place of JSON.
    """

    script: Script
    raw: np.ndarray
    side: str
    wanted: Wanted
    failing: bool = False
    chosen: Mapping[int, str] = field(default_factory=dict)
    export: bool = False

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for requests that one picker serves."""
        return self.side, repr(self.wanted), str(self.failing)

    @property
    def is_alone(self) -> bool:
        """Whether its lines cannot be picked together with those of another request."""
        return self.export or self.wanted.keep_speaker or self.wanted.vary > 0


@dataclass(frozen=True)
class Answer:
    """lines: JSON of each line; records, see :meth:`Picker.record`, where an export is asked for, and their picker.

    cast: role → speaker, where they were chosen.
    """

    lines: list[Any]
    cast: dict[str, str]
    picker: Picker | None = None


@dataclass
class Desk:
    """What is known for one kind of request: a picker, and the gates that its hits are judged by."""

    table: Table
    picker: Picker
    gates: Gates | None
    lost: list[str]
    counts: dict[Any, dict[str, Any]] = field(default_factory=dict)


def side_of_clips(workers: Workers, side: str) -> str:
    """The side that is searched by lines of a side."""
    return resolve(workers.run, [Input(side)], Options(1)).to


def prompts(workers: Workers, to: str, ask: Ask) -> Any:
    """The :class:`Answer` to a request: an awaitable. Raises problems, and what :class:`Picker` raises."""
    key = "prompts", to
    if key not in workers.kept:
        searching = workers.sides[to].searching
        desks: dict[tuple[str, ...], Desk] = {}
        answer = partial(_answer, workers, to, desks)
        workers.kept[key] = Batcher(answer, searching.most, searching.wait, searching.thread)
    return workers.kept[key].submit(ask)


async def nearest_voice(workers: Workers, to: str, raw: np.ndarray) -> tuple[NearestVoice, int]:
    """The speaker nearest to a recording's raw vector, and of how many. Raises what :class:`Voices` raises."""

    def find() -> tuple[NearestVoice, int]:
        table, kept = workers.run.index(to).table, workers.kept.get(("voices", to))
        if kept is None or kept[0] is not table:  # clips were added or removed since
            kept = workers.kept["voices", to] = table, Voices(workers.run, to)
        return kept[1].nearest(raw), len(kept[1].names)

    return await workers.sides[to].searching.do(find)


def _answer(workers: Workers, to: str, desks: dict[tuple[str, ...], Desk], asks: Sequence[Ask]) -> list[Any]:
    """The answers to several requests; the lines of those of one kind are one pass of the index."""
    answers: list[Any] = [None] * len(asks)
    groups: dict[Any, list[int]] = {}
    for at, ask in enumerate(asks):
        groups.setdefault((ask.key, at) if ask.is_alone else ask.key, []).append(at)
    for places in groups.values():
        try:
            together = _together([asks[at] for at in places])
            answer = _pick(workers, to, _desk(workers, to, desks, together), together)
        except (Problem, SensoriumError) as error:
            if len(places) > 1:  # one of them is wrong: each by itself
                for at in places:
                    answers[at] = _answer(workers, to, desks, [asks[at]])[0]
            else:
                answers[places[0]] = error
            continue
        start = 0
        for at in places:
            n = len(asks[at].script)
            answers[at] = replace(answer, lines=answer.lines[start : start + n])
            start += n
    return answers


def _together(asks: Sequence[Ask]) -> Ask:
    """The lines of several requests of one kind as one."""
    if len(asks) == 1:
        return asks[0]
    names = {name for ask in asks for name in ask.script.columns}
    columns = {
        name: [ask.script.value(name, line) for ask in asks for line in range(len(ask.script))] for name in names
    }
    chosen, start = {}, 0
    for ask in asks:
        chosen |= {line + start: id for line, id in ask.chosen.items()}
        start += len(ask.script)
    texts = [text for ask in asks for text in ask.script.texts]
    return replace(
        asks[0], script=Script(texts, None, columns), raw=np.concatenate([a.raw for a in asks]), chosen=chosen
    )


def _desk(workers: Workers, to: str, desks: dict[tuple[str, ...], Desk], ask: Ask) -> Desk:
    """The desk of a request, ready for its lines; made anew where clips were added or removed since."""
    table, desk = workers.run.index(to).table, desks.get(ask.key)
    if desk is not None and desk.table is table:
        desk.picker.begin(ask.script)
        return desk
    wanted, gates, lost = ask.wanted, None, []
    if wanted.engine:
        profile = profiles.find(wanted.engine).changed(wanted.gates)
        if ask.failing:
            lost = [gate.name for gate in profile.gates if gate.required and gate.column not in table.columns]
            profile = profile.changed([f"{name}=off" for name in lost])
        gates = _gates(table, profile, wanted, desks)
    if ask.failing:
        wanted = replace(wanted, engine="", gates=())
    picker = Picker(workers.run, ask.side, ask.script, wanted, gates=None if ask.failing else gates)
    desk = Desk(table, picker, gates, lost)
    desks.pop(ask.key, None)
    while len(desks) >= _PICKERS or any(one.table is not table for one in desks.values()):
        desks.pop(next((key for key, one in desks.items() if one.table is not table), next(iter(desks))))
    desks[ask.key] = desk
    return desk


def _gates(table: Table, profile: profiles.Profile, wanted: Wanted, desks: Mapping[Any, Desk]) -> Gates:
    """The gates of a profile over a table: those of another desk, or new ones. They hold every clip's numbers."""
    gates = Gates.key(profile, wanted.level, wanted.sounds)
    for desk in desks.values():
        if desk.table is table and desk.gates is not None and desk.gates.about == gates:
            return desk.gates
    return Gates(table, profile, wanted.level, wanted.sounds)


def _pick(workers: Workers, to: str, desk: Desk, ask: Ask) -> Answer:
    run, picker, lines = workers.run, desk.picker, range(len(ask.script))
    z = run.project(ask.side, ask.raw)
    if ask.wanted.keep_speaker and ask.wanted.speaker is None and ask.wanted.speaker_of is None:
        picker.choose_speakers(z, lines)
    found = picker.finder.find(z, lines)
    for line, id in ask.chosen.items():
        row = run.places(to).row(id)
        if row < 0:
            raise Problem(404, f"no item '{id}' on the {run.names[to]} side of run '{workers.name}'")
        rows = np.array([row])
        found[line] = Ranked(rows, picker.index.vectors(rows) @ z[line])
    if ask.export:
        records = [
            picker.record(line, many.hits(run, to, one), one.rows) for line, one in zip(lines, found, strict=True)
        ]
        return Answer(records, dict(picker.cast), picker)
    return Answer(
        [_line(workers, to, desk, line, one) for line, one in zip(lines, found, strict=True)], dict(picker.cast)
    )


def _line(workers: Workers, to: str, desk: Desk, line: int, ranked: Ranked) -> bytes:
    """A LineAnswer without its number, as JSON."""
    picker, script = desk.picker, desk.picker.script
    counts, text = _counts(desk, line), script.texts[line]
    few = len(ranked.rows) < picker.wanted.k
    head = {
        "query": script.value("id", line) or text,
        "text": text,
        "speaker": picker.speaker(line),
        "clips": counts["clips"],
        "passing": counts["passing"],
        "removed": {name: n for name, n in counts["removed"].items() if n},
        "unjudged": [*counts["unjudged"], *desk.lost],
        "note": picker.why_few(line, len(ranked.rows)) if few else None,
    }
    hits, rate = workers.fragments(to, ranked), picker.rate(line)
    if desk.gates is not None:
        judged = [orjson.dumps(_verdicts(desk, row, rate)) for row in ranked.rows.tolist()]
        hits = [b'%b,"gates":%b}' % (hit[:-1], gates) for hit, gates in zip(hits, judged, strict=True)]
    return b'%b,"hits":[%b]}' % (orjson.dumps(head)[1:-1], b",".join(hits))


def _counts(desk: Desk, line: int) -> dict[str, Any]:
    picker = desk.picker
    if desk.gates is picker.gates:
        return picker.counts(line)
    key = picker.speaker(line), picker.script.value("emotion", line)
    if key not in desk.counts and desk.gates is not None:
        desk.counts[key] = desk.gates.counts(desk.table.where(picker.where(line)))
    return desk.counts[key]


def _verdicts(desk: Desk, row: int, rate: float | None) -> dict[str, dict[str, Any]]:
    assert desk.gates is not None
    found = desk.gates.verdicts(row, rate)
    for name in desk.lost:
        found[name] = {"value": None, "low": None, "high": None, "unit": "", "pass": None}
    for verdict in found.values():
        verdict["state"] = state_of(verdict)
    return found


def state_of(verdict: Mapping[str, Any]) -> str:
    """ "pass", "near" (it passes, within a tenth of a limit), "fail" or "unknown".

    >>> state_of({"pass": True, "value": 3.2, "low": 3.0, "high": 10.0, "unit": "s"})
    'near'
    """
    if verdict["pass"] is None:
        return "unknown"
    if not verdict["pass"]:
        return "fail"
    value, low, high = verdict["value"], verdict["low"], verdict["high"]
    near = (low is not None and low > 0 and value < low * (1 + _NEAR)) or (
        high is not None and high > 0 and value > high * (1 - _NEAR)
    )
    return "near" if near and verdict["unit"] not in _STEPS else "pass"
