"""Texts by any service with OpenAI's /v1/embeddings: OpenAI itself, or a server of one's own such as vLLM or Ollama."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sensorium import downloads
from sensorium.contracts import Encoder
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.text import service
from sensorium.modalities.text.service import URL

LICENCE = "terms of the service"
WEIGHTS = "none here: the texts are sent to the service"
_INPUTS, _TOKENS = 256, 50_000  # of a request at most; OpenAI takes 2,048 and 300,000
_TOGETHER = 4  # requests at a time
_BYTES = 4  # of text in UTF-8 that make a token, about


class Model(NamedTuple):
    """Width of a model's vectors, and its list price in dollars for a million tokens (2026-11)."""

    dim: int
    price: float


MODELS = {
    "text-embedding-3-small": Model(1536, 0.02),
    "text-embedding-3-large": Model(3072, 0.13),
    "text-embedding-ada-002": Model(1536, 0.10),
}


class Openai(Encoder):
    """A text as the vector that a service answers with. The texts are sent to that service.

    model: name of the model, such as text-embedding-3-small.
    base_url: address of the service up to /v1; "" is that of the environment, OPENAI_BASE_URL, or else OpenAI's.
    dimensions: width that the model is asked for, where it can be chosen; 0 is the model's own.
    retries: of a request that fails, with growing pauses or those that the service asks for.

    The key is that of the environment, OPENAI_API_KEY. It is sent to OpenAI and OPENAI_BASE_URL alone: a run of
    somebody else, whose recipe names another address, does not get it. What is embedded costs about as much as is
    said before it starts; a store keeps it, so that it costs once. An empty text is sent as a space.
    """

    takes: ClassVar[str] = "text"
    batch: ClassVar[int] = _INPUTS * _TOGETHER

    def __init__(self, model: str, base_url: str = "", dimensions: int = 0, retries: int = 6) -> None:
        if not model:
            raise BadRecipe("openai needs a model; type: left.encoder=openai:text-embedding-3-small")
        if dimensions < 0 or retries < 0:
            key = "dimensions" if dimensions < 0 else "retries"
            raise BadRecipe(f"openai: {key}={min(dimensions, retries)}; expected 0 or more")
        self.model, self.dimensions, self.retries = model, dimensions, retries
        self.base_url = service.address(base_url, "openai")
        self._width = dimensions or (MODELS[model].dim if model in MODELS and self.base_url == URL else 0)

    @property
    def dim(self) -> int:
        """Width d of a vector; of a model that is not known, that of one request. Raises BadData where none may be."""
        if not self._width and downloads.is_offline():
            raise BadData(f"openai: the width of {self.model} is known after a request only")
        if not self._width:
            self._width = len(self._ask(["width"])[0])
        return self._width

    @property
    def fingerprint(self) -> dict[str, str | int]:
        """The model and its service. What the service does behind its name cannot be seen."""
        return {"name": "openai", "model": self.model, "base_url": self.base_url, "dimensions": self.dimensions}

    def settle(self) -> Mapping[str, Any]:
        """The address, where it came from the environment."""
        return {"base_url": self.base_url}

    def cost(self, values: Sequence[str]) -> str:
        """About how many tokens these texts have, and what they cost by the list price, where that is known."""
        tokens = sum(map(tokens_of, values))
        said = f"{self.model}: {len(values):,} texts, about {tokens:,} tokens"
        if self.base_url != URL:
            return f"{said}, sent to {urllib.parse.urlsplit(self.base_url).netloc}, whose price is unknown here"
        if self.model not in MODELS:
            return f"{said}; its price is unknown here"
        price = MODELS[self.model].price
        return f"{said} at ${price:g} a million: about ${tokens * price / 1e6:,.4f}"

    def encode(self, values: Sequence[str]) -> np.ndarray:
        """Vectors (n, d) float32 of n texts. Raises BadData for what is no text, and when the service gives no answer.

        Raises BadRecipe when it refuses the request.
        """
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise BadData(f"openai: value {i} is {type(value).__name__}; expected text")
        texts = [value if value.strip() else " " for value in map(str, values)]
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        with ThreadPoolExecutor(_TOGETHER, "sensorium-openai") as pool:
            found = list(pool.map(lambda some: self._ask(texts[some]), requests(texts)))
        self._width = self._width or found[0].shape[1]
        if wrong := {part.shape[1] for part in found} - {self.dim}:
            raise BadData(f"openai: {self.base_url} gave vectors of width {wrong.pop()}; expected {self.dim} of "
                          f"{self.model}")  # fmt: skip
        return np.concatenate(found)

    def _ask(self, texts: list[str]) -> np.ndarray:
        """The vectors of one request, in the order of the texts."""
        body: dict[str, Any] = {"model": self.model, "input": texts, "encoding_format": "float"}
        if self.dimensions:
            body["dimensions"] = self.dimensions
        answer = service.post(f"{self.base_url}/embeddings", body, self._headers(), self.retries, "openai")
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            found = np.array([row["embedding"] for row in rows], np.float32)
            order = [row["index"] for row in rows]
        except (KeyError, TypeError, ValueError):
            raise BadData(f"openai: {self.base_url} answered in another form than /v1/embeddings") from None
        if order != list(range(len(texts))) or found.ndim != 2 or not np.isfinite(found).all():
            raise BadData(f"openai: {self.base_url} gave {len(order)} vectors for {len(texts)} texts, or some that are "
                          "no finite numbers")  # fmt: skip
        return found

    def _headers(self) -> dict[str, str]:
        return service.authorization(self.base_url, "openai")


def tokens_of(text: str) -> int:
    """About how many tokens a text has: one for every four bytes, as of English prose."""
    return max(1, -(-len(text.encode("utf-8", "replace")) // _BYTES))


def requests(texts: Sequence[str]) -> Iterator[slice]:
    """Texts of each request: as many as fit, at least one.

    >>> list(requests(["a"] * 300))
    [slice(0, 256, None), slice(256, 300, None)]
    """
    start, tokens = 0, 0
    for at, text in enumerate(texts):
        more = tokens_of(text)
        if at > start and (at - start == _INPUTS or tokens + more > _TOKENS):
            yield slice(start, at)
            start, tokens = at, 0
        tokens += more
    if len(texts) > start:
        yield slice(start, len(texts))
