"""Networks that a fit may train: their blocks, items prepared for them, trained weights in place of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.contracts import TrainableEncoder
from sensorium.errors import BadRecipe, Corrupt

_OTHERS = ("onnx/", "openvino/", ".")  # of a model's folder: weights for other libraries


class Trainable(TrainableEncoder):
    """What trainable encoders have in common: the blocks of a network are its longest list of modules of one class."""

    def blocks(self, network: Any) -> Sequence[Any]:
        """Its blocks, first to last. Raises BadRecipe for a network without a list of them."""
        from torch import nn

        lists = [module for module in network.modules() if isinstance(module, (nn.ModuleList, nn.Sequential))
                 and len(set(map(type, module))) == 1]  # fmt: skip
        longest = max(lists, key=len, default=())
        if not len(longest):
            raise BadRecipe(f"the network of {type(self).__name__} is no sequence of blocks; type: finetune.blocks=0")
        return list(longest)


def files_in(folder: Path, patterns: Sequence[str], commit: str = "") -> dict[str, Path]:
    """The files of a model's folder that these patterns name, by their name in a run: see :func:`kept_in`."""
    within = f"snapshots/{commit}/" if commit else ""
    every = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in every]
    return {within + name: path for name, path in zip(names, every, strict=True)
            if not name.startswith(_OTHERS) and any(fnmatch(name, pattern) for pattern in patterns)}  # fmt: skip


def kept_in(folder: Path | str) -> Path:
    """The model's folder within what a run keeps: one named by its commit, as in the hub's cache, where it has one."""
    found = sorted(Path(folder).glob("snapshots/*"))
    return found[0] if found else Path(folder)


def tokens(tokenizer: Any, text: str, longest: int) -> dict[str, list[int]]:
    """One text's tokens, cut off at ``longest``: what :func:`padded` takes."""
    return dict(tokenizer(text, truncation=True, max_length=longest))


def padded(tokenizer: Any, prepared: Sequence[Mapping[str, Any]], to: int = 0) -> dict[str, Any]:
    """Tokens of some texts as tensors (b, t), filled up to the longest of them, or to so many tokens."""
    how = {"padding": "max_length", "max_length": to} if to else {"padding": True}
    columns = {name: [one[name] for one in prepared] for name in prepared[0]}
    return dict(tokenizer.pad(columns, return_tensors="pt", **how))


def stacked_parts(prepared: Sequence[np.ndarray]) -> tuple[Any, list[int]]:
    """Parts (k, …) of each of some sounds as one tensor (Σ k, …), and how many there are of each."""
    import torch

    return torch.from_numpy(np.concatenate(prepared)), [len(one) for one in prepared]


def mean_of_parts(vectors: Any, counts: Sequence[int], unit_length: bool) -> Any:
    """Mean vector (n, d) of each sound's parts (Σ counts, d), with gradients; of unit length where asked."""
    import torch

    means = torch.stack([part.mean(0) for part in vectors.split(list(counts))])
    return torch.nn.functional.normalize(means, dim=1) if unit_length else means


def restore(network: Any, path: Path | str) -> Any:
    """Put weights that a fit has trained into a network, and return it. Raises Corrupt where they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    remedy = "make the run anew, or restore the file"
    try:
        missing = network.load_state_dict(load_file(path), strict=False)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise Corrupt(f"{path} holds no weights of this network ({str(error).splitlines()[0]}); {remedy}") from None
    if missing.unexpected_keys:
        raise Corrupt(f"{path} holds weights of another network, such as {missing.unexpected_keys[0]}; {remedy}")
    return network
