"""The original EmoRAG in its few lines, as its document and its files say: head, projection, clips and ranking."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Head(nn.Module):
    """Linear-ReLU-Linear with 512 hidden units, outputs of unit length."""

    def __init__(self, dx, rz):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dx, 512), nn.ReLU(), nn.Linear(512, rz))

    def forward(self, x):
        return F.normalize(self.net(x), dim=-1)


def load_head(path):
    """As retrieval loads a checkpoint."""
    saved = torch.load(path, weights_only=True)
    state = saved.get("state_dict", saved)
    width = next(v.shape[1] for k, v in state.items() if k.endswith("weight") and v.ndim == 2)
    head = Head(width, saved.get("target_dim", state["net.2.bias"].shape[0]))
    head.load_state_dict(state, strict=True)
    return head.eval()


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)


def clips(folder, pca=None):
    """Names and vectors of the clips as they are ranked."""
    file = np.load(folder, allow_pickle=True)
    y = file["emo_emb"] if "emo_emb" in file.files else file["audio_emb"]
    if pca is not None:
        projection = np.load(pca)
        y = (y - projection["y_mean"]) @ projection["Wy"]
    return [Path(str(name)).name for name in file["filename"]], unit(y)


def ranking(head_pt, audio_npz, text, pca=None, k=10):
    """File names and scores of the k best clips of a text vector, by the original's formula without its FAISS index."""
    names, z = clips(audio_npz, pca)
    with torch.no_grad():
        query = load_head(head_pt)(torch.from_numpy(np.atleast_2d(text)).float()).numpy()
    scores = (query @ z.T)[0]
    best = np.argsort(-scores)[:k]
    return [names[i] for i in best], scores[best]


def through_index(head_pt, folder, text, kind="flat", k=10):
    """The same through the index folder: Zy.npy, names.npy and the FAISS file, as retrieval reads them."""
    import faiss

    index = faiss.read_index(str(folder / f"faiss_{kind}_ip.index"))
    names = np.load(folder / "names.npy", allow_pickle=True)
    with torch.no_grad():
        query = load_head(head_pt)(torch.from_numpy(np.atleast_2d(text)).float()).numpy()
    scores, rows = index.search(query, k)
    return [str(names[row]) for row in rows[0]], scores[0]


def write(folder: Path, n=300, dx=48, dy=32, rank=None, seed=0, hidden=512) -> Path:
    """A folder with z_head_L0.pt, audio_embeddings.npz and, with a rank, cca.npz: random weights and clips."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    y = (random.standard_normal((n, dy)) * 3 + 1).astype(np.float32)
    names = np.array([f"clip{i:04d}.wav" for i in range(n)], dtype=object)
    np.savez_compressed(folder / "audio_embeddings.npz", emo_emb=y, filename=names)  # pickled names, as the original
    torch.manual_seed(seed)
    head = Head(dx, rank or dy)
    saved = {"state_dict": head.state_dict(), "target_dim": rank or dy}
    if rank:
        saved["pca_projection"] = True
        mean = y.mean(0)
        basis = np.linalg.svd(y - mean, full_matrices=False)[2][:rank].T
        np.savez_compressed(folder / "cca.npz", Wx=np.zeros((0, rank), np.float32), Wy=basis.astype(np.float32),
                            x_mean=np.zeros(0, np.float32), y_mean=mean, r=np.int32(rank))  # fmt: skip
    torch.save(saved, folder / "z_head_L0.pt")
    return folder
