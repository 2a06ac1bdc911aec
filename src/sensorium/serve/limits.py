"""The limits of live sound, by name: arguments, or SENSORIUM_LIVE_… in the environment."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Limits(BaseSettings):
    """What live streams may take, such as ``SENSORIUM_LIVE_STREAMS=100``."""

    model_config = SettingsConfigDict(env_prefix="SENSORIUM_LIVE_", extra="ignore")

    streams: int = Field(1000, gt=0, description="sockets that listen at once; a further one is refused")
    behind: float = Field(0.5, gt=0, description="seconds a turn of all streams may take before new ones are refused")
    seconds: float = Field(4 * 3600.0, gt=0, description="how long one socket may stay open")
    idle: float = Field(60.0, gt=0, description="seconds without a message after which a socket is closed")
    message: int = Field(1 << 20, gt=0, description="bytes of one message of sound")
    speed: float = Field(60.0, ge=1, description="times real time at which sound is taken; faster senders wait")
    burst: float = Field(5.0, gt=0, description="seconds of sound that are taken without looking at the speed")
    ahead: float = Field(10.0, gt=0, description="seconds of sound that may wait for the model; senders wait beyond")
    backlog: int = Field(64, gt=0, description="answers that wait for a slow reader before older ones are dropped")
    slow: float = Field(10.0, gt=0, description="seconds a reader may take nothing before its socket is closed")
    gather: float = Field(0.01, ge=0, description="seconds that sound waits for that of other streams, at least")
    gather_most: float = Field(0.04, ge=0, description="… and at most, which is when there are many")
    turn: float = Field(2.0, gt=0, description="seconds of one stream that are computed before the others' turn")
    together: bool = Field(True, description="step all streams in one call of the model; false is for comparison")
    upload: int = Field(24 << 20, gt=0, description="characters of one message of the original's protocol")
