"""The public archives of Clotho v2.1, https://zenodo.org/records/4783391 (Tampere University, non-commercial)."""

from __future__ import annotations

from pathlib import Path

from sensorium.datasets import _download, _unpack
from sensorium.datasets._clotho_lists import AUDIO, CSV, SPLITS
from sensorium.datasets._download import Archive
from sensorium.errors import BadData

_RECORD = "https://zenodo.org/records/4783391/files"
#: Captions and sounds of each split, with the checksums of the record; about 7 GB.
CAPTIONS = {
    "development": Archive(f"{_RECORD}/clotho_captions_development.csv", "md5:d4090b39ce9f2491908eebf4d5b09bae"),
    "validation": Archive(f"{_RECORD}/clotho_captions_validation.csv", "md5:5879e023032b22a2c930aaa0528bead4"),
    "evaluation": Archive(f"{_RECORD}/clotho_captions_evaluation.csv", "md5:1b16b9e57cf7bdb7f13a13802aeb57e2"),
}
SOUNDS = {
    "development": Archive(f"{_RECORD}/clotho_audio_development.7z", "md5:c8b05bc7acdb13895bb3c6a29608667e"),
    "validation": Archive(f"{_RECORD}/clotho_audio_validation.7z", "md5:7dba730be08bada48bd15dc4e668df59"),
    "evaluation": Archive(f"{_RECORD}/clotho_audio_evaluation.7z", "md5:4569624ccadf96223f19cb59fe4f849f"),
}


def obtain(root: Path, mirror: str = "", wait: float = 1.0) -> list[Path]:
    """What is missing of the captions and sounds, in the folders of Clotho's own scripts; what is there stays.

    mirror: where the files are instead. wait: seconds before the first retry. Raises as :func:`_download.obtain`.
    """
    if root.exists() and not root.is_dir():
        raise BadData(f"{root} is a file; type: data.root=FOLDER to fetch into")
    folders = []
    for split in SPLITS:
        csv, sounds = CAPTIONS[split], SOUNDS[split]
        if not (root / CSV / csv.name).is_file():
            _download.download(_url(csv, mirror), root / CSV / csv.name, _download.published(csv), wait)
        target = root / AUDIO / split
        if not target.is_dir():
            packed = root / ".download" / sounds.name
            _download.download(_url(sounds, mirror), packed, _download.published(sounds), wait)
            _unpack.unpack(packed, target, top=split)
            packed.unlink()
        folders.append(target)
    return folders


def _url(archive: Archive, mirror: str) -> str:
    return f"{mirror.rstrip('/')}/{archive.name}" if mirror else archive.url
