"""The command line in this process: what a command prints, and the message with which it refuses."""

import json

import pytest
from typer.testing import CliRunner

from sensorium.cli import app
from sensorium.errors import SensoriumError


def call(*words: object) -> dict:
    """The last JSON line that a command prints."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def refused(*words: object) -> str:
    """The message of the typed error in which a command ends."""
    with pytest.raises(SensoriumError) as error:
        CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    return str(error.value)
