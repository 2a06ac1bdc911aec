"""Small sound files of every container, made by soundfile and PyAV and changed by the byte."""

from __future__ import annotations

import io
import struct

import numpy as np
import soundfile

RATE = 16_000


def tone(seconds: float = 1.0, rate: int = RATE, hz: float = 300.0) -> np.ndarray:
    """A sine (n,) float32 at 0.3 of full scale."""
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def written(kind: str, subtype: str | None = None, seconds: float = 1.0, rate: int = RATE) -> bytes:
    """A tone as a file that soundfile writes: WAV, FLAC, OGG, MP3, AIFF, AU, CAF, W64, RF64."""
    out = io.BytesIO()
    soundfile.write(out, tone(seconds, rate), rate, format=kind, subtype=subtype)
    return out.getvalue()


def encoded(container: str, codec: str, seconds: float = 1.0, rate: int = RATE, **options: str) -> bytes:
    """A tone as a file that PyAV writes, such as webm with libopus, adts with aac, mp3 with mp3."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        samples = tone(seconds, rate)
        resampler = av.AudioResampler(
            format=stream.format or "fltp", layout="mono", rate=rate, frame_size=stream.frame_size or 1024
        )
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        for one in [*resampler.resample(frame), *resampler.resample(None)]:
            for packet in stream.encode(one):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return out.getvalue()


def wave(subtype: str = "PCM_16", riff: int | None = None, data: int | None = None, cut: int = 0) -> bytes:
    """A WAV file of one second whose header declares these lengths, without its last ``cut`` bytes."""
    content = bytearray(written("WAV", subtype))
    if riff is not None:
        struct.pack_into("<I", content, 4, riff)
    if data is not None:
        struct.pack_into("<I", content, content.index(b"data") + 4, data)
    return bytes(content[: len(content) - cut])


def without_xing(content: bytes) -> bytes:
    """An MP3 file without the frame that says how many there are."""
    from sensorium.modalities.audio import mp3

    at = next(at for at in range(len(content)) if mp3.frame(content, at))
    first = mp3.frame(content, at)
    assert first.header
    return content[at + first.size :]


def samples() -> dict[str, bytes]:
    """One whole file of one second of each kind, by a name."""
    return {
        "wav": written("WAV"), "wav24": written("WAV", "PCM_24"), "float": written("WAV", "FLOAT"),
        "ulaw": written("WAV", "ULAW"), "adpcm": written("WAV", "IMA_ADPCM"), "gsm": written("WAV", "GSM610"),
        "flac": written("FLAC"), "vorbis": written("OGG", "VORBIS"), "opus": written("OGG", "OPUS"),
        "mp3": written("MP3"), "aiff": written("AIFF"), "au": written("AU"), "caf": written("CAF"),
        "w64": written("W64"), "rf64": written("RF64"), "webm": encoded("webm", "libopus", rate=48_000),
        "m4a": encoded("mp4", "aac"), "fragmented": encoded("mp4", "aac", movflags="frag_keyframe+empty_moov"),
        "aac": encoded("adts", "aac"),
    }  # fmt: skip
