"""Requests and answers of looks: ``POST /complete-look`` with several gaps, and the two GET routes of the original."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from sensorium import modalities
from sensorium.search.looks import CATEGORY, POOL
from sensorium.serve.engine.requests import Input, Name, Side, Where, modality_fields, with_fields

MOST_ITEMS, MOST_GAPS, MOST_LOOKS = 32, 8, 20
K = Annotated[int, Field(ge=1, lt=2**31)]


class ContextItem(Input):
    """One item of a look: by id; or, where it is not in the catalogue, its content (such as a picture) or vector."""

    category: Name | None = Field(None, description="of an item that is not in the catalogue, where it is known")


class LookRequest(BaseModel):
    """A look: its items, and the categories of those that it lacks."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: Name | None = Field(None, description="name of the run; needed when several are served")
    side: Side | None = Field(None, description="needed where a run has two sides and no id tells")
    context: Any = None  # of ContextItem, see document()
    gaps: list[Name] = Field(
        default_factory=list, max_length=MOST_GAPS, description="categories of what is missing; none: explain the look"
    )
    k: K = Field(10, description="completions of each gap")
    looks: int = Field(1, ge=1, le=MOST_LOOKS, description="whole looks to plan, each with one item in every gap")
    pool: K = Field(POOL, description="candidates of the index that are scored exactly and chosen from")
    mmr: float | None = Field(None, ge=0, le=1, description="λ of maximal marginal relevance: 1 is relevance alone")
    where: Where = Field(default_factory=dict, description="conditions on columns, as of a search")
    column: Name = Field(CATEGORY, description="the column that holds the categories")


def document() -> type[Any]:
    """The request, its items with a field for each modality that is found now."""
    item = with_fields(ContextItem, modality_fields())
    item.modalities = tuple(modalities.found())
    context = (list[item], Field(min_length=1, max_length=MOST_ITEMS, description="the items of the look"))  # type: ignore[valid-type]
    return create_model("LookRequest", __base__=LookRequest, __doc__=LookRequest.__doc__, context=context)


class SimilarAnswer(BaseModel):
    """The neighbours of an item, best first."""

    run: str
    query_id: str
    neighbors: list[str] = Field(description="ids, nearest first; the item itself is left out")
    scores: list[float] = Field(description="of each neighbour; higher is nearer")
    space: str = Field(description="encoder: by the frozen encoder's own vectors; head: by the head's")


class CompleteAnswer(BaseModel):
    """What completes a look, best first."""

    run: str
    query_id: str = Field(description="the ids of the look, as they were sent")
    context_ids: list[str]
    gap_category: str | None
    neighbors: list[str] = Field(description="ids, best first")
    scores: list[float] = Field(description="of each neighbour; higher is better")
    reasons: list[list[float]] = Field(description="of each neighbour, its score with each item of the look alone")


class BoardItem(BaseModel):
    """An item of the look. fit: its score by the others; null where it is alone."""

    id: str | None = Field(description="null where it is not in the catalogue")
    category: str
    fit: float | None


class Completion(BaseModel):
    """An item of the catalogue that may fill a gap."""

    rank: int = Field(description="from 1")
    id: str
    side: Side
    score: float = Field(description="higher is better")
    reasons: list[float] = Field(description="its score with each item of the look alone")
    kind: str = Field(description="what the item is shown as: image, audio, text or none")
    media: str | None = Field(description="where its picture or sound can be fetched")
    columns: dict[str, Any]


class FilledGap(BaseModel):
    """A gap and what may fill it, best first; empty where its category has nothing."""

    category: str
    hits: list[Completion]


class PlannedLook(BaseModel):
    """One item for each gap, chosen together. score: the mean of all fits."""

    score: float
    items: list[str | None] = Field(description="id of each gap's item, null where its category has nothing left")
    fit: list[float] = Field(description="of each item of the board, then of each chosen one: its score by the others")


class LookAnswer(BaseModel):
    """A look explained, completed and planned."""

    run: str
    side: Side
    took_ms: float
    context: list[BoardItem]
    score: float | None = Field(description="mean of the fits: how well the look goes together; null for one item")
    spoils: int | None = Field(description="place in context of the item that fits least, of three or more")
    gaps: list[FilledGap]
    looks: list[PlannedLook] = Field(description="whole looks, best first, where several gaps are asked for")
