"""A script of 5,000 lines: prompts for an engine in seconds, and whether the engine would take them.

    python -m bench.script_lines --root RAVDESS [--work FOLDER] [--lines 5000] [--engine gpt-sovits] [--precision auto]

The library is a folder of clips that the data set ``clips`` reads without a table, such as RAVDESS; the run is fitted
on it first (closed form, built-in sentences), and kept in --work. The lines are the built-in sentences, spoken to
different people, all different. The encoder of texts is minilm in --precision; auto is bfloat16 where the hardware has
it. Times are of one process whose models are loaded, on all its cores, for:

ours        the file of lines in, a JSON line for each out, durable, gates within the search
plain       the original's way with a file: sentence-transformers in batches of 64, the same head, one product with
            all clips, no gates, nothing checked
one by one  the original's way with --text, once for each line, without the seconds that its start takes; 200 lines

Then every clip that ours chose is written as the engine would get it, and measured again here, by other code than the
library's and without its columns, against what the engine's own code refuses and the levels of the profile.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path

import numpy as np

SAMPLE = 200  # lines that are searched for one by one
NAMES = ("Mara", "Doctor", "Tom", "Mother", "Captain", "Ines", "Professor", "Old man", "Kit", "Grandma", "Boss")


def lines(n: int) -> list[str]:
    """n different lines: the built-in sentences, each spoken to several people."""
    import sensorium

    path = Path(sensorium.__file__).parent / "recipes" / "sentences" / "emotions.csv"
    with open(path, encoding="utf-8", newline="") as file:
        told = [row["text"] for row in csv.DictReader(file)]
    made = dict.fromkeys(told) | {f"{name}! {text}": None for name in NAMES for text in told}
    if len(made) < n:
        raise SystemExit(f"at most {len(made):,} lines are different")
    return list(made)[:n]


def fitted(root: Path, work: Path, precision: str):
    """The run over the clips, made once."""
    import sensorium

    folder = work / f"script-lines-{precision}"
    if not (folder / "metrics.json").is_file():
        keys = [f"data.root={root}", "data.sentences=emotions", "objective=cca", "evaluate.plots=false",
                f"left.encoder.precision={precision}"]  # fmt: skip
        sensorium.run("emorag", keys, out=folder, quiet=True)
    return sensorium.open(folder)


def ours(run, script: Path, out: Path, engine: str) -> tuple[float, list[dict]]:
    """Seconds from the file of lines to the file of prompts, as ``sensorium search --lines --out`` goes."""
    from sensorium.search import script as scripts
    from sensorium.search.line_file import LineFile
    from sensorium.search.lines import Encoded, batches
    from sensorium.systems.emorag.picker import Picker, Wanted

    start = time.perf_counter()
    told = scripts.read(script)
    encoded = Encoded(run, told)
    picker = Picker(run, encoded.side, told, Wanted(engine, 1, level=True))
    with LineFile(out, {"script": told.digest, "options": picker.about}) as file:
        for batch in batches(encoded, picker):
            file.append(batch)
        file.finish()
    seconds = time.perf_counter() - start
    return seconds, [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def plain(run, texts: list[str]) -> tuple[float, float]:
    """Seconds of the original's way for all lines at once, and for one line at a time, all scaled to all lines."""
    from sensorium import parts

    model, index = parts.make("encoders", "minilm").network, run.index("right")  # float32, as the original's
    clips = np.ascontiguousarray(index.vectors())

    def search(batch: list[str]) -> None:
        x = model.encode(batch, batch_size=64, convert_to_numpy=True, show_progress_bar=False)
        scores = run.project("left", x.astype(np.float32)) @ clips.T
        np.argsort(-scores, axis=1)[:, :1]

    search(texts[:1])
    start = time.perf_counter()
    search(texts)
    together = time.perf_counter() - start
    start = time.perf_counter()
    for text in texts[:SAMPLE]:
        search([text])
    return together, (time.perf_counter() - start) * len(texts) / min(SAMPLE, len(texts))


def faults(path: Path, words: str, engine: str) -> list[str]:
    """What an engine would refuse or copy of an audio file, measured from its samples alone."""
    import soundfile
    import soxr

    x, rate = soundfile.read(path, always_2d=True)
    x = x.mean(1)
    at16 = soxr.resample(x, rate, 16_000)
    found = []
    if engine == "gpt-sovits" and not 48_000 <= len(at16) <= 160_000:
        found.append("duration")  # TTS.py raises
    if engine == "f5" and len(x) / rate > 12:
        found.append("duration")  # utils_infer.py cuts
    if engine == "cosyvoice" and (len(at16) / 16_000 > 30 or rate < 16_000):
        found.append("duration or rate")  # frontend.py asserts
    if engine == "indextts" and len(x) / rate > 15:
        found.append("duration")  # infer_v2.py cuts
    block = at16[: len(at16) // 320 * 320].reshape(-1, 320)
    rms = np.sqrt((block**2).mean(1))
    speech = rms > max(rms.max() * 0.03, 1e-4)
    if not speech.any() or not 0.03 <= np.median(rms[speech]) <= 0.35:
        found.append("loudness")
    if np.mean(np.abs(x) >= 0.9995) > 0.001:
        found.append("clipping")
    floor = np.percentile(rms[rms > 3e-5], 5) if (rms > 3e-5).any() else 1.0
    if 20 * np.log10(np.sqrt((rms[speech] ** 2).mean()) / floor) < 15:
        found.append("noise")
    ends = np.flatnonzero(speech) if speech.any() else np.array([0])
    if ends[0] * 0.02 > 1.6 or (len(rms) - 1 - ends[-1]) * 0.02 > 1.6:
        found.append("silence")
    if engine in ("gpt-sovits", "f5", "cosyvoice") and not words.strip():
        found.append("transcript")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--engine", default="gpt-sovits")
    parser.add_argument("--precision", default="auto")
    given = parser.parse_args()
    from sensorium.systems.emorag import profiles
    from sensorium.systems.emorag.clip_audio import ClipAudio

    with tempfile.TemporaryDirectory() as temporary:
        work, folder = given.work or Path(temporary), Path(temporary)
        run = fitted(given.root, work, given.precision)
        texts = lines(given.lines)
        (folder / "script.txt").write_text("".join(f"{text}\n" for text in texts), "utf-8")
        run.search(text=texts[0], k=1)  # the models are loaded
        seconds, records = ours(run, folder / "script.txt", folder / "prompts.jsonl", given.engine)
        together, alone = plain(run, texts)
        chosen = {record["hits"][0]["id"]: record["hits"][0] for record in records if record["hits"]}
        audio = ClipAudio(run, "right", folder / "clips", profiles.find(given.engine).rate, level=True)
        wrong = {id: faults(audio.copy(hit), hit["transcript"], given.engine) for id, hit in chosen.items()}
        fine = sum(bool(record["hits"]) and not wrong[record["hits"][0]["id"]] for record in records)
        kinds = sorted({fault for found in wrong.values() for fault in found})
        told = {
            "lines": len(texts), "clips": len(run.index("right")), "engine": given.engine, "precision": given.precision,
            "ours_s": round(seconds, 2), "plain_s": round(together, 2), "one_by_one_s": round(alone, 1),
            "plain/ours": round(together / seconds, 2), "one_by_one/ours": round(alone / seconds, 1),
            "prompts": sum(bool(record["hits"]) for record in records), "different clips": len(chosen),
            "pass again": f"{100 * fine / len(records):.2f}%", "faults": kinds,
        }  # fmt: skip
        print(json.dumps(told))


if __name__ == "__main__":
    main()
