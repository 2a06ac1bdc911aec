"""Limits of generation on a server: queue, times, sizes and device, each from the environment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class GenerationLimits(BaseSettings):
    """Every field can come from the environment, such as ``SENSORIUM_GENERATION_QUEUE=4``."""

    model_config = SettingsConfigDict(env_prefix="SENSORIUM_GENERATION_", extra="ignore")

    queue: int = Field(8, gt=0, description="pictures that wait; a further one is refused")
    client_queue: int = Field(3, gt=0, description="pictures of one address that wait or are being made")
    steps: int = Field(60, gt=0, description="steps of one picture, at most")
    pixels: int = Field(768 * 768, gt=0, description="width times height of one picture, at most")
    abandoned: float = Field(60.0, gt=0, description="seconds without a question after which a picture is cancelled")
    keep: float = Field(600.0, gt=0, description="seconds for which a picture that is made can be fetched")
    keep_most: int = Field(16, gt=0, description="pictures that are kept; the oldest are forgotten first")
    idle: float = Field(300.0, gt=0, description="seconds after which the process of an unused model is ended")
    start: float = Field(600.0, gt=0, description="seconds that the model may take to load")
    patience: float = Field(20.0, gt=0, description="seconds in which a cancelled step must end before it is killed")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field("auto", description="type of numbers")
    threads: int = Field(0, ge=0, description="processor threads of the model; 0: all but one")
    nice: int = Field(10, ge=0, le=19, description="how far the process gives way to the rest of the server")
