"""The original Embed2Image in its few lines, as its document and its files say: heads, cache, checkpoint, evaluation."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """Linear, activation, dropout, Linear; a single Linear where hidden_dim is 0. Outputs of any length."""

    def __init__(self, in_dim, hidden_dim=512, out_dim=256, activation="relu", dropout=0.1):
        super().__init__()
        self.config = {"type": "projection", "in_dim": in_dim, "hidden_dim": hidden_dim or None, "out_dim": out_dim,
                       "activation": activation, "dropout": dropout}  # fmt: skip
        if not hidden_dim:
            self.net = nn.Sequential(nn.Linear(in_dim, out_dim))
            return
        between = [nn.GELU() if activation == "gelu" else nn.ReLU(), *([nn.Dropout(dropout)] if dropout > 0 else [])]
        self.net = nn.Sequential(nn.Linear(in_dim, hidden_dim), *between, nn.Linear(hidden_dim, out_dim))

    def forward(self, x):
        return self.net(x)


class VisionProjectionHead(nn.Module):
    """Four times (two conv-BN-GELU, pool), two conv-BN-GELU more, the mean over places, then Linear-GELU-Linear.

    blocks: 5 as in the published code; 4, without the two more, as in the document.
    """

    def __init__(self, out_dim=256, base_channels=32, hidden_dim=512, dropout=0.1, blocks=5):
        super().__init__()
        self.config = {"type": "vision", "base_channels": base_channels, "hidden_dim": hidden_dim or None,
                       "out_dim": out_dim, "dropout": dropout}  # fmt: skip
        widths = [base_channels * min(2**stage, 8) for stage in range(blocks)]
        stages = []
        for stage, (before, width) in enumerate(zip([3, *widths], widths, strict=False)):
            convolutions = (nn.Conv2d(a, width, 3, padding=1, bias=False) for a in (before, width))
            stages.append(nn.Sequential(*(m for c in convolutions for m in (c, nn.BatchNorm2d(width), nn.GELU()))))
            stages += [nn.MaxPool2d(2)] if stage < 4 else []
        self.features = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1))
        if not hidden_dim:
            self.projector = nn.Sequential(nn.Linear(widths[-1], out_dim))
            return
        dropped = [nn.Dropout(dropout)] if dropout > 0 else []
        self.projector = nn.Sequential(nn.Linear(widths[-1], hidden_dim), nn.GELU(), *dropped,
                                       nn.Linear(hidden_dim, out_dim))  # fmt: skip

    def forward(self, x):
        return self.projector(self.features(x).flatten(1))


IMAGES = {"image_size": 128, "image_mode": "nearest", "channel_mode": "split", "clip": False, "image_dir": None}


def checkpoint(path, anchor, text, epoch=7, loss=2.5, images=IMAGES):
    """``projection_heads.pt`` as training saves it."""
    kind = "vision" if isinstance(anchor, VisionProjectionHead) else "embedding"
    config = {"input_type": kind, "anchor_head": anchor.config, "text_head": text.config, "vision_images": dict(images)}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": epoch, "loss": loss, "config": config, "anchor_head": anchor.state_dict(),
                "text_head": text.state_dict()}, path)  # fmt: skip
    return path


def load(path, in_dim=768, text_dim=768):
    """Both heads as evaluation loads them: by the file's config, else by the defaults of its command line."""
    saved = torch.load(path, weights_only=True)
    config = saved.get("config", {})
    heads = []
    for name, width in (("anchor_head", in_dim), ("text_head", text_dim)):
        own = dict(config.get(name) or {"in_dim": width})
        state = saved.get(name) or saved["audio_head"]
        if own.get("type") == "vision":
            own["blocks"] = sum(value.ndim == 4 for value in state.values()) // 2
        head = {"vision": VisionProjectionHead, "projection": ProjectionHead}[own.pop("type", "projection")](**own)
        head.load_state_dict(state, strict=True)
        heads.append(head.eval())
    return *heads, config


def pseudo_images(x, size=128, mode="nearest", channel_mode="split", clip=False, minmax="image"):
    """The document's transform of vectors (n, d) into images (n, 3, size, size) of 0 to 1; the code scales by channel."""
    channels = 3 if channel_mode == "split" else 1
    side = int(np.ceil(np.sqrt(x.shape[1] / channels)))
    x = F.pad(x, (0, channels * side * side - x.shape[1])).view(len(x), channels, side, side)
    x = (x.clamp(-1, 1) if clip else x).expand(-1, 3, -1, -1)
    x = F.interpolate(x, size=(size, size), mode=mode)
    axes = (1, 2, 3) if minmax == "image" else (2, 3)
    low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
    return (x - low) / (high - low + 1e-8)


def project(path, folder):
    """Outputs (p, d) of both heads for every row of a cache, at unit length."""
    audio, text = (torch.load(folder / f"{kind}_embeddings.pt", weights_only=True) for kind in ("audio", "text"))
    anchor, other, config = load(path, audio.shape[1], text.shape[1])
    if config.get("input_type") == "vision":
        own = config["vision_images"]
        audio = pseudo_images(audio, own["image_size"], own["image_mode"], own["channel_mode"], own["clip"],
                              own.get("minmax", "image"))  # fmt: skip
    with torch.inference_mode():
        return F.normalize(anchor(audio), dim=-1), F.normalize(other(text), dim=-1)


def recalls(audio, text, ks=(1, 5, 10)):
    """R@k both ways by the original's formula: row i of one side is to find row i of the other."""
    found = {}
    for name, query, candidates in (("audio_to_text", audio, text), ("text_to_audio", text, audio)):
        scores = query @ candidates.T
        for k in ks:
            hit = (scores.topk(k, dim=1).indices == torch.arange(len(query))[:, None]).any(1)
            found[f"R@{k}_{name}"] = float(hit.float().mean())
    return found


def recalls_by_clip(audio, text, clips, ks=(1, 5, 10), equal=1e-6):
    """The protocol of Clotho on the same vectors: captions find clips among the unique ones, clips any own caption.

    equal: scores that differ by less are ties, which count against the query.
    """
    unique = list(dict.fromkeys(clips))
    own = np.array([unique.index(clip) for clip in clips])
    scores = (text @ audio[[clips.index(clip) for clip in unique]].T).numpy()  # (captions, clips)
    mine = own[:, None] == np.arange(len(unique))
    of_caption = np.where(mine, -np.inf, scores) >= scores[np.arange(len(own)), own][:, None] - equal
    of_clip = np.where(mine, -np.inf, scores) >= np.where(mine, scores, -np.inf).max(0) - equal
    ranks = {"text_to_audio": of_caption.sum(1) + 1, "audio_to_text": of_clip.sum(0) + 1}
    return {f"R@{k}_{name}": float((rank <= k).mean()) for k in ks for name, rank in ranks.items()}


def write_cache(folder: Path, audio, text, ids, rate=32_000):
    """The cache of one split: the clip's vector once a caption, ids such as ``x.wav#1``."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(audio, folder / "audio_embeddings.pt")
    torch.save(text, folder / "text_embeddings.pt")
    about = {"ids": list(ids), "audio_embedding_shape": list(audio.shape), "text_embedding_shape": list(text.shape),
             "audio_sample_rate": rate, "audio_encoder": "AudioEncoder", "text_encoder": "TextEncoder",
             "num_pairs": len(ids), "metadata_source": "clotho_captions_development.csv"}  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(about, indent=2))
    return folder


def made_cache(folder: Path, clips=40, each=5, audio_dim=48, text_dim=48, seed=0):
    """A cache of made vectors of unit length in which captions tell their clip."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(clips, audio_dim, generator=generator)
    turn = torch.randn(audio_dim, text_dim, generator=generator)
    y = (x @ turn)[:, None] + 3 * torch.randn(clips, each, text_dim, generator=generator)
    ids = [f"clip {i:03d}.wav#{k + 1}" for i in range(clips) for k in range(each)]
    return write_cache(folder, F.normalize(x, dim=-1).repeat_interleave(each, 0), F.normalize(y, dim=-1).flatten(0, 1),
                       ids)  # fmt: skip


def train(folder: Path, anchor, text, steps=60, temperature=0.07, seed=0):
    """Some steps of the original's loss on a cache; both heads are left in evaluation mode."""
    torch.manual_seed(seed)
    x, y = (torch.load(folder / f"{kind}_embeddings.pt", weights_only=True) for kind in ("audio", "text"))
    if isinstance(anchor, VisionProjectionHead):
        x = pseudo_images(x, 16)
    optimizer = torch.optim.AdamW([*anchor.parameters(), *text.parameters()], lr=1e-3, weight_decay=1e-4)
    for _ in range(steps):
        rows = torch.randperm(len(x))[:64]
        logits = F.normalize(anchor(x[rows]), dim=-1) @ F.normalize(text(y[rows]), dim=-1).T / temperature
        target = torch.arange(len(rows))
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return anchor.eval(), text.eval()
