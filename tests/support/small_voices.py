"""A run of voices made in seconds: spoken-like clips of four speakers and four emotions, and lines that fit them."""

from pathlib import Path

import numpy as np
import soundfile

import sensorium
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

RATE = 16_000
EMOTIONS = ("angry", "calm", "happy", "sad")
SPEAKERS = ("ada", "ben", "cleo", "dan")
LINES = {
    "angry": ("Get out of my house this instant", "How dare you touch that", "I told you never to come back",
              "You broke it and you lied about it", "Stop that noise right now", "I have had enough of your excuses"),
    "calm": ("Let us sit by the water for a while", "There is no hurry at all", "Breathe in slowly and breathe out",
             "The evening is quiet and mild", "We can talk it over tomorrow", "Take your time with the tea"),
    "happy": ("We won the whole tournament today", "Look what a wonderful present", "I cannot wait to see you all",
              "She said yes and we are dancing", "What a glorious sunny morning", "They are coming home for good"),
    "sad": ("I miss her more than I can say", "Nobody came to the funeral", "The old dog died last night",
            "I am so alone in this room", "He left without a word", "There is nothing left of our home"),
}  # fmt: skip
#: What is wrong with some of the clips, by their id.
FAULTS = {
    "ada/angry_2.wav": {"duration": 1.8}, "ben/angry_2.wav": {"rms": 0.005, "peak": 0.04, "loudness": -52.0},
    "cleo/happy_2.wav": {"clipping": 0.04, "peak": 1.0}, "dan/sad_2.wav": {"snr": 6.0},
    "dan/calm_2.wav": {"transcript": ""}, "ben/happy_2.wav": {"nonverbal": "laughter"},
}  # fmt: skip


def clip(emotion: str, speaker: str, take: int, seconds: float) -> np.ndarray:
    """Syllables of a buzz whose pitch, rate and level are the emotion's, (n,) float32, with silence at both ends."""
    random = np.random.default_rng([EMOTIONS.index(emotion), SPEAKERS.index(speaker), take])
    base = 110 + 35 * SPEAKERS.index(speaker)
    up, rate, level = {"angry": (1.6, 5.0, 0.5), "calm": (1.0, 2.5, 0.2), "happy": (2.0, 4.5, 0.4),
                       "sad": (0.8, 1.8, 0.15)}[emotion]  # fmt: skip
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = base * up * (1 + 0.1 * np.sin(2 * np.pi * rate * t / 2) + 0.02 * random.standard_normal())
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 9)) / 2
    syllables = np.clip(np.sin(2 * np.pi * rate * t + random.uniform(0, 6)) + 0.6, 0, 1)
    sound = level * voice * syllables + 0.002 * random.standard_normal(len(t))
    ends = int(0.3 * RATE)
    sound[:ends] *= 0.01
    sound[-ends:] *= 0.01
    return sound.astype(np.float32)


def write(folder: Path) -> tuple[list[str], dict[str, list]]:
    """The clips below ``folder``; their ids, and their columns as the data set ``clips`` measures them."""
    ids: list[str] = []
    columns: dict[str, list] = {}
    for speaker in SPEAKERS:
        (folder / speaker).mkdir(parents=True, exist_ok=True)
        for emotion in EMOTIONS:
            for take in range(3):
                id = f"{speaker}/{emotion}_{take}.wav"
                seconds = FAULTS.get(id, {}).get("duration", 3.4 + 0.7 * take)
                sound = clip(emotion, speaker, take, seconds)
                soundfile.write(folder / id, sound, RATE)
                words = LINES[emotion][take]
                told = {
                    "path": str(folder / id), "speaker": speaker, "emotion": emotion, "language": "en",
                    "transcript": words, "duration": seconds, "loudness": -22.5, "rms": 0.08, "peak": 0.8,
                    "clipping": 0.0, "snr": 38.0, "silence_start": 0.3, "silence_end": 0.3, "sample_rate": RATE,
                    "speech_rate": len(words) / (seconds - 0.6), "steadiness": 0.9, "nonverbal": "",
                }  # fmt: skip
                ids.append(id)
                for name, value in (told | FAULTS.get(id, {})).items():
                    columns.setdefault(name, []).append(value)
    return ids, columns


def data(folder: Path) -> Data:
    """Lines on the left, the clips of ``folder`` on the right; related where the emotion is the same."""
    ids, columns = write(folder)
    lines = [(line, emotion) for emotion, told in LINES.items() for line in told]
    meta = {name: np.array(values) for name, values in columns.items()}
    left = Items(np.array([f"line {i}" for i in range(len(lines))]), [line for line, _ in lines], "text",
                 {"text": np.array([line for line, _ in lines])}, name="text")  # fmt: skip
    right = Items(np.array(ids), list(columns["path"]), "audio", meta, name="clip")
    asked, found = np.array([emotion for _, emotion in lines]), meta["emotion"]
    a, b = np.nonzero(asked[:, None] == found[None])
    group = np.array([SPEAKERS.index(one) for one in meta["speaker"]])[b]
    split = np.array(["train", "train", "validation", "test"])[group]
    return Data(left, right, Pairs.of(a, b, group=group, split=split), {})


def make(folder: Path, *overrides: str):
    """The run in ``folder``, opened; its clips lie beside it in ``clips``."""
    recipe = {
        "name": "voices",
        "data": {"name": "memory"},
        "left": {"encoder": {"name": "hashing", "dim": 128}, "head": {"name": "linear", "dim": 16}},
        "right": {"encoder": "functionals", "head": {"name": "linear", "dim": 16, "preprocess": "standardize"}},
        "objective": "infonce",
        "train": {"epochs": 8, "precision": "fp32"},
        "evaluate": {"resamples": 20, "plots": False, "baselines": []},
    }  # fmt: skip
    return sensorium.run(recipe, overrides, out=folder, quiet=True, data=data(folder.parent / "clips"))
