"""Encoders whose vectors are known from the value alone, for the tests of the store."""

import numpy as np

from sensorium.contracts import Encoder


class Words(Encoder):
    """Text to (d,) by a seeded generator; counts what it was asked for."""

    takes = "text"

    def __init__(self, dim=6, batch=4, name="words", dtype=np.float32):
        self.dim, self.batch, self.dtype = dim, batch, dtype
        self.fingerprint = {"name": name, "dim": dim}
        self.seen = []

    def encode(self, values):
        assert len(values) <= self.batch or self.batch is None
        self.seen += values
        return np.stack([self.vector(v) for v in values]).astype(self.dtype)

    def vector(self, text):
        return np.random.default_rng(list(text.encode()) or [0]).normal(size=self.dim).astype(np.float32)


class Frames(Encoder):
    """Text to (len(text), d) frames."""

    takes, frames, dim = "text", True, 3
    fingerprint = {"name": "frames"}  # noqa: RUF012

    def encode(self, values):
        return [self.vector(v) for v in values]

    def vector(self, text):
        return np.random.default_rng(list(text.encode())).normal(size=(len(text), 3)).astype(np.float32)
