"""The original perception projection in its few lines, as its document and its files say: module, loss, training."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

LANDMARKS, EMOTIONS, CLIP = 478 * 3, 7, 768


class Projection(nn.Module):
    """Linear-LayerNorm-tanh-Linear, as ``projection_layer`` has it."""

    def __init__(self, input_dim=LANDMARKS + EMOTIONS, output_dim=CLIP, hidden_dim=1024):
        super().__init__()
        self.fc1 = nn.Linear(input_dim, hidden_dim)
        self.ln1 = nn.LayerNorm(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, output_dim)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight, gain=0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        return self.fc2(torch.tanh(self.ln1(self.fc1(x))))


def load(path: Path) -> Projection:
    """As the app loads a checkpoint of either form."""
    saved = torch.load(path, weights_only=True)
    state = saved.get("model_state_dict", saved)
    widths = {key: saved[key] for key in ("input_dim", "output_dim", "hidden_dim") if key in saved}
    if not widths:
        widths = {"input_dim": state["fc1.weight"].shape[1], "output_dim": state["fc2.weight"].shape[0],
                  "hidden_dim": state["fc1.weight"].shape[0]}  # fmt: skip
    module = Projection(**widths)
    module.load_state_dict(state, strict=True)
    return module.eval()


def project(path: Path, x: np.ndarray) -> np.ndarray:
    """What the original computes of perception vectors (n, input_dim)."""
    with torch.no_grad():
        return load(path)(torch.from_numpy(np.asarray(x, np.float32))).numpy()


def save(path: Path, seed=0, input_dim=LANDMARKS + EMOTIONS, output_dim=CLIP, hidden_dim=1024) -> Path:
    """A checkpoint with random weights, all of them other than at the start; ``.pt`` is the form with its widths."""
    torch.manual_seed(seed)
    module = Projection(input_dim, output_dim, hidden_dim)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    widths = {"input_dim": input_dim, "output_dim": output_dim, "hidden_dim": hidden_dim}
    state = module.state_dict()
    torch.save({"model_state_dict": state, **widths} if path.suffix == ".pt" else state, path)
    return path


def train(x, y, train, validation, epochs, batch, lr, seed=0):
    """The original's loop: 1 - cosine, AdamW, best by validation loss. Returns the module and that loss."""
    torch.manual_seed(seed)
    module = Projection(x.shape[1], y.shape[1])
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    best, kept = np.inf, None
    for _ in range(epochs):
        module.train()
        order = torch.from_numpy(train)[torch.randperm(len(train))]
        for rows in order.split(batch):
            loss = 1 - torch.cosine_similarity(module(x[rows]), y[rows], dim=1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        module.eval()
        with torch.no_grad():
            value = float(1 - torch.cosine_similarity(module(x[validation]), y[validation], dim=1).mean())
        if value < best:
            best, kept = value, {k: v.clone() for k, v in module.state_dict().items()}
    module.load_state_dict(kept)
    return module.eval(), best
