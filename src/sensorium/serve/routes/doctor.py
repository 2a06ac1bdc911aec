"""GET /runs/{run}/doctor: what of a run's data looks mispaired, mislabelled, repeated or out of place."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from sensorium.serve.context import Context
from sensorium.serve.engine.doctor import Doctors, Examining
from sensorium.serve.problems import Problem, responses

Kind = Literal["pair", "label", "duplicate", "outlier"]
_MOST = 2000  # findings of one answer


class Findings(BaseModel):
    """Findings of one kind or of all, likeliest first."""

    state: Literal["ready"] = "ready"
    sides: dict[str, str] = Field(description="what the data call each side")
    checks: list[dict[str, Any]] = Field(
        description="a summary of each check: how many were looked at, how many likely wrong"
    )
    counts: dict[str, int] = Field(description="findings of each kind, of which ``findings`` has the first")
    findings: list[dict[str, Any]] = Field(description="each with the ids of its items by side, and why")
    before: list[dict[str, str]] = Field(description="rows of the drop list that the run was fitted with")
    sets: bool = Field(description="whether the data are sets of items, whose pairs cannot be dropped")
    notes: list[str]


def routes(context: Context) -> APIRouter:
    """The route of the data doctor."""
    router, doctors = APIRouter(prefix="/runs/{run}/doctor", tags=["runs"]), Doctors()

    @router.get("", response_model=Findings, responses={202: {"model": Examining}, **responses(404, 409, 422, 503)})
    async def findings(
        run: str,
        kind: Annotated[
            Literal["pair", "label", "duplicate", "outlier"] | None, Query(description="all by default")
        ] = None,
        start: Annotated[int, Query(ge=0)] = 0,
        n: Annotated[int, Query(ge=0, le=_MOST)] = _MOST,
    ) -> Any:
        """What the data doctor found, or 202 while the data are examined; the first request starts that."""
        try:
            found = await doctors.get(context.registry.get(run))
        except Problem as problem:
            raise Problem(problem.status, context.redact(problem.detail), problem.headers) from None
        if isinstance(found, Examining):
            return Response(found.model_dump_json(), 202, {"retry-after": "1"}, "application/json")
        counts: dict[str, int] = {}
        for one in found["findings"]:
            counts[one["kind"]] = counts.get(one["kind"], 0) + 1
        chosen = [one for one in found["findings"] if kind in (None, one["kind"])]
        some = {key: found[key] for key in ("sides", "checks", "before", "sets")}
        notes = [context.redact(note) for note in found["notes"]]
        return Findings(**some, counts=counts, findings=chosen[start : start + n], notes=notes)

    return router
