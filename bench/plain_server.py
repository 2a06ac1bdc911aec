"""What one would write in an afternoon: FastAPI and FAISS, one request at a time. The peer of bench.serve."""

from __future__ import annotations

import sys

import faiss
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Query(BaseModel):
    vector: list[float]
    k: int = 10


def application(vectors: np.ndarray, kind: str) -> FastAPI:
    app = FastAPI()
    index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    if kind.startswith("HNSW"):
        index.hnsw.efSearch = 64
    index.add(vectors)

    @app.post("/search")
    def search(query: Query) -> dict:
        scores, rows = index.search(np.array([query.vector], np.float32), query.k)
        hits = zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        return {"hits": [{"id": f"r{row}", "score": score} for row, score in hits]}

    return app


if __name__ == "__main__":
    file, kind, port = sys.argv[1:]
    faiss.omp_set_num_threads(1)
    uvicorn.run(application(np.load(file), kind), port=int(port), access_log=False, log_level="warning")
