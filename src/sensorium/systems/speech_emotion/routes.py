"""Routes of the original speech emotion server: ``WS /ws``."""

from __future__ import annotations

from fastapi import APIRouter

from sensorium.serve.context import Context
from sensorium.systems.speech_emotion import socket


def routes(context: Context) -> APIRouter:
    """The socket of the original's front end."""
    return socket.routes(context)
