"""The verb stream: live classification of a file or the microphone, as a display or as JSON lines."""

from __future__ import annotations

import contextlib
import queue
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from sensorium.cli.options import Json, RunFolder, Trust, trusted
from sensorium.cli.output import Output, console
from sensorium.errors import BadData, BadRecipe, MissingExtra

MICROPHONE = "microphone"
_CHUNK = 0.1  # seconds
_WIDTH = 32  # characters of a full bar
_BARS, _ASCII_BARS = ("█", "·"), ("#", ".")  # of the full and of the empty part


def stream(
    run: RunFolder,
    source: Annotated[
        str, typer.Argument(metavar="FILE|microphone", help="A recording, or the microphone.", show_default=False)
    ],
    pace: Annotated[
        float,
        typer.Option(
            "--pace", min=0.0, help="Speed at which a file is played, in times real time; 0: as fast as possible."
        ),
    ] = 0.0,
    utterances: Annotated[
        bool, typer.Option("--utterances", help="Classify each utterance by itself, from pause to pause.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=0.1, help="Stop after so much sound.", show_default=False)
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Microphone by number or part of its name.", show_default=False)
    ] = None,
    trust: Trust = False,
    as_json: Json = None,
) -> None:
    """Classify live sound every 100 ms; the last answer is that of the whole recording.

    [bold]sensorium stream runs/ravdess-best voice.wav[/bold]

    [bold]sensorium stream runs/ravdess-best voice.wav --pace 1[/bold]

    [bold]sensorium stream runs/ravdess-best microphone --json[/bold]
    """
    import sensorium

    trusted(trust, run)
    opened = sensorium.open(run)
    labels = opened.classifier.labels  # refuses a run that cannot stream before the microphone is opened
    chunks, rate = microphone(device) if source == MICROPHONE else recording(source, pace)
    session = opened.stream(rate, utterances)
    with contextlib.closing(chunks), Lines() if Output(as_json).json else Display(labels) as output:
        played = 0
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the recording, and its answer still comes
            for chunk in chunks:
                played += len(chunk)
                output.show(session.push(chunk))
                if seconds is not None and played >= seconds * rate:
                    break
        output.show(session.finish())


def recording(source: str, pace: float) -> tuple[Iterator[Any], int]:
    """Chunks of a file at its own rate, and the rate. Raises BadData for one that cannot be read."""
    from sensorium.modalities.audio import files

    samples, rate = files.read_channels(source)
    samples = files.to_mono(samples, source)
    size = max(1, round(_CHUNK * rate))

    def chunks() -> Iterator[Any]:
        start = time.monotonic()
        for at in range(0, len(samples), size):
            if pace and (wait := start + (at + size) / rate / pace - time.monotonic()) > 0:
                time.sleep(wait)
            yield samples[at : at + size]

    return chunks(), rate


def microphone(device: str | None) -> tuple[Iterator[Any], int]:
    """Chunks of the microphone as they come, and their rate. Raises MissingExtra without sounddevice."""
    try:
        import sounddevice
    except ImportError:
        raise MissingExtra("sounddevice", "microphone") from None
    except OSError as error:
        raise BadRecipe(f"{error}; install PortAudio, such as: apt install libportaudio2") from None
    arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
    chosen = int(device) if device is not None and device.isdigit() else device
    try:
        rate = int(sounddevice.query_devices(chosen, "input")["default_samplerate"])
        source = sounddevice.InputStream(rate, round(_CHUNK * rate), chosen, 1, "float32",
                                         callback=lambda block, *_: arrived.put(block[:, 0].copy()),
                                         finished_callback=lambda: arrived.put(None))  # fmt: skip
        source.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise BadData(
            f"no microphone '{device or 'default'}': {error}; list them with: python -m sounddevice"
        ) from None

    def chunks() -> Iterator[Any]:
        with contextlib.closing(source):
            while (chunk := arrived.get()) is not None:  # None: it was unplugged, and its answer still comes
                yield chunk

    return chunks(), rate


class Lines:
    """Each message as a line of JSON, at once."""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, messages: list[dict[str, Any]]) -> None:
        """Print messages."""
        import json

        for message in messages:
            print(json.dumps(message, allow_nan=False), flush=True)


class Display:
    """A moving bar for each label, the last segments below it, and at the end the answer of the whole recording."""

    def __init__(self, labels: list[str]) -> None:
        from rich.live import Live

        self.labels, self.values = labels, [0.0] * len(labels)
        self._full, self._empty = _BARS if _shows("".join(_BARS)) else _ASCII_BARS
        self.title, self.segments = "listening", list[str]()
        self._live = Live(self.table(), console=console(), refresh_per_second=12, transient=False)

    def __enter__(self) -> Display:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def show(self, messages: list[dict[str, Any]]) -> None:
        """Show these messages."""
        for message in messages:
            if message["type"] == "frames":
                self.values = message["smoothed"]
                self.title = f"{message['t1']:7.1f} s  {message['label'] or 'no speech'}"
            elif message["type"] == "segment":
                self.segments.append(
                    f"{message['start']:.1f} to {message['end']:.1f} s  {message['label']}  {message['confidence']:.0%}"
                )
            elif message["type"] == "final" and message["label"]:
                self.values = message["probabilities"]
                self.title = f"{message['seconds']:7.1f} s in all: {message['label']} {message['confidence']:.0%}"
            elif message["type"] == "final":
                self.title = f"{message['seconds']:7.1f} s in all: no speech was heard"
        if messages:
            self._live.update(self.table())

    def table(self) -> Any:
        """What is on the screen now."""
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        table.add_row(Text(""), Text(self.title, style="bold"))
        best = max(self.values)
        for label, value in zip(self.labels, self.values, strict=True):
            style = "bold green" if value == best and value else ""
            bar = Text(self._full * round(_WIDTH * value), style=style or "cyan")
            bar.append(self._empty * (_WIDTH - round(_WIDTH * value)), style="dim")
            table.add_row(Text(label, style=style), bar.append(f" {value:4.0%}", style=style or "none"))
        for line in self.segments[-8:]:
            table.add_row(Text(""), Text(line, style="dim"))
        return table


def _shows(text: str) -> bool:
    """Whether the terminal's encoding has these characters."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


VERBS = {"stream": stream}
