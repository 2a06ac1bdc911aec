"""The original fashion project in its few lines, as its document says them: head, index and neighbours."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """Linear-ReLU-Dropout-Linear, outputs of unit length."""

    def __init__(self, in_dim, out_dim=256):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(in_dim, 512), nn.ReLU(), nn.Dropout(0.1), nn.Linear(512, out_dim))

    def forward(self, x):
        return F.normalize(self.net(x), dim=-1)


def load_head(path):
    """As its server loads a checkpoint."""
    saved = torch.load(path, weights_only=True)
    head = ProjectionHead(saved["in_dim"], saved["out_dim"])
    head.load_state_dict(saved["head"])
    return head.eval()


def neighbours(folder: Path, index: str, id: str, k: int) -> list[str]:
    """As its server answers: the stored vector of an item against the FAISS file; the item itself left out."""
    import faiss

    ids = json.loads((folder / "ids.json").read_text())
    searched = faiss.read_index(str(folder / index))
    query = np.load(folder / "embeddings.npy")[ids.index(id)][None].astype(np.float32)
    if searched.metric_type == faiss.METRIC_INNER_PRODUCT:
        faiss.normalize_L2(query)
    _, rows = searched.search(query, k + 1)
    return [ids[row] for row in rows[0] if ids[row] != id][:k]


def completions(folder: Path, head: nn.Module, context: list[str], candidates: list[str], k: int) -> list[str]:
    """Candidates by the mean cosine of the head's outputs with those of the context."""
    ids = json.loads((folder / "ids.json").read_text())
    with torch.inference_mode():
        z = head(torch.from_numpy(np.load(folder / "embeddings.npy"))).double().numpy()
    query = z[[ids.index(one) for one in context]].mean(0)
    score = {one: float(z[ids.index(one)] @ query) for one in candidates if one not in context}
    return sorted(score, key=lambda one: -score[one])[:k]


def write(folder: Path, seed: int = 0, n: int = 480, dim: int = 24) -> Path:
    """A folder of the project: metadata.csv, pairs.csv, embeddings.npy of unit length and ids.json."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    style, kinds = random.integers(0, 8, n), np.array(["Topwear", "Shoes", "Bags", "Bottomwear"])
    x = random.standard_normal((8, dim))[style] + 0.7 * random.standard_normal((n, dim))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    ids = [f"{i:05d}" for i in range(n)]
    np.save(folder / "embeddings.npy", x)
    (folder / "ids.json").write_text(json.dumps(ids))
    rows = [f"{id},{id}.jpg,{kinds[i % 4]},{5 + i % 60}" for i, id in enumerate(ids)]
    (folder / "metadata.csv").write_text("\n".join(["id,path,category,price", *rows]) + "\n")
    lines = ["a_id,b_id,label"]
    for group in range(0, n, 8):  # pairs stay within eight items, so that splits can be drawn
        for i in range(group, group + 8):
            for j in range(group, i):
                lines.append(f"{ids[i]},{ids[j]},{int(style[i] == style[j] or (i + j) % 5 == 0)}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return folder


def checkpoint(folder: Path, name: str = "head_epoch_last.pt", dim: int = 24, out: int = 16) -> ProjectionHead:
    """A head of random weights, saved as each epoch saves it."""
    torch.manual_seed(3)
    head = ProjectionHead(dim, out).eval()
    torch.save({"head": head.state_dict(), "in_dim": dim, "out_dim": out}, folder / name)
    return head
