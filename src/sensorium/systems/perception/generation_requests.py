"""Documents of the routes of generation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sensorium.serve.problems import ProblemDocument
from sensorium.systems.perception import conditioning, styles
from sensorium.systems.perception.generation import MOST_SIDE, MOST_STEPS

Text = Annotated[str, Field(max_length=2000)]


class GenerationRequest(BaseModel):
    """A picture to make from one face: exactly one of vector, face and id."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    run: str | None = Field(None, description="the run whose head projects; by default the only one, or the first")
    vector: list[float] | None = Field(
        None, description="the face as its encoder gives it: 1441 numbers, or the 1434 of its landmarks alone"
    )
    face: str | None = Field(None, description="a picture of a face, its file in base64")
    id: str | None = Field(None, description="an item of the run")
    from_: Literal["left", "right"] = Field("left", alias="from", description="the side of faces")
    mode: Literal[tuple(conditioning.MODES)] = Field("blend", description="how the vector conditions")  # type: ignore[valid-type]
    strength: float | None = Field(None, ge=0, le=1, description="0: the prompt alone; by default the mode's")
    style: Literal[tuple(styles.STYLES)] = Field("abstract", description="what is added to the prompt")  # type: ignore[valid-type]
    prompt: Text = Field("", description="what is to be seen; by default the style's subject")
    negative: Text | None = Field(None, description="what is not to be seen; by default the style's")
    emotion: Literal[("", *styles.MOODS)] = Field("", description="an emotion whose words are added")  # type: ignore[valid-type]
    steps: int | None = Field(None, ge=1, le=MOST_STEPS, description="by default what is usual for the model")
    guidance: float | None = Field(None, ge=0, le=30, description="weight of the prompt; by default the model's")
    seed: int | None = Field(None, ge=0, lt=2**53, description="by default one is drawn, and told")
    width: int | None = Field(None, ge=64, le=MOST_SIDE, multiple_of=8, description="pixels; by default the model's")
    height: int | None = Field(None, ge=64, le=MOST_SIDE, multiple_of=8, description="pixels; by default the model's")


class GenerationState(BaseModel):
    """A picture that was asked for. position: in the queue, from 1. picture: where it can be fetched."""

    id: str
    state: Literal["queued", "loading", "running", "done", "failed", "cancelled"]
    position: int
    step: int
    steps: int
    events: str = Field(description="the path of its server-sent events")
    picture: str | None = None
    settings: dict[str, Any] | None = None
    problem: ProblemDocument | None = None


class StyleAbout(BaseModel):
    """A style. subject: the prompt where none is given."""

    name: str
    title: str
    subject: str
    look: str
    avoid: str


class ModeAbout(BaseModel):
    """A way to condition, and its default strength."""

    name: str
    about: str
    strength: float


class GenerationAbout(BaseModel):
    """What this server can make. ready: whether a picture can be asked for; detail: why not, and what to type."""

    ready: bool
    detail: str | None = None
    run: str | None = None
    model: str | None = None
    licence: str | None = None
    safety_checker: bool | None = None
    width: int | None = Field(None, description="numbers of the vectors that the model conditions on")
    size: int | None = Field(None, description="pixels of a side by default")
    steps: int | None = Field(None, description="steps by default")
    most_steps: int
    guidance: float | None = None
    waiting: int = Field(description="pictures that wait")
    keep_seconds: float = Field(description="how long a picture can be fetched")
    styles: list[StyleAbout]
    modes: list[ModeAbout]
