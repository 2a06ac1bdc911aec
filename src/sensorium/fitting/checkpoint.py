"""Points to resume from: tensors and plain state in one folder, swapped in whole; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sensorium import fingerprint, io
from sensorium.errors import Corrupt

_REMEDY = "delete the folder to start anew"


def save(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors.safetensors and state.json, with checksums of both; the old point stays until then."""
    from safetensors.torch import save as pack

    with io.publish(folder) as building:
        path = building / "tensors.safetensors"
        path.write_bytes(pack({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
        told = {
            "state": dict(state),
            "state_checksum": fingerprint.digest(state),
            "tensors_checksum": io.checksum(path),
        }
        io.write_json(building / "state.json", told)


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What :func:`save` wrote, or None where there is nothing. Raises Corrupt when it is damaged."""
    from safetensors.torch import load_file

    if not folder.is_dir():
        return None
    path = folder / "state.json"
    told = io.read_json(path, _REMEDY)
    if not isinstance(told, dict) or fingerprint.digest(told.get("state")) != told.get("state_checksum"):
        raise Corrupt(f"{path} is damaged: its content does not have its checksum; {_REMEDY}")
    io.verify(folder / "tensors.safetensors", told["tensors_checksum"], _REMEDY)
    return load_file(folder / "tensors.safetensors"), told["state"]


def keep(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one file of weights that stays, such as checkpoints/epoch-0010.safetensors."""
    from safetensors.torch import save as pack

    io.write(path, pack({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
