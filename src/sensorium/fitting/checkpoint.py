"""Checkpoints: tensors and plain state in one folder, replaced atomically; no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sensorium import fingerprint, io
from sensorium.errors import Corrupt

_REMEDY = "delete the folder to start anew"


def save(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors.safetensors and state.json, with checksums of both; the previous checkpoint stays until then."""
    from safetensors.torch import save as pack

    with io.publish(folder) as building:
        path = building / "tensors.safetensors"
        path.write_bytes(pack({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
        record = {
            "state": dict(state),
            "state_checksum": fingerprint.digest(state),
            "tensors_checksum": io.checksum(path),
        }
        io.write_json(building / "state.json", record)


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What :func:`save` wrote, or None where there is nothing. Raises Corrupt when it is damaged."""
    from safetensors.torch import load_file

    if not folder.is_dir():
        return None
    path = folder / "state.json"
    record = io.read_object(path, _REMEDY, state=dict, state_checksum=str, tensors_checksum=str)
    if fingerprint.digest(record["state"]) != record["state_checksum"]:
        raise Corrupt(f"{path} is damaged: its content does not have its checksum; {_REMEDY}")
    io.verify(folder / "tensors.safetensors", record["tensors_checksum"], _REMEDY)
    return load_file(folder / "tensors.safetensors"), record["state"]


def keep(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write one file of weights that is not deleted, such as checkpoints/epoch-0010.safetensors."""
    from safetensors.torch import save as pack

    io.write(path, pack({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
