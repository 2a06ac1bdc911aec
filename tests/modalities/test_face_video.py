"""Frames of video files: one in N in order, the one at a time, turned videos, and files that are none."""

import numpy as np
import pytest

from sensorium.errors import BadData
from sensorium.modalities.face import video
from sensorium.types import VideoFrame

av = pytest.importorskip("av", reason="the extra 'audio' is not installed")
FPS = 12


def write(path, n=40, codec="mpeg4", size=(64, 48)):
    """A video that is brighter by five a frame; a bright bar is at its top."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *size, "yuv420p", 9
        for i in range(n):
            picture = np.zeros((size[1], size[0], 3), np.uint8)
            picture[:], picture[:8] = 5 * i, 255
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.mkv", "mpeg4"), ("a.webm", "libvpx")])
def test_the_frame_at_a_time_is_the_one_of_the_list(tmp_path, name, codec):
    path = write(tmp_path / name, codec=codec)
    every = list(video.frames(path))
    seconds = [second for second, _ in every]
    assert len(every) == 40 and seconds == sorted(seconds) and seconds[0] == 0
    assert np.allclose(seconds, np.arange(40) / FPS, atol=2e-3)
    assert np.allclose([rgb[20:, :, 0].mean() for _, rgb in every], 5 * np.arange(40), atol=6)
    for i in (39, 3, 20, 21, 22, 38, 0, 30, 29, 5):
        assert (video.read(VideoFrame(str(path), seconds[i])) == every[i][1]).all()
        between = video.read(VideoFrame(str(path), seconds[i] + 0.4 / FPS))
        assert (between == every[i][1]).all()


def test_one_frame_in_n(tmp_path):
    path = write(tmp_path / "a.mp4")
    every, some = list(video.frames(path)), list(video.frames(path, 7))
    assert [second for second, _ in some] == [second for second, _ in every[::7]]
    assert all((a == b).all() for (_, a), (_, b) in zip(some, every[::7], strict=True))
    with pytest.raises(BadData, match="every=0; expected 1 or more"):
        next(video.frames(path, 0))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_video_taken_on_its_side_is_upright(tmp_path, turns):
    path = write(tmp_path / "a.mp4", n=3)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # the matrix of the track header, version 0
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]  # shown turned clockwise by so many quarters
    for place, value in ((0, a), (4, b), (12, -b), (16, a)):
        content[at + place : at + place + 4] = (value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    (_, rgb), *_ = video.frames(path)
    flat = write(tmp_path / "flat.mp4", n=3)
    (_, plain), *_ = video.frames(flat)
    assert (rgb == np.rot90(plain, -turns)).all()


def test_a_time_that_is_not_in_the_video(tmp_path):
    path = write(tmp_path / "a.mp4")
    with pytest.raises(BadData, match=r"a.mp4 ends at 3.25 s; 60 s is not in it"):
        video.read(VideoFrame(str(path), 60.0))
    with pytest.raises(BadData, match=r"a.mp4 has no frame at -1 s"):
        video.read(VideoFrame(str(path), -1.0))
    assert video.read(VideoFrame(str(path), 1.0)).shape == (48, 64, 3)  # it can be read all the same


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    half = write(tmp_path / "half.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(half[: len(half) // 3])
    with av.open(str(tmp_path / "sound.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    for name in ("text.mp4", "empty.mp4", "half.mp4", "absent.mp4"):
        with pytest.raises(BadData, match=f"cannot read .*{name} as a video"):
            list(video.frames(tmp_path / name))
        with pytest.raises(BadData, match=f"cannot read .*{name} as a video"):
            video.read(VideoFrame(str(tmp_path / name), 0.0))
    with pytest.raises(BadData, match=r"sound.mp4 has no pictures: no video stream is in it"):
        list(video.frames(tmp_path / "sound.mp4"))


def test_a_damaged_frame_costs_that_frame_alone(tmp_path):
    path = write(tmp_path / "a.mkv")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 60] = bytes(60)
    path.write_bytes(content)
    found = list(video.frames(path))
    assert 10 <= len(found) <= 40 and found[0][0] == 0


def test_a_replaced_file_is_opened_anew(tmp_path):
    path = write(tmp_path / "a.mp4")
    before = video.read(VideoFrame(str(path), 1.0))
    write(path, n=30, size=(32, 32))
    assert video.read(VideoFrame(str(path), 1.0)).shape == (32, 32, 3) != before.shape
