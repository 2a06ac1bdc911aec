"""Numerics: unit length, running moments, ragged sequences, threads and memory of the numeric libraries."""

from sensorium.numerics.unit_length import unit

__all__ = ["unit"]
