"""A small made corpus of captioned sounds: tones whose captions name their pitch, as the tables and folders of the field."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16_000
#: Two values of Clotho's splits, and how many sounds each has here.
CLOTHO = {"development": 10, "validation": 4, "evaluation": 5}


def captions(at: int, each: int = 5) -> list[str]:
    """Captions of sound ``at``, all of them different."""
    pitch = ("deep", "low", "middle", "high", "shrill")[at % 5]
    return [f"{('a', 'one', 'the', 'some', 'this')[k]} {pitch} tone, number {at}" for k in range(each)]


def sounds(folder: Path, n: int, first: int = 0, seconds: float = 0.25) -> list[str]:
    """n WAV files, each of another content; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for at in range(first, first + n):
        t = np.arange(int(seconds * RATE)) / RATE
        tone = 0.3 * np.sin(2 * np.pi * (110 + 37 * at) * t) + 1e-3 * np.random.default_rng(at).normal(size=len(t))
        soundfile.write(folder / f"s{at}.wav", tone.astype(np.float32), RATE)
        names.append(f"s{at}.wav")
    return names


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as CSV, TSV, JSON, JSONL or Parquet, by the ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".csv", ".tsv"):
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), "utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def wide(names: list[str], each: int = 5, first: int = 0) -> list[dict[str, Any]]:
    """One row a sound: file_name,caption_1,…."""
    return [{"file_name": name, **{f"caption_{k + 1}": text for k, text in enumerate(captions(at, each))}}
            for at, name in enumerate(names, first)]  # fmt: skip


def long(names: list[str], each: int = 5, first: int = 0) -> list[dict[str, Any]]:
    """One row a caption, as Clotho's second layout: fname,raw_text,text."""
    return [{"fname": name, "raw_text": text.capitalize(), "text": text}
            for at, name in enumerate(names, first) for text in captions(at, each)]  # fmt: skip


def clotho(root: Path, flat: bool = False) -> Path:
    """Clotho's three splits, in the folders of its own scripts or flat with one row a caption; one name is in two."""
    first = 0
    for split, n in CLOTHO.items():
        folder = root / split if flat else root / "clotho_audio_files" / split
        names = sounds(folder, n, first)
        (folder / names[-1]).rename(folder / "twice.wav")
        names[-1] = "twice.wav"
        if flat:
            table(root / f"{split}_captions.csv", long(names, first=first))
        else:
            table(root / "clotho_csv_files" / f"clotho_captions_{split}.csv", wide(names, first=first))
        first += n
    return root


def cache(folder: Path, n: int = 8, each: int = 5, dim: int = 6, first: int = 0, **about: Any) -> Path:
    """A cache of n clips as the Embed2Image document writes it: each clip's vector once a caption."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(first)
    audio, text = rng.standard_normal((n, dim)), rng.standard_normal((n * each, dim))
    torch.save(torch.tensor(np.repeat(audio, each, 0), dtype=torch.float32), folder / "audio_embeddings.pt")
    torch.save(torch.tensor(text, dtype=torch.float32), folder / "text_embeddings.pt")
    ids = [f"x{first + at}.wav#{k + 1}" for at in range(n) for k in range(each)]
    about = {"ids": ids, "audio_embedding_shape": [n * each, dim], "text_embedding_shape": [n * each, dim],
             "audio_sample_rate": 32000, "audio_encoder": "AudioEncoder", "text_encoder": "TextEncoder",
             "num_pairs": n * each, **about}  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps(about))
    return folder
