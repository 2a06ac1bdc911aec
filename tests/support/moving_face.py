"""A real face that moves: the astronaut picture of scikit-image (NASA, public domain) as frames and as a camera's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CENTRE = (112.0, 224.0)  # row and column of the face in the picture
HIGH = 190.0  # rows of the picture that a frame shows


def frames(n: int = 50, width: int = 640, height: int = 480, faces: int = 1) -> list[np.ndarray]:
    """n frames (height, width, 3) uint8 of a turn of slow movement: sideways, up and down, nearer and tilted.

    faces: that many of them beside each other, each with a movement of its own.
    """
    import skimage.data
    from PIL import Image

    picture = Image.fromarray(skimage.data.astronaut())
    found = []
    for i in range(n):
        frame = Image.new("RGB", (width, height))
        for k in range(faces):
            t = 2 * np.pi * (i / n + k / 3)
            wide = width // faces
            zoom = HIGH / height * (1 + 0.1 * np.sin(t)) * (1 if faces == 1 else 1.4)
            turn = np.deg2rad(6 * np.sin(2 * t))
            cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
            x, y = CENTRE[1] + 14 * np.sin(t), CENTRE[0] + 6 * np.cos(t)
            matrix = (cos, -sin, x - cos * wide / 2 + sin * height / 2, sin, cos, y - sin * wide / 2 - cos * height / 2)
            part = picture.transform((wide, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
            frame.paste(part, (k * wide, 0))
        found.append(np.asarray(frame))
    return found


def y4m(path: Path, pictures: list[np.ndarray], rate: int = 25) -> Path:
    """Write frames as YUV4MPEG2, which Chromium plays as a camera (``--use-file-for-fake-video-capture``)."""
    height, width, _ = pictures[0].shape
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{rate}:1 Ip A1:1 C420mpeg2\n".encode())
        for rgb in pictures:
            r, g, b = np.moveaxis(rgb.astype(np.float32), 2, 0)
            y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
            u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
            v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
            file.write(b"FRAME\n")
            for plane, step in ((y, 1), (u, 2), (v, 2)):
                small = plane if step == 1 else plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
                file.write(np.clip(np.rint(small), 0, 255).astype(np.uint8).tobytes())
    return path
