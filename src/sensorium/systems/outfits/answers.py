"""The answer to a look, in the thread of the side's index: explained, completed and planned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.search.looks import Found, LookOptions, Looks
from sensorium.serve.engine.inputs import Vector
from sensorium.serve.engine.looks import Gap, board_of
from sensorium.serve.engine.workers import Workers


def answer(looks: Looks, workers: Workers, request: Any, vectors: Sequence[Vector]) -> dict[str, Any]:
    """The fields of a LookAnswer. vectors: of the request's items, in their order.

    Raises a 404 problem for an unknown id.
    """
    outside = [at for at, vector in enumerate(vectors) if vector.id is None]
    inside = [at for at, vector in enumerate(vectors) if vector.id is not None]
    raw = np.stack([np.asarray(vectors[at].raw) for at in outside]) if outside else None
    options = LookOptions(request.k, max(request.k, request.pool), request.mmr, request.where)
    words = [request.context[at].category for at in outside]
    board = board_of(looks, workers, Gap([str(vectors[at].id) for at in inside], None, options, raw, words))
    back = np.argsort([*inside, *outside])  # the board has the items of the catalogue first
    explained = looks.explain(board)
    fit = [None if np.isnan(one) else float(one) for one in explained.fit]
    context = [
        {"id": board.ids[at] or None, "category": board.members.category[at], "fit": fit[at]} for at in back.tolist()
    ]
    gaps = []
    for category in request.gaps:
        found = looks.complete(board, category, options)
        gaps.append({"category": category, "hits": _hits(looks, workers, found, back)})
    planned: list[dict[str, Any]] = []
    if len(request.gaps) > 1:
        ids, m = looks.index.table.ids, len(board.rows)
        for one in looks.plan(board, request.gaps, LookOptions(request.looks, options.pool, None, options.where)):
            chosen = [None if row < 0 else str(ids[row]) for row in one.rows.tolist()]
            fits = [*one.fit[back].tolist(), *one.fit[m:].tolist()]
            planned.append({"score": one.score, "items": chosen, "fit": fits})
    spoils = None if explained.spoils is None else int(np.flatnonzero(back == explained.spoils)[0])
    return {"context": context, "score": explained.score, "spoils": spoils, "gaps": gaps, "looks": planned}


def _hits(looks: Looks, workers: Workers, found: Found, back: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"rank": place + 1, "score": float(score), "reasons": reasons[back].tolist(), **workers.item(looks.side, row)}
        for place, (row, score, reasons) in enumerate(
            zip(found.rows.tolist(), found.scores, found.reasons, strict=True)
        )
    ]
