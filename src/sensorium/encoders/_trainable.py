"""Networks of pictures that a fit may train: their blocks, and trained weights in place of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sensorium.contracts import TrainableEncoder
from sensorium.errors import BadRecipe, Corrupt


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
