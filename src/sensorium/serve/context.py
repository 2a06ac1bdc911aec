"""Context: what the routes of one application share."""

from __future__ import annotations

from dataclasses import dataclass, field

from sensorium.serve.admission import Budget
from sensorium.serve.engine.decode import Decoders
from sensorium.serve.engine.registry import Registry
from sensorium.serve.engine.replica import Replica
from sensorium.serve.engine.requests import Documents
from sensorium.serve.log import Log
from sensorium.serve.metering import Meter
from sensorium.serve.mounting import Mount
from sensorium.serve.problems import Redactor
from sensorium.serve.settings import Settings


@dataclass(frozen=True)
class Context:
    """One application: its served runs and settings, and what counts, logs and decodes for all requests."""

    registry: Registry
    settings: Settings
    decoders: Decoders
    meter: Meter
    log: Log
    budget: Budget
    documents: Documents
    mount: Mount
    replica: Replica | None = None  #: this worker, where the server is several processes
    redact: Redactor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "redact", self.registry.redact)
