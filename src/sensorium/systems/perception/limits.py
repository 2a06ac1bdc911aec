"""Limits of live faces, each from the environment: ``SENSORIUM_FACES_STREAMS=4 sensorium serve RUN``."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class FaceLimits(BaseSettings):
    """Limits of ``WS /faces`` and ``POST /faces``; every field can come from the environment."""

    model_config = SettingsConfigDict(env_prefix="SENSORIUM_FACES_", extra="ignore")

    streams: int = Field(32, gt=0, description="sockets of faces open at once; a further one is refused")
    faces: int = Field(10, gt=0, le=100, description="faces looked for in one frame, at most")
    prompts: int = Field(50, gt=0, description="nearest prompts of one face, at most")
    bytes: int = Field(4 << 20, gt=0, description="bytes of one frame of a socket")
    pixels: int = Field(8_294_400, gt=0, description="pixels of one frame of a socket; 3840 x 2160")
    seconds: float = Field(4 * 3600.0, gt=0, description="how long one socket may stay open")
    idle: float = Field(60.0, gt=0, description="seconds without a message after which a socket is closed")
    slow: float = Field(10.0, gt=0, description="seconds a reader may take nothing before its socket is closed")
    decode_seconds: float = Field(2.0, gt=0, description="time that decoding one frame may take")
    model: str = Field("", description="face_landmarker.task, for runs that name no source of landmarks themselves")
    orders: int = Field(32, gt=0, description="text messages that wait to be answered before a socket is closed")
