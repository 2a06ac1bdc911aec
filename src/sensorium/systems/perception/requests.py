"""Documents of ``/faces``: what a client asks for, and what it is answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sensorium.serve.engine.requests import Name, Number, Whole

Method = Literal["tsne", "pca", "umap", "pacmap"]
Point = Annotated[list[Number], Field(min_length=3, max_length=3)]
Box = Annotated[list[float], Field(description="x, y, width, height, each in 0 … 1 of the picture")]


class Asked(BaseModel):
    """What is wanted of each frame; the first message of a socket."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: Name | None = Field(None, description="name of the run; by default the newest one that fits")
    k: int = Field(5, ge=0, lt=2**31, description="nearest prompts of each face")
    faces: int = Field(3, ge=1, lt=2**31, description="largest number of faces that are looked for")
    smooth: bool = Field(True, description="smooth values over time, with a label that does not flicker")
    place: bool | Method = Field(True, description="each face's place on the run's map; true is pca")


class VectorOrder(BaseModel):
    """A text message of an open socket: the vectors of a face as it was last seen, such as to make a picture of it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    vector: Whole = Field(description="id of the face")


class FacesRequest(Asked):
    """One picture, or numbers of faces."""

    smooth: Literal[False] = Field(False, description="one picture has nothing to be smoothed over")
    image: str | None = Field(None, min_length=1, description="a picture file, in base64")
    landmarks: list[list[Point]] | None = Field(
        None, description="for each face 478 landmarks x, y, z: as shares of the picture's width, height and width"
    )
    vectors: list[list[Number]] | None = Field(None, description="for each face its perception vector, 1441 numbers")


class PromptHit(BaseModel):
    """A prompt near a face."""

    id: str
    text: str
    score: float
    probability: float | None = Field(None, description="how likely the hit is right, where the run is calibrated")


class FaceAnswer(BaseModel):
    """One face. Landmarks and box are shares of the picture's width and height; the upper left corner is 0, 0."""

    id: int = Field(description="stays with the face while the socket is open")
    box: Box
    landmarks: list[list[float]] = Field(description="478 points x, y")
    emotions: list[float] = Field(description="probabilities, in the order of the answer to the first message")
    label: str = Field(description="the present emotion; it does not flicker where values are smoothed")
    prompts: list[PromptHit] = Field(description="the nearest first")
    no_match: bool | None = Field(
        None, description="whether even the nearest prompt is too far; null where the run has no threshold"
    )
    place: list[float] | None = Field(
        description="x, y on the run's map, as GET /runs/{run}/map gives its points; null while there is no map"
    )


class FacesAnswer(BaseModel):
    """The faces of one frame, the largest first; none is an empty list."""

    frame: int = Field(description="the frame's number, as it came")
    sent: int = Field(description="the client's milliseconds, as they came")
    took_ms: float = Field(description="from the arrival of the frame to this answer")
    dropped: int = Field(description="frames since the answer before that newer ones replaced")
    size: list[int] | None = Field(description="width and height of the picture; null for numbers")
    faces: list[FaceAnswer]


class FaceRun(BaseModel):
    """A served run that takes faces."""

    name: str
    side: Literal["left", "right"] = Field(description="of the faces")
    time: float = Field(description="when it was made, Unix time")
    encoder: bool = Field(description="whether the run has an encoder of its own; else its faces came as vectors")
    pictures: bool = Field(description="whether frames can be pictures")
    why: str | None = Field(description="why they cannot, and what to type")
    source: str | None = Field(description="what finds the landmarks in pictures")
    emotions: str | None = Field(description="the classifier of emotions for pictures")
    numbers: str | None = Field(description="the classifier of emotions where a client sends landmarks")
    prompts: int


class FacesAbout(BaseModel):
    """Runs that take faces, newest first; the others, with the reason; and limits."""

    emotions: list[str]
    points: int
    runs: list[FaceRun]
    others: dict[str, str] = Field(description="by name: why a run cannot be used, and what to type")
    why: str | None = Field(description="why there is no run at all, and what to type")
    limits: dict[str, Any]
