"""Generation on one server: its model, found at the first request, its jobs, and what is counted and logged of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import Counter, Gauge

from sensorium.errors import SensoriumError
from sensorium.serve.context import Context
from sensorium.serve.problems import Problem, document
from sensorium.systems.perception import picture_model
from sensorium.systems.perception.generation import NotGenerated
from sensorium.systems.perception.generation_limits import GenerationLimits
from sensorium.systems.perception.generation_requests import ProblemDocument
from sensorium.systems.perception.generation_worker import Worker
from sensorium.systems.perception.jobs import Job, Jobs

NO_MODEL = (
    "no picture model is loaded: start the server with a folder that diffusers saved, or an id of the hub; "
    f"type: sensorium serve RUN --generate {picture_model.EXAMPLE}"
)


class Generation:
    """Generation on one server."""

    def __init__(self, context: Context) -> None:
        self.context, self.limits = context, GenerationLimits()
        self.model: picture_model.PictureModel | None = None
        self._jobs: Jobs | None = None
        registry = context.meter.registry
        self._ended = Counter("sensorium_generations", "Pictures by how they ended", ["state"], registry=registry)
        waiting = Gauge("sensorium_generations_waiting", "Pictures that wait", registry=registry)
        waiting.set_function(lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """Pictures in the queue."""
        return 0 if self._jobs is None else len(self._jobs.waiting)

    def find(self) -> picture_model.PictureModel:
        """The model. Raises a 409 problem where the server has none, SensoriumError for one that cannot be used."""
        if self.context.settings.generate is None:
            raise Problem(409, NO_MODEL)
        if self.model is None:
            picture_model.check_installed()
            self.model = picture_model.locate(self.context.settings.generate, download=False)
        return self.model

    async def jobs(self) -> Jobs:
        """The jobs, once there is a model. Raises as :meth:`find`."""
        model = await asyncio.to_thread(self.find)
        if self._jobs is None:
            self._jobs = Jobs(Worker(model, self.limits), self.limits, self.problem, self.ended)
        return self._jobs

    def known(self, id: str) -> tuple[Jobs, Job]:
        """The jobs, and one of them by its id. Raises a 404 problem."""
        if self._jobs is None:
            raise Problem(404, "no picture of this id; none was asked for since the server started")
        return self._jobs, self._jobs.get(id)

    def problem(self, error: Exception) -> Mapping[str, Any]:
        """The problem document of what ended a job."""
        if isinstance(error, NotGenerated):
            status = 503
        elif isinstance(error, SensoriumError):
            status = self.context.redact.problem(error).status
        else:
            self.context.log.failure(error)
            status, error = 500, Problem(500, "the picture model failed at this; the server's log says why")
        told: Mapping[str, Any] = ProblemDocument.model_validate_json(document(status, self.told(error))).model_dump()
        return told

    def told(self, error: Exception) -> str:
        """What a client is told of an error: not where the model lies."""
        text, place = str(error), self.context.settings.generate or ""
        for path in {place, str(Path(place).expanduser()), str(self.model.folder if self.model else "")}:
            text = text.replace(path, "the picture model") if path.startswith("/") else text
        return self.context.redact(text)

    def ended(self, job: Job) -> None:
        """Count and log a job that has ended; its prompt only where queries are logged."""
        self._ended.labels(job.state).inc()
        told = {"state": job.state, "steps": job.options["steps"], "seconds": round(time.monotonic() - job.began, 2)}
        if self.context.settings.log_queries:
            told["prompt"] = job.options["prompt"]
        self.context.log.line("info", "generation", **told)

    async def close(self) -> None:
        """End everything."""
        if self._jobs is not None:
            await self._jobs.close()
