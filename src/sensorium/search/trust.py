"""trust.json of a run, read and checked: by direction, the calibration of scores and the rejection threshold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sensorium.errors import Corrupt, SensoriumError
from sensorium.evaluate import calibration, posthoc
from sensorium.search.damage import REMEDY, record


def read(folder: Path) -> Mapping[str, Any]:
    """What ``evaluate.posthoc`` wrote; {} where there is none. Raises Corrupt."""
    path = folder / posthoc.FILE
    if not path.is_file():
        return {}
    found = record(path, REMEDY)
    for direction, one in found.items():
        if not isinstance(one, dict) or not {"probability", "no_match"} <= set(one):
            raise Corrupt(f"{path}: '{direction}' is no calibration; {REMEDY}")
        try:
            calibration.from_dict(one["probability"])
        except (SensoriumError, TypeError, ValueError) as error:
            raise Corrupt(f"{path} is damaged: {error}; {REMEDY}") from None
    return found
