"""Requests and answers of ``POST /prompts``, and what ``GET /prompts`` tells of engines and formats."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sensorium.serve.engine.requests import Hit, Name, Number, Side, Text, Where

MOST_LINES, MOST_GATES, MOST_COPIES = 1000, 32, 200
Positive = Annotated[Number, Field(gt=0)]


class PromptLine(BaseModel):
    """A line of a script: its text or vector, and what is known of how it is to be spoken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: Text | None = Field(None, description="what is to be spoken; it need not be encoded where there is a vector")
    vector: list[Number] | None = Field(None, min_length=1, description="of the line, as its side's encoder gives it")
    id: Name | None = Field(None, description="of the line; repeated in the answer and in exports")
    speaker: Name | None = Field(None, description="whose clips the line may have; with keep_speaker, a role")
    emotion: Name | None = Field(None, description="only clips of this emotion, or of one that is called so")
    duration: Positive | None = Field(None, description="seconds that the line is to take")
    rate: Positive | None = Field(None, description="characters a second that it is to be spoken at")
    clip: Name | None = Field(None, description="id of the clip that was chosen for the line already")

    def columns(self) -> dict[str, Any]:
        """What is known of the line, as a script's columns."""
        return {"id": self.id, "speaker": self.speaker, "emotion": self.emotion, "duration": self.duration,
                "rate": self.rate}  # fmt: skip


class PromptsRequest(BaseModel):
    """Lines to find prompts for, and the engine that the prompts are for."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    run: Name | None = Field(None, description="name of the run; needed when several are served")
    lines: list[Text | PromptLine] = Field(
        min_length=1, max_length=MOST_LINES, description="texts; or objects with a text or a vector each"
    )
    engine: Name = Field(
        "any", alias="for", description="whose gates the clips must pass, see GET /prompts; '' for no gates"
    )
    gates: list[Name] = Field(
        default_factory=list, max_length=MOST_GATES, description="other limits: duration=2..12, or noise=off"
    )
    failing: bool = Field(False, description="give clips that fail gates, too; each hit says which it passes")
    k: int = Field(1, ge=1, lt=2**31, description="clips for each line")
    where: Where | None = Field(None, description="conditions on the clips' columns, as of a search")
    speaker: Name | None = Field(None, description="the only speaker whose clips are taken")
    speaker_of: Name | None = Field(None, description="id of a clip; only clips of its speaker are taken")
    keep_speaker: bool = Field(False, description="one speaker for all lines, the one that suits them best")
    nonverbal: bool = Field(False, description="laughter and sobbing are wanted")
    level: bool = Field(
        False, description="clips will be brought to the usual loudness, and are judged as they are then"
    )
    rate: Positive | None = Field(None, description="characters a second of lines that do not say theirs")
    vary: int = Field(0, ge=0, le=1000, description="lines before, whose first clips are not taken again")
    mmr: float | None = Field(None, ge=0, le=1, description="λ of maximal marginal relevance: 1 is relevance alone")
    min_score: Number | None = Field(None, description="clips of a lower score are left out")
    from_: Side | None = Field(None, alias="from", description="the side of the lines, when not evident")
    as_: Name | None = Field(None, alias="as", description="answer with an export, see GET /prompts, in place of JSON")
    copies: bool = Field(
        False,
        description="with as: an archive with copies of the clips, at the engine's rate and, with level, level",
    )


class SpeakerRequest(BaseModel):
    """A recording whose voice is looked for in the library."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: Name | None = Field(None, description="name of the run; needed when several are served")
    side: Side | None = Field(None, description="of the clips, when not evident")
    audio: str = Field(min_length=1, description="a sound file, in base64")


class SpeakerAnswer(BaseModel):
    """The speaker whose clips are nearest. One is always the nearest, of a stranger's voice, too."""

    run: str
    speaker: str
    probability: float = Field(description="among the library's speakers")
    speakers: int = Field(description="that it was compared with")


class Verdict(BaseModel):
    """What a gate says of a clip: low ≤ value ≤ high, where null is no limit."""

    value: float | None = Field(description="of the clip; null where it is not known")
    low: float | None
    high: float | None
    unit: str
    passes: bool | None = Field(None, alias="pass", description="null where the gate cannot be judged")
    state: Literal["pass", "near", "fail", "unknown"] = Field(description="near: it passes, within a tenth of a limit")


class PromptHit(Hit):
    """A clip for a line."""

    gates: dict[str, Verdict] | None = Field(None, description="by gate; null without an engine")


class LineAnswer(BaseModel):
    """The clips for a line, best first. removed: by gate, how many clips it removes, of those the line may have."""

    line: int = Field(description="from 1")
    query: str = Field(description="the line's id, else its text, else its number")
    text: str | None
    speaker: str | None = Field(description="whose clips were asked for")
    clips: int = Field(description="that the line may have, by speaker, emotion and filter")
    passing: int = Field(description="those of them that pass every gate")
    removed: dict[str, int]
    unjudged: list[str] = Field(description="gates that the library has no numbers for")
    note: str | None = Field(description="why there are fewer clips than were asked for")
    hits: list[PromptHit]


class PromptsAnswer(BaseModel):
    """The clips for every line."""

    run: str
    side: Side = Field(description="of the clips")
    engine: str = Field(alias="for")
    took_ms: float
    cast: dict[str, str] = Field(
        description="speaker of each role, where speakers were chosen; '' is lines without one"
    )
    lines: list[LineAnswer]


class GateAbout(BaseModel):
    """A gate: low ≤ the clip's column ≤ high."""

    name: str
    column: str
    low: float | None
    high: float | None
    unit: str
    required: bool = Field(description="whether a clip without the number fails")
    about: str = Field(description="why there is such a limit, and whose it is")


class EngineAbout(BaseModel):
    """An engine and its gates. format: the export that it reads; that of the original where none is named."""

    name: str
    title: str
    about: str
    format: str
    gates: list[GateAbout]


class FormatAbout(BaseModel):
    """An export."""

    name: str
    about: str
    file: str = Field(description="what it is usually called")


class PromptsAbout(BaseModel):
    """Engines, exports and limits."""

    engines: list[EngineAbout]
    formats: list[FormatAbout]
    lines: int = Field(description="of one request, at most")
