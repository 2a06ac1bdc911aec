"""Request documents with a field for each modality that is found, and the answer of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, create_model

from sensorium import modalities
from sensorium.serve.problems import Problem

Side = Literal["left", "right"]
#: Query parameters of the routes of one item, besides its id.
RunQuery = Annotated[str | None, Query(description="name of the run; needed when several are served")]
SideQuery = Annotated[Side | None, Query(description="needed when both sides have an item of this id")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Name = Annotated[str, Field(max_length=500)]
Value = Annotated[str, Field(max_length=10_000)] | bool | Whole | Number
Id = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
Operator = Literal["==", "!=", "<", "<=", ">", ">=", "contains"]
Text = Annotated[str, Field(min_length=1)]
Where = dict[Name, Value | list[Value | None] | dict[Operator, Value | list[Value | None] | None] | None]


class Input(BaseModel):
    """One input: exactly one modality (text, or a file in base64), id or vector."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)
    modalities: ClassVar[tuple[str, ...]] = ()

    id: Name | None = Field(None, description="an item of the run")
    vector: list[Number] | None = Field(None, min_length=1, description="a vector as the side's encoder gives it")
    from_: Side | None = Field(None, alias="from", description="the side the input belongs to, when not evident")

    def inputs(self, *others: str) -> dict[str, Any]:
        """The inputs that are not None, by name: modalities, and ``others``."""
        return {name: value for name in (*self.modalities, *others) if (value := getattr(self, name)) is not None}

    def single(self, *others: str) -> tuple[str, Any]:
        """Name and value of the one input. Raises a 400 problem for none or several."""
        found = self.inputs(*others)
        if len(found) != 1:
            got = ", ".join(found) or "none"
            raise Problem(400, f"give exactly one of {', '.join((*self.modalities, *others))}; got {got}")
        return next(iter(found.items()))


class Weighted(Input):
    """One input of a combined search. Each input counts at unit length, times its weight."""

    weight: Number = Field(1.0, ge=-1e6, le=1e6, description="may be negative, to move away from an input")


class SearchRequest(Input):
    """A search: one input, or several weighted ones under ``queries``."""

    run: Name | None = Field(None, description="name of the run; needed when several are served")
    queries: list[Any] | None = None  # of Weighted, see documents()
    k: int = Field(10, ge=1, lt=2**31, description="how many to find")
    to: Side | None = Field(None, description="the side to search; by default the other one")
    where: Where | None = Field(
        None, description="column: value, [any of these], or {operator: value}; null is what is missing"
    )
    corrected: bool = Field(True, description="apply the run's hubness correction, if it has one")
    space: Literal["head", "encoder"] = Field(
        "head", description="encoder: neighbours by the frozen encoder's own vectors, on the input's own side"
    )
    mmr: float | None = Field(None, ge=0, le=1, description="λ of maximal marginal relevance: 1 is relevance alone")
    pool: int | None = Field(None, ge=1, lt=2**31, description="candidates that mmr chooses from; by default 5 k")
    gap_category: Name | None = Field(
        None, description="the inputs are items of one set, and the hits are items of this category that complete it"
    )
    facets: list[Name] | None = Field(
        None, min_length=1, max_length=100, description="columns whose values are counted; they need no input"
    )
    collapse: Name | None = Field(
        None,
        description="a column; one hit for each of its values, so that k counts groups. "
        "Windows of long sounds collapse by recording; none: every window",
    )
    collapse_size: int = Field(1, ge=1, le=1000, description="items of a group: its hit, and the further ones in it")
    min_score: Number | None = Field(None, description="hits of a lower score are left out")
    fallback: Where | None = Field(
        None, description="where fewer than k are found: the filter, in place of where, of a search that fills them up"
    )


class NewItem(Input):
    """An item to add: its content (text, a file in base64, or a vector) and its columns."""

    id: Id = Field(description="a new id, or one to replace")
    run: Name | None = Field(None, description="name of the run; needed when several are served")
    side: Side = Field(description="the side to add to")
    columns: dict[Name, str | bool | Whole | Number] = Field(
        default_factory=dict, description="values of the side's columns; what is left out is empty"
    )
    replace: bool = Field(False, description="take the place of an item that has this id")


class EncodeRequest(BaseModel):
    """Items of one modality to encode: texts, or files in base64."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run: Name | None = Field(None, description="name of the run; needed when several are served")
    side: Side | None = Field(None, description="needed when both sides take this kind")
    space: Literal["head", "encoder"] = Field("head", description="the shared space, or the encoder's own")


@dataclass(frozen=True)
class Documents:
    """The request documents of one application. files: the modalities whose items are files."""

    modalities: tuple[str, ...]
    files: tuple[str, ...]
    search: type[Any]
    item: type[Any]
    encode: type[Any]


def documents() -> Documents:
    """The request documents, with a field for each modality that is found now."""
    found, one = modalities.found(), modality_fields()
    many = {
        name: (list[str if modality.is_file else Text] | None, Field(None, min_length=1))  # type: ignore[misc]
        for name, modality in found.items()
    }
    weighted = with_fields(Weighted, one)
    queries = (list[weighted] | None, Field(None, min_length=1, description="inputs of a combined search"))  # type: ignore[valid-type]
    search = with_fields(SearchRequest, {**one, "queries": queries})
    item = with_fields(NewItem, one)
    for model in (weighted, search, item):
        model.modalities = tuple(found)
    files = tuple(name for name, modality in found.items() if modality.is_file)
    return Documents(tuple(found), files, search, item, with_fields(EncodeRequest, many))


def modality_fields() -> dict[str, Any]:
    """A field for each modality that is found now: text as it is, a file in base64."""
    return {
        name: (str | None, Field(None, description=f"{modality.query}, in base64"))
        if modality.is_file
        else (str | None, Field(None, min_length=1, description=modality.query))
        for name, modality in modalities.found().items()
    }


def with_fields(model: type[BaseModel], fields: dict[str, Any]) -> Any:
    """A model of the same name with more fields."""
    return create_model(model.__name__, __base__=model, __doc__=model.__doc__, **fields)


class Hit(BaseModel):
    """One hit."""

    rank: int = Field(description="from 1")
    id: str
    side: Side
    score: float
    probability: float | None = Field(None, description="how likely the hit is right, where the run is calibrated")
    kind: Literal["image", "audio", "text", "none"] = Field(description="what the item is shown as")
    media: str | None = Field(description="where its picture or sound can be fetched")
    columns: dict[str, Any]
    fallback: bool | None = Field(None, description="whether the hit is of the fallback, where the search has one")
    group_size: int | None = Field(None, description="items of its group that pass the filter, where hits collapse")
    collapsed: list[Hit] | None = Field(
        None, description="further hits of its group, ranked from 2, where hits collapse"
    )


class FacetValue(BaseModel):
    """A value of a column, and how many of the counted items have it."""

    value: Any
    count: int


class FacetRange(BaseModel):
    """Items whose value is at least ``from`` and below ``to``."""

    from_: float = Field(alias="from")
    to: float
    count: int


class Facet(BaseModel):
    """The values of a column among the items that pass the filter, without the filter's condition on the column."""

    count: int = Field(description="items that are counted")
    missing: int = Field(description="those of them without a value")
    distinct: int = Field(description="how many values they have")
    values: list[FacetValue] | None = Field(None, description="the most frequent values, 100 at most")
    ranges: list[FacetRange] | None = Field(None, description="in place of values, for numbers of more than 100 values")
    min: Any = Field(None, description="of numbers, times and durations")
    max: Any = None


class SearchResponse(BaseModel):
    """The hits of a search, best first."""

    run: str
    direction: str | None = Field(description="null for facets without an input")
    to: Side
    corrected: bool = Field(description="whether a hubness correction was applied")
    space: Literal["head", "encoder"]
    no_match: bool | None = Field(
        description="whether the best score is below the run's rejection threshold; null without one"
    )
    took_ms: float
    facets: dict[str, Facet] | None = Field(None, description="by column, where they were asked for")
    hits: list[Hit]
