"""Audio: files and recordings read to samples, framing, spectra, cepstra and augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sensorium.errors import BadData
from sensorium.modalities import Decoded, Limits

if TYPE_CHECKING:
    import numpy as np


class Audio:
    """Recordings: (samples (n,) or (n, channels), rate in Hz), or paths of sound files."""

    name, query, is_file = "audio", "a sound file", True
    media_types: Mapping[str, str] = {
        ".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".oga": "audio/ogg",
        ".opus": "audio/ogg", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac",
    }  # fmt: skip
    shown_as, packed_as = "audio", "audio/wav"

    def read(self, value: Any) -> tuple[np.ndarray, int]:
        """A recording as mono float32 samples (n,) and its rate in Hz."""
        from sensorium.modalities.audio import files

        return files.read_mono(value)

    def decode(self, content: bytes, limits: Limits) -> Decoded:
        """A sound file as (mono float32 samples (n,), rate in Hz)."""
        from sensorium.modalities.audio import files

        return Decoded(files.read_mono(content, limits.seconds), files.media_type_of(content))

    def check(self, path: Any) -> None:
        """Raise BadData for a file that is no whole recording: see :func:`sensorium.modalities.audio.whole.check`."""
        from sensorium.modalities.audio import whole

        whole.check(path)

    def pack(self, value: Any) -> bytes | None:
        """(samples, rate) as WAV of 16 bits; None for what is no recording."""
        from sensorium.modalities.audio import files

        return files.pack(value)

    def bad_items(self, error: BadData, values: Sequence[Any]) -> BadData:
        """The error, with the number of the recordings that cannot be read."""
        from sensorium.modalities.audio import files

        return files.counted(error, values)


modality = Audio()
