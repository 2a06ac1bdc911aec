"""Frames of a recording and of its stream."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensorium.modalities.audio.framing import Framer, count, frames


@given(n=st.integers(1, 300), size=st.integers(1, 60), hop=st.integers(1, 90), every=st.integers(1, 3))
def test_frames_are_the_windows_of_the_samples(n: int, size: int, hop: int, every: int) -> None:
    samples = np.arange(n * every, dtype=np.float32)[::every]
    found = frames(samples, size, hop)
    assert len(found) == count(n, size, hop)
    padded = np.pad(samples, (0, max(0, size - n)))
    np.testing.assert_array_equal(found, [padded[k * hop : k * hop + size] for k in range(len(found))])
    assert len(found) * hop + size > n  # none is left out


@given(
    n=st.integers(0, 300),
    size=st.integers(1, 60),
    hop=st.integers(1, 90),
    cuts=st.lists(st.integers(0, 300), max_size=6),
)
def test_a_stream_has_the_frames_of_the_recording(n: int, size: int, hop: int, cuts: list[int]) -> None:
    samples, framer = np.arange(n, dtype=np.float32), Framer(size, hop)
    found = [framer.push(part).copy() for part in np.split(samples, sorted(min(cut, n) for cut in cuts))]
    found.append(framer.finish())
    np.testing.assert_array_equal(np.concatenate(found), frames(samples, size, hop) if n else np.zeros((1, size)))


def test_frames_of_samples_that_may_not_be_written_may_not_be_either() -> None:
    samples = np.zeros(30, np.float32)
    samples.flags.writeable = False
    assert not frames(samples, 10, 5).flags.writeable
