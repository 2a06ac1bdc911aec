"""What an agent may ask of one run: search by words, one item, and why an item was found. Plain values, no network.

:mod:`sensorium.serve.mcp` gives these to agents as tools of the Model Context Protocol.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.errors import BadData, BadRecipe
from sensorium.evaluate import card
from sensorium.search import asking, related
from sensorium.search.query import Options, hits, no_match
from sensorium.search.run import Run
from sensorium.search.run import open as open_run
from sensorium.table import json_value

MOST = 100  # hits of one search
_RELATED = 20  # related items that are listed of an item
_LIKELY, _POSSIBLE = 0.5, 0.15  # probabilities from which a match is called so, as on the page
_MANY, _SOME = 1.0, 0.3  # the same of a list, by the expected number of right hits


class Agent:
    """The tools over one run; each may be called from any thread, one at a time.

    folder: of the run. Raises what :func:`sensorium.search.run.open` raises.
    """

    def __init__(self, folder: str | Path) -> None:
        self.run: Run = open_run(folder)
        self._turn = threading.Lock()

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.run.metrics.get("name") or Path(self.run.folder).resolve().name)

    def about(self) -> str:
        """What the run searches and how good it is, in a few lines."""
        sides = [f"{self.run.names[side]} ({len(self.run.index(side).table)} items, searched by "
                 f"{self._takes(side)})" for side in self.run.sides]  # fmt: skip
        columns = {side: ", ".join(self.run.index(side).table.columns) or "none" for side in self.run.sides}
        known = "; ".join(f"{self.run.names[side]}: {names}" for side, names in columns.items())
        return f"Run '{self.name}': {' and '.join(sides)}. Columns to filter by: {known}. {self._quality()}"

    def search(
        self,
        words: str = "",
        like: str = "",
        k: int = 10,
        filter: Mapping[str, Any] | None = None,
        side: str | None = None,
    ) -> dict[str, Any]:
        """The k nearest items to words, or to an item by its id, best first.

        filter: values of columns, as ``Table.where`` takes them. side: the one to search, by its name. Raises
        BadRecipe for an invalid query, BadData for an unknown id, column or value.
        """
        if not 1 <= k <= MOST:
            raise BadRecipe(f"k is {k}; expected 1 to {MOST}")
        named = _one(words, like)
        with self._turn:
            query, ranked = self._ranked(named, k, filter, side)
            found = hits(self.run, query, ranked)
            doubtful = no_match(self.run, query, ranked.best)
        shown = [self._shown(hit, query.to) for hit in found]
        return {"run": self.name, "side": self.run.names[query.to], "verdict": verdict(shown, doubtful), "hits": shown,
                "quality": self._quality(query.direction)}  # fmt: skip

    def get_item(self, id: str, side: str | None = None) -> dict[str, Any]:
        """An item: its columns, and the ids of the items that the data say belong to it.

        Raises BadData for an unknown id, BadRecipe for an unknown side.
        """
        with self._turn:
            side = self._side_of(id, side)
            row = self.run.places(side).row(id)
            columns = {name: json_value(value) for name, value in self.run.index(side).table.metadata(row).items()}
            pairs = related.open(self.run.folder)
        found: list[str] = []
        if pairs is not None:
            own, other = (pairs[0], pairs[1]) if side == "left" else (pairs[1], pairs[0])
            found = other[own == id].tolist()
            if len(self.run.sides) == 1:
                found += pairs[0][pairs[1] == id].tolist()
        found = list(dict.fromkeys(found))
        return {"id": id, "side": self.run.names[side], "columns": columns, "related": found[:_RELATED],
                "related_count": len(found)}  # fmt: skip

    def explain(self, id: str, words: str = "", like: str = "", side: str | None = None) -> dict[str, Any]:
        """Why an item is where it is among the results of a query, and how far to believe it.

        Rank among all items, score beside the best and the median one, calibrated probability in words, the run's
        rejection threshold, and the run's measured quality with the baselines beside it.
        """
        named = _one(words, like)
        with self._turn:
            to = None if side is None else self.run.key_of(side)
            query, _ = self._ranked(named, 1, None, side)
            to = to or query.to
            size = len(self.run.index(to).table)
            if self.run.places(to).row(id) < 0:
                raise self._unknown(id, to)
            if like and to == query.to and id in query.exclude:
                raise BadRecipe(f"'{id}' is the query itself; give the id of another item")
            query, ranked = self._ranked(named, size, None, side)
            found = hits(self.run, query, ranked)
            threshold = self.run.trust.get(query.direction, {}).get("no_match") or {}
        place = next(i for i, hit in enumerate(found) if hit["id"] == id)
        scores = np.array([hit["score"] for hit in found])
        hit = self._shown(found[place], to)
        return {
            "id": id, "rank": place + 1, "of": len(found), "score": hit["score"], "best_score": float(scores[0]),
            "median_score": float(np.median(scores)), "best_id": found[0]["id"], "probability": hit.get("probability"),
            "match": hit["match"], "rejection_threshold": threshold.get("score"), "columns": hit["columns"],
            "quality": self._quality(query.direction), "measures": self._measures(query.direction),
        }  # fmt: skip

    def _takes(self, side: str) -> str:
        encoder = self.run.encoder(side)
        return "id" if encoder is None else "words" if "text" in encoder.takes else encoder.takes

    def _ranked(self, named: tuple[str, str], k: int, where: Mapping[str, Any] | None, side: str | None) -> Any:
        name, value = named
        if name == "text" and not any(self._takes(one) == "words" for one in self.run.sides):
            kinds = " and ".join(f"{self.run.names[one]} by {self._takes(one)}" for one in self.run.sides)
            raise BadRecipe(f"run '{self.name}' is not searched by words: {kinds}; give the id of an item in like")
        own = self._side_of(value, None) if name == "id" else None
        to = None if side is None else self.run.key_of(side)
        options = Options(k, to, where or None)
        queries, ranked = asking.ranked(self.run, [named], own if len(self.run.sides) > 1 else None, options)
        return queries[0], ranked[0]

    def _side_of(self, id: str, side: str | None) -> str:
        """The side that has an item. Raises BadData, with the nearest ids, where none has it."""
        if side is not None:
            side = self.run.key_of(side)
            if self.run.places(side).row(id) < 0:
                raise self._unknown(id, side)
            return side
        there = [one for one in self.run.sides if self.run.places(one).row(id) >= 0]
        if not there:
            raise self._unknown(id)
        if len(there) > 1:
            names = " and ".join(self.run.names[one] for one in there)
            raise BadData(f"'{id}' is an id of both sides; say which with side: {names}")
        return there[0]

    def _unknown(self, id: str, side: str | None = None) -> BadData:
        some = [one for name in ([side] if side else self.run.sides) for one in self.run.index(name).table.ids[:20000]]
        near = difflib.get_close_matches(id, map(str, some), 3) or some[:3]
        where = f"on the {self.run.names[side]} side of" if side else "in"
        return BadData(f"no item '{id[:100]}' {where} run '{self.name}'; search gives ids, such as {', '.join(near)}")

    def _shown(self, hit: Mapping[str, Any], to: str) -> dict[str, Any]:
        probability = hit.get("probability")
        return {"rank": hit["rank"], "id": hit["id"], "score": round(float(hit["score"]), 4),
                **({} if probability is None else {"probability": round(float(probability), 3)}),
                "match": in_words(probability), "columns": json_value(dict(hit.get("metadata", {})))}  # fmt: skip

    def _quality(self, direction: str | None = None) -> str:
        """The main measure with its interval, in a sentence."""
        for result in self.run.metrics.get("results", []):
            if direction in (None, result["direction"]):
                value, low, high = (card.number(result["measure"], result[key]) for key in ("value", "low", "high"))
                chance = f", chance {card.number(result['measure'], result['chance'])}" if "chance" in result else ""
                return (f"Measured on {result['n_queries']:,} held-out queries among {result['n_candidates']:,} items: "
                        f"{result['measure']} {value}, 95% interval {low} to {high}{chance}.")  # fmt: skip
        return "This run was not evaluated, so nothing is known of its quality."

    def _measures(self, direction: str) -> list[dict[str, Any]]:
        """Measures of a direction with intervals, and each baseline's value."""
        found = []
        baselines = self.run.metrics.get("baselines", {})
        for result in self.run.metrics.get("results", []):
            if result["direction"] == direction:
                one = {key: result[key] for key in ("measure", "value", "low", "high", "n_queries", "n_candidates")}
                beside = {name: other["value"] for name, record in baselines.items() for other in
                          record.get("results", ()) if (other["direction"], other["measure"]) ==
                          (direction, result["measure"])}  # fmt: skip
                found.append(one | {"baselines": beside})
        return json_value(found)


def in_words(probability: float | None) -> str:
    """A calibrated probability in words."""
    if probability is None:
        return "not calibrated: compare scores within this list only"
    if probability >= _LIKELY:
        return "likely match"
    return "possible match" if probability >= _POSSIBLE else "no reliable match"


def verdict(hits: Sequence[Mapping[str, Any]], doubtful: bool | None = None) -> str:
    """What calibrated probabilities say of a list; their sum is the expected number of right hits."""
    found = [hit["probability"] for hit in hits if "probability" in hit]
    if doubtful or not found:
        return in_words(0.0 if doubtful else None)
    if found[0] >= _LIKELY or sum(found) >= _MANY:
        return in_words(1.0)
    return in_words(_POSSIBLE if found[0] >= _POSSIBLE or sum(found) >= _SOME else 0.0)


def _one(words: str, like: str) -> tuple[str, str]:
    if bool(words.strip()) == bool(like):
        raise BadRecipe("give either words to search for, or in like the id of an item; exactly one of them")
    return ("text", words) if words.strip() else ("id", like)
