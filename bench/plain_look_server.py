"""The original fashion server's way: FastAPI, a flat FAISS index, a torch head for each request, MMR in NumPy.

The peer of bench.complete_look: candidates by the mean vector of the context, filtered by category, scored again by the
head, ten of them chosen by MMR.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import faiss
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from torch import nn


def application(folder: Path) -> FastAPI:
    app = FastAPI()
    x = np.load(folder / "embeddings.npy")
    ids, categories = (json.loads((folder / name).read_text()) for name in ("ids.json", "categories.json"))
    rows = {id: row for row, id in enumerate(ids)}
    index = faiss.IndexFlatIP(x.shape[1])
    index.add(x)
    saved = torch.load(folder / "head.pt", weights_only=True)
    net = nn.Sequential(nn.Linear(saved["in_dim"], 512), nn.ReLU(), nn.Dropout(0.1), nn.Linear(512, saved["out_dim"]))
    net.load_state_dict({key.removeprefix("net."): value for key, value in saved["head"].items()})
    net.eval()

    def project(vectors: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return nn.functional.normalize(net(torch.from_numpy(vectors)), dim=-1).numpy()

    @app.get("/complete-look")
    def complete_look(context_ids: str, gap_category: str, k: int = 10, pool: int = 200, use_mmr: bool = False,
                      mmr_lambda: float = 0.3) -> dict:  # fmt: skip
        context = [rows[id] for id in context_ids.split(",")]
        query = x[context].mean(0, keepdims=True)
        query /= np.linalg.norm(query)
        _, found = index.search(query, pool * 10)  # so that about ``pool`` of the category are left of ten categories
        found = [row for row in found[0].tolist() if categories[row] == gap_category and row not in context][:pool]
        z = project(x[found])
        score = z @ project(x[context]).mean(0)
        if not use_mmr:
            best = np.argsort(-score)[:k].tolist()
        else:
            best, left = [], list(range(len(found)))
            while left and len(best) < k:
                value = [mmr_lambda * score[i] - (1 - mmr_lambda) * max((float(z[i] @ z[j]) for j in best), default=0.0)
                         for i in left]  # fmt: skip
                best.append(left.pop(int(np.argmax(value))))
        return {"neighbors": [ids[found[i]] for i in best], "scores": [float(score[i]) for i in best]}

    return app


if __name__ == "__main__":
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    uvicorn.run(application(Path(sys.argv[1])), port=int(sys.argv[2]), access_log=False, log_level="warning")
