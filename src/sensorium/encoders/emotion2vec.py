"""emotion2vec and emotion2vec+: the emotion in speech as states of a network of FunASR (Ma et al. 2023)."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium import downloads, io
from sensorium.contracts import Encoder
from sensorium.errors import BadRecipe, Corrupt, require
from sensorium.modalities.audio import files
from sensorium.numerics import device as devices

LICENCE = "of the model, see its card (FunASR's own: source and model names must be kept)"
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"
USUAL_MODEL = "iic/emotion2vec_plus_base"
USUAL_WIDTH = 768
POOLINGS = ("mean", "mean+std", "frames")
SETTINGS, STATE = "config.yaml", "model.pt"  # files of a model
OWNERS = {"iic": "emotion2vec"}  # of the same models, on ModelScope and on the Hugging Face hub


class Emotion2vec(Encoder):
    """A recording as the mean of the last block's frames, 50 a second: FunASR's embedding of the utterance.

    model: iic/emotion2vec_plus_base, _plus_large (1,024 wide), _plus_seed or another of these by its id, which is
    looked for on the Hugging Face hub (owner emotion2vec), or a folder with config.yaml and model.pt, such as FunASR
    or ModelScope downloaded. revision: branch, tag or commit of an id.
    pooling: "mean", "mean+std", or "frames" for all frames.
    chunk: seconds, 1 to 120; longer recordings go through in equal parts, whose frames are pooled together, as memory
    grows with the square of the length.

    Numbers are those of ``funasr.AutoModel(model).generate(samples, granularity="utterance")`` for recordings of one
    chunk. The weights are a PyTorch checkpoint, of which tensors alone are read: an object in it is refused, not run.
    Recordings go through one by one, so companions change nothing.
    """

    accelerated = True

    takes: ClassVar[str] = "audio"
    sample_rate: ClassVar[int] = files.RATE
    batch: ClassVar[int] = 32

    def __init__(
        self, model: str = USUAL_MODEL, revision: str = "", pooling: str = "mean", chunk: float = 30.0
    ) -> None:
        if pooling not in POOLINGS:
            raise BadRecipe(f"emotion2vec: pooling={pooling!r}; expected {', '.join(POOLINGS)}")
        if not 1 <= chunk <= 120:
            raise BadRecipe(f"emotion2vec: chunk={chunk!r}; expected 1 to 120 seconds")
        self.model, self.revision, self.pooling, self.chunk = str(model) or USUAL_MODEL, revision, pooling, float(chunk)
        self.frames = pooling == "frames"

    @property
    def taken_from(self) -> str:
        """What a vector is."""
        pooled = {"mean": "mean", "mean+std": "mean and deviation", "frames": "each"}[self.pooling]
        return f"output of the last block, {pooled} of its 50 frames a second"

    @cached_property
    def folder(self) -> Path:
        """The model's folder. Raises BadData when it is neither local nor available from the hub."""
        owner, slash, name = self.model.partition("/")
        model = f"{OWNERS[owner]}/{name}" if slash and owner in OWNERS else self.model
        return downloads.folder(downloads.Weights(
            "emotion2vec", model, (SETTINGS, "configuration.json", "tokens.txt", STATE), "emotion2vec",
            "type: right.encoder.model=FOLDER", "delete it from the hub's cache", self.revision,
            marks=(SETTINGS,), example=USUAL_MODEL))  # fmt: skip

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The file config.yaml. Raises Corrupt where it is damaged or of another kind of model, MissingExtra."""
        yaml, path = require("yaml", "emotion2vec"), self.folder / SETTINGS
        try:
            found = yaml.safe_load(path.read_text("utf-8"))
            conf = found["model_conf"]
            layers, _ = str(conf["modalities"]["audio"]["feature_encoder_spec"]), int(conf["embed_dim"])
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            raise Corrupt(f"{path} has no settings of emotion2vec ({error!r}); restore the model's folder") from None
        if not _arithmetic(layers):  # FunASR evaluates it as Python
            raise Corrupt(f"{path}: feature_encoder_spec={layers[:80]!r}; expected a list of (width, kernel, "
                          "stride); it is not run; restore the model's folder")  # fmt: skip
        return found

    @property
    def dim(self) -> int:
        """Width of a vector or frame."""
        return int(self.settings["model_conf"]["embed_dim"]) * (2 if self.pooling == "mean+std" else 1)

    @cached_property
    def fingerprint(self) -> dict[str, str | float]:
        """What made the vectors; the weights by their checksum, wherever they are."""
        commit = downloads.commit(self.folder) if self.revision else ""
        made = {"weights": io.checksum(self._state), "config": io.checksum(self.folder / SETTINGS)}
        return {"name": "emotion2vec", **made, "pooling": self.pooling, "chunk": self.chunk,
                **({"revision": commit} if commit else {})}  # fmt: skip

    def encode(self, values: Sequence[Any]) -> Any:
        """Vectors (n, d) float32, or with pooling "frames" a list of (t_i, d), of paths or ``(samples, rate)``.

        Raises BadData for recordings that cannot be read, and whatever loading the model raises.
        """
        found = [self._frames(files.read(value, files.RATE)) for value in values]
        if self.frames:
            return found
        if not found:
            return np.zeros((0, self.dim), np.float32)
        if self.pooling == "mean":
            return np.stack([x.mean(0) for x in found])
        return np.stack([np.concatenate([x.mean(0), x.std(0)]) for x in found])

    def _frames(self, samples: np.ndarray) -> np.ndarray:
        """All frames (t, d) of samples (n,) of one recording."""
        import torch

        network, found = self._network, []
        with torch.inference_mode():
            x = torch.from_numpy(np.pad(samples, (0, max(0, self._least - len(samples)))))
            if self.settings["model_conf"].get("normalize"):
                x = torch.nn.functional.layer_norm(x, x.shape)
            for part in x.tensor_split(-(-len(x) // round(self.chunk * files.RATE))):
                made = network.extract_features(part[None].to(self._where), padding_mask=None)
                found.append(made["x"][0].float().cpu().numpy())
        return np.concatenate(found)

    @property
    def _least(self) -> int:
        """Samples of one frame."""
        samples = 1
        for _, kernel, stride in reversed(self._network.modality_encoders["AUDIO"].feature_enc_layers):
            samples = (samples - 1) * stride + kernel
        return samples

    @property
    def _state(self) -> Path:
        path = self.folder / STATE
        if not path.is_file():
            raise Corrupt(f"{path} is missing: the folder has no weights; restore it")
        return path

    @cached_property
    def _where(self) -> Any:
        return devices.choose(self.device)

    @cached_property
    def _network(self) -> Any:
        """FunASR's network for evaluation. Raises MissingExtra, or Corrupt where weights are missing or damaged."""
        torch, settings = require("torch", "train"), self.settings
        try:
            state = torch.load(self._state, weights_only=True, map_location="cpu")
        except Exception as error:  # of torch, pickle and zip alike
            raise self._damaged(error) from None
        made = require("funasr.models.emotion2vec.model", "emotion2vec").Emotion2vec(
            model_conf=settings["model_conf"], vocab_size=-1)  # fmt: skip
        try:
            made.load_state_dict(_chosen(state, made.state_dict(), settings.get("scope_map") or ()))
        except (AttributeError, TypeError, RuntimeError) as error:
            raise self._damaged(error) from None
        return made.eval().to(self._where)

    def _damaged(self, error: Exception) -> Corrupt:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Corrupt(f"{self._state} holds no plain weights of emotion2vec ({reason}); objects in it are not run; "
                       "restore the model's folder")  # fmt: skip


def _chosen(state: Any, own: Mapping[str, Any], scopes: str | Sequence[Any]) -> dict[str, Any]:
    """The tensors of a checkpoint by the network's names, found as FunASR does; it leaves what is missing random.

    scopes: FunASR's pairs of a prefix in the checkpoint and the network's own, "none" for no prefix. Raises Corrupt
    for missing weights, but for those of the decoder, which training alone needs.
    """
    for key in ("state_dict", "model_state_dict", "model"):
        state = state.get(key, state)
    words = [str(word).strip() for word in (scopes.split(",") if isinstance(scopes, str) else scopes)]
    words = ["" if word.lower() == "none" else word for word in words]
    pairs = [*zip(words[::2], words[1::2], strict=False), ("module.", ""), ("", "")]
    found, missing = {}, []
    for name, usual in own.items():
        there = [old + name.removeprefix(new) for old, new in pairs if name.startswith(new)]
        found[name] = next((state[key] for key in there if key in state), usual)
        if found[name] is usual and ".decoder." not in name:
            missing.append(name)
    if missing:
        raise Corrupt(f"the checkpoint lacks {len(missing)} weights of emotion2vec, such as {missing[0]}; "
                      "restore the model's folder")  # fmt: skip
    return found


def _arithmetic(text: str) -> bool:
    """Whether a text is a list in Python, of tuples of whole numbers, + and few repetitions, and nothing else.

    >>> _arithmetic("[(512, 10, 5)] + [(512, 3, 2)] * 4"), _arithmetic("__import__('os')"), _arithmetic("[1] * 10000")
    (True, False, False)
    """
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    plain = (ast.Expression, ast.List, ast.Tuple, ast.BinOp, ast.Add, ast.Mult, ast.Load)
    whole = [node for node in nodes if isinstance(node, ast.Constant) and type(node.value) is int]
    times = [side.value for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
             for side in (node.left, node.right) if side in whole]  # fmt: skip
    return all(isinstance(node, plain) or node in whole for node in nodes) and len(nodes) < 500 and prod(times) < 500
