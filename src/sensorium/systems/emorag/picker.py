"""Prompts for lines: the clips that fit each line best among those that pass an engine's gates.

In the thread of the clips' index, whose rows must not move while a picker is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium.errors import BadRecipe
from sensorium.numerics import affect
from sensorium.search import lines as many
from sensorium.search import media
from sensorium.search.lines import Allowed, Choice, Finder
from sensorium.search.query import Options
from sensorium.search.script import Script
from sensorium.systems.emorag import profiles, speakers
from sensorium.systems.emorag.gates import Gates, as_mapping
from sensorium.systems.emorag.voices import NearestVoice, Voices

if TYPE_CHECKING:
    from sensorium.search.run import Run

_FEW = 4  # the filter names clips by id where the plain conditions leave so many times more than pass


@dataclass(frozen=True)
class Wanted:
    """What the prompts are for.

    engine: name of a profile, "" for no gates. k: prompts for each line. gates: changes of the profile, see
    ``Profile.changed``. where: further conditions on the clips, see ``Table.where``. speaker: whose clips. speaker_of:
    a clip, by id or file, whose speaker it is; of a recording from elsewhere, the speaker whose voice is nearest.
    files: speaker_of may name a file of this machine. keep_speaker: one speaker throughout a script, or one for each of
    its speakers; chosen where none is named. sounds: laughter and sobbing are welcome. level: clips will be brought to
    the usual level when they are written. rate: characters a second that the lines will be spoken at, where the script
    does not say. vary: lines before, whose clips are not taken again. mmr, min_score, corrected: as in ``Run.search``.
    distinct: a column of which each value gets one prompt a line. side, to: of the lines and the clips, where not
    evident.
    """

    engine: str = "any"
    k: int = 1
    gates: Sequence[str] = ()
    where: Mapping[str, Any] | None = None
    speaker: str | None = None
    speaker_of: str | Path | None = None
    keep_speaker: bool = False
    sounds: bool = False
    level: bool = False
    rate: float | None = None
    vary: int = 0
    mmr: float | None = None
    min_score: float | None = None
    corrected: bool = True
    distinct: str | None = None
    side: str | None = None
    to: str | None = None
    files: bool = True

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate < np.inf:
            raise BadRecipe(f"rate={self.rate}; expected characters a second, such as 14")
        if self.speaker is not None and self.speaker_of is not None:
            raise BadRecipe("give speaker or speaker_of, not both")


class Picker(Allowed):
    """Finds the prompts of a script's lines.

    side: of the lines. Attributes: to, the clips' side; gates (None without an engine); cast, role → speaker, where a
    speaker is kept: see :meth:`prepare`; voice, the speaker whose voice is nearest to ``wanted.speaker_of``, where that
    is a recording from elsewhere.

    Raises BadRecipe for an unknown engine, gate, column or speaker, BadData for a gate that the clips cannot be judged
    by.
    """

    def __init__(
        self, run: Run, side: str, script: Script, wanted: Wanted, index: Any = None, gates: Gates | None = None
    ) -> None:
        self.run, self.script, self.wanted = run, script, wanted
        options = Options(wanted.k, wanted.to, wanted.where, wanted.corrected)
        self.finder = Finder(run, side, options, Choice(wanted.k, wanted.mmr, wanted.min_score, None, wanted.vary),
                             self, index)  # fmt: skip
        self.to, self.index = self.finder.query.to, self.finder.found_in
        self.table = self.index.table
        if wanted.distinct is not None:
            self.finder.choice = Choice(wanted.k, wanted.mmr, wanted.min_score,
                                        self.table.codes(wanted.distinct, "collapse").codes, wanted.vary)  # fmt: skip
        profile = profiles.find(wanted.engine).changed(wanted.gates) if wanted.engine else None
        if profile is None and wanted.gates:
            raise BadRecipe("gates are an engine's; name one, such as --for any")
        self.gates = (
            gates if gates is not None or profile is None else Gates(self.table, profile, wanted.level, wanted.sounds)
        )
        self.cast: dict[str, str] = {}
        self.voice: NearestVoice | None = None
        self._speaker = self._named_speaker()
        self._emotions: dict[str, list[str]] = {}
        self._wheres: dict[tuple[str | None, str | None], Mapping[str, Any]] = {}
        self._counts: dict[tuple[str | None, str | None], dict[str, Any]] = {}
        self._media: Any = None
        self._paths: dict[str, Path | None] = {}
        self._check_speakers()

    def begin(self, script: Script) -> None:
        """Pick for another script, from its first line on; what is known of the clips stays.

        Raises BadRecipe for a speaker that the library does not have.
        """
        self.script, self.cast = script, {}
        self.finder.recent.clear()
        self._check_speakers()

    @property
    def about(self) -> str:
        """All that the prompts depend on but the script and the run."""
        return repr((self.wanted, None if self.gates is None else self.gates.profile))

    def notes(self) -> list[str]:
        """Which speakers were chosen, which gates were not judged, and what would let more clips pass."""
        chosen = {role: speaker for role, speaker in self.cast.items() if role != speaker}
        found = [f"speaker {speaker} speaks {role or 'the lines'}" for role, speaker in chosen.items()]
        if self.voice is not None:
            found.append(
                f"{self.wanted.speaker_of} is none of the library's clips; of its speakers, {self.voice.speaker} "
                f"sounds most like it (probability {self.voice.probability:.2f} among them)"
            )
        if self.gates is None:
            return found
        counts = self.counts()
        if counts["unjudged"]:
            found.append(f"not judged, as the clips have no numbers for it: {', '.join(counts['unjudged'])}")
        quiet = counts["removed"].get("loudness", 0)
        if quiet * 2 > counts["clips"] and not self.wanted.level:
            found.append(
                f"{quiet:,} of {counts['clips']:,} clips are too quiet or too loud; --level with --as FORMAT "
                "--copy-to FOLDER brings them to the usual loudness"
            )
        return found

    def prepare(self, encoded: many.Encoded) -> None:
        """Encode the script and choose speakers for it, where they are to be kept and none is named."""
        if self.wanted.keep_speaker and self._speaker is None:
            lines = np.flatnonzero(~self.script.empty).tolist()
            self.choose_speakers(encoded.vectors(lines), lines)

    def go_on(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Remember the clips of the lines before, where a script goes on."""
        self.finder.remember(record["hits"][0]["id"] for record in records if record["hits"])

    def choose_speakers(self, z: np.ndarray, lines: Sequence[int]) -> None:
        """Give each role of the script the speaker that suits its lines best. z (m, d): the vectors of these lines."""
        mask = self._where_mask(self.wanted.where)
        mask &= self.gates.passing if self.gates is not None else True
        there = {str(one) for one in set(speakers.column(self.table, self.run).tolist()) if one is not None}
        roles = [self.script.value("speaker", line) for line in lines]
        places = speakers.roles_of(roles, range(len(lines)))
        own = {role: role for role in places if role in there}
        others = {role: rows for role, rows in places.items() if role not in there}
        taken = np.isin(np.array([str(one) for one in speakers.column(self.table, self.run).tolist()]), list(own))
        free = mask & ~taken
        self.cast = own | speakers.cast(z, self.table, self.run, others, free if free.any() else mask, self.index)

    def pick(self, z: np.ndarray, lines: Sequence[int]) -> list[dict[str, Any]]:
        """A record for each line, whose vectors are (m, d): see :meth:`record`."""
        found = self.finder.find(z, lines)
        return [self.record(line, many.hits(self.run, self.to, ranked), ranked.rows)
                for line, ranked in zip(lines, found, strict=True)]  # fmt: skip

    def record(self, line: int, hits: Sequence[Mapping[str, Any]] = (), rows: Any = ()) -> dict[str, Any]:
        """The record of a line: ``{"line", "query", "text", "speaker", "emotion", "hits", "note"}``.

        ``query`` is the line's id or text, ``speaker`` whose clips were asked for. Each hit has its columns, ``path``
        of its file where it is one, and ``gates``, see :meth:`Gates.verdicts`. ``note`` says why there are fewer hits
        than were asked for; None otherwise.
        """
        script = self.script
        record: dict[str, Any] = {
            **script.heading(line),
            "speaker": self.speaker(line),
            "emotion": script.value("emotion", line),
            "hits": [],
            "note": None,
        }
        rate = self.rate(line)
        for hit, row in zip(hits, np.asarray(rows).tolist(), strict=True):
            path = self.path(hit["id"], hit.get("metadata", {}))
            more: dict[str, Any] = {} if path is None else {"path": str(path)}
            if self.gates is not None:
                more["gates"] = self.gates.verdicts(row, rate)
            record["hits"].append({**hit, **more})
        if script.empty_at(line):
            record["note"] = "the line is empty"
        elif len(record["hits"]) < self.wanted.k:
            record["note"] = self.why_few(line, len(record["hits"]))
        return record

    def path(self, id: str, columns: Mapping[str, Any]) -> Path | None:
        """The file of a clip; None for one that is packed in the run, or that is not there any more."""
        if id not in self._paths:
            self._paths[id] = self._path(id, columns)
        return self._paths[id]

    def _path(self, id: str, columns: Mapping[str, Any]) -> Path | None:
        if self._media is None:
            self._media = media.open(self.run.folder, self.to) or {}
        found = self._media.get(id)
        if found is not None:
            return found[1] if isinstance(found[1], Path) else None
        written = columns.get("path")
        return Path(written) if isinstance(written, str) and written and Path(written).is_file() else None

    def counts(self, line: int | None = None) -> dict[str, Any]:
        """How many clips each gate removes: of all, or of those that a line may have: see :meth:`Gates.counts`."""
        key = (None, None) if line is None else (self.speaker(line), self.script.value("emotion", line))
        if key not in self._counts:
            where = as_mapping(self.wanted.where, {} if line is None else self._asked(*key))
            mask = self._where_mask(where)
            plain = {"clips": int(mask.sum()), "passing": int(mask.sum()), "removed": {}, "unjudged": []}
            self._counts[key] = plain if self.gates is None else self.gates.counts(mask)
        return self._counts[key]

    def speaker(self, line: int) -> str | None:
        """Whose clips a line is given; None for anybody's."""
        if self._speaker is not None:
            return self._speaker
        role = self.script.value("speaker", line)
        return self.cast.get(role or "") if self.cast else role

    def rate(self, line: int) -> float | None:
        """Characters a second that a line will be spoken at, by its own rate or duration; None where unknown."""
        own, seconds = self.script.value("rate", line), self.script.value("duration", line)
        if own is not None:
            return float(own)
        text = self.script.texts[line]
        if seconds is not None and text:
            return len(text.strip()) / float(seconds)
        return self.wanted.rate

    def where(self, line: int) -> Mapping[str, Any]:
        """Conditions that every clip the line may have meets."""
        key = self.speaker(line), self.script.value("emotion", line)
        if key not in self._wheres:
            asked = as_mapping(self.wanted.where, self._asked(*key))
            if self.gates is not None:
                plain = as_mapping(asked, self.gates.where)
                passing = self.gates.passing & self._where_mask(asked)
                few = np.count_nonzero(passing) * _FEW < np.count_nonzero(self._where_mask(plain))
                asked = {"id": self.table.ids[passing].tolist()} if few and passing.any() else plain
            self._wheres[key] = asked
        return self._wheres[key]

    def mask(self, rows: np.ndarray, line: int) -> np.ndarray | None:
        """Mask of the rows that pass the gates, for what conditions cannot say."""
        return None if self.gates is None else self.gates.fits(rows, self.rate(line))

    def _asked(self, speaker: str | None, emotion: str | None) -> dict[str, Any]:
        """The conditions of a line's own speaker and emotion."""
        asked: dict[str, Any] = {}
        if speaker is not None:
            asked[speakers.COLUMN] = speaker
        if emotion is not None:
            asked["emotion"] = self._same_emotion(emotion)
        return asked

    def _same_emotion(self, word: str) -> list[str]:
        """The library's words for an emotion, such as "fearful" for "fear"; of no clip: the nearest by its ratings."""
        if word not in self._emotions:
            if "emotion" not in self.table.columns:
                raise BadRecipe(
                    f"{self.script.where} names emotions, but the clips of {self.run.folder} have no column 'emotion'; "
                    "leave the column out of the script, or make the run with data.table=TABLE with a column emotion"
                )
            words = sorted({str(one) for one in set(self.table.columns["emotion"].tolist()) if one is not None})
            same = [one for one in words if affect.canonical(one) == affect.canonical(word)]
            if not same and affect.vad(word) is not None:
                rated = [one for one in words if affect.vad(one) is not None]
                if rated:
                    same = [rated[int(affect.distances([word], rated)[0].argmin())]]
            if not same:
                raise BadRecipe(
                    f"{self.script.where}: no clip has the emotion '{word}'; the library has {', '.join(words)}"
                )
            self._emotions[word] = same
        return self._emotions[word]

    def _named_speaker(self) -> str | None:
        clip = self.wanted.speaker_of
        if clip is not None:
            known = speakers.of_clip(self.run, self.to, clip, self.wanted.files)
            if known is None:
                self.voice = Voices(self.run, self.to).of_file(clip)
            return known or self.voice.speaker
        return None if self.wanted.speaker is None else speakers.known(self.table, self.run, self.wanted.speaker)

    def _check_speakers(self) -> None:
        """Raise BadRecipe for speakers of the script that the library does not have, unless they are to be chosen."""
        if self._speaker is not None or "speaker" not in self.script.columns or self.wanted.keep_speaker:
            return
        for line, speaker in enumerate(self.script.columns["speaker"]):
            if speaker is not None:
                try:
                    speakers.known(self.table, self.run, speaker)
                except BadRecipe as error:
                    raise BadRecipe(
                        f"{self.script.named(line)}: {error}; or let speakers be chosen: --keep-speaker"
                    ) from None

    def _where_mask(self, where: Mapping[str, Any] | None) -> np.ndarray:
        return self.table.where(where) if where else np.ones(len(self.table), bool)

    def why_few(self, line: int, found: int) -> str:
        """Why a line has fewer prompts than were asked for."""
        counts = self.counts(line)
        most = [f"{name} removes {n:,}" for name, n in counts["removed"].items() if n][:4]
        text = f"{found} of {self.wanted.k} prompts: {counts['passing']:,} of {counts['clips']:,} clips pass"
        if most:
            text += f"; {', '.join(most)}"
        if found < min(self.wanted.k, counts["passing"]):
            text += "; others do not fit the line's speaking rate or the least score"
        return text
