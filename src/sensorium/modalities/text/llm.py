"""Questions about texts to a language model, by any service with OpenAI's /v1/chat/completions; answers are kept.

A question is an instruction and one text; the answer is JSON that ``parse`` turns into numbers. An answer that cannot
be parsed is asked for again. Each answer is written to a file as soon as it is there, under a digest of instruction,
model, address and text, so that an interrupted run goes on where it was, and no text is paid for twice.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorium.errors import BadData, BadRecipe
from sensorium.fingerprint import digest
from sensorium.modalities.text import service
from sensorium.progress import say

NO_CACHE = "none"
#: What is asked for only where the service knows it: it is left out when a refusal names it.
_OPTIONAL = {"temperature": 0, "response_format": {"type": "json_object"}}
_SHOWN = 80  # characters of a text or an answer in a message


@dataclass
class Chat:
    """A model behind an address. part: name in messages. together: requests at a time. cache: folder, or "none"."""

    part: str
    base_url: str
    model: str
    instruction: str
    retries: int = 6
    timeout: float = 60.0
    together: int = 4
    cache: str = ""
    _optional: dict[str, Any] = field(default_factory=lambda: dict(_OPTIONAL))

    def ask(self, texts: Sequence[str], parse: Callable[[str], list[float]]) -> list[list[float]]:
        """The numbers of each text, from the file or else from the model.

        parse: an answer's text to numbers; raises ValueError, saying why, for nonsense.
        Raises BadRecipe where the service refuses the request, BadData when it gives no answer, or only nonsense: the
        message names the text. What was answered until then is kept.
        """
        kept = Answers(self._file())
        wanted = [text for text in dict.fromkeys(texts) if self._key(text) not in kept]
        pool, failed = ThreadPoolExecutor(self.together, f"sensorium-{self.part}"), threading.Event()
        try:
            futures = [pool.submit(self._one, text, parse, kept, failed) for text in wanted]
            for future in as_completed(futures):
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure nothing more is asked
        return [kept[self._key(text)] for text in texts]

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The texts, each once, that have no answer yet."""
        kept = Answers(self._file())
        return [text for text in dict.fromkeys(texts) if self._key(text) not in kept]

    def _one(self, text: str, parse: Callable[[str], list[float]], kept: Answers, failed: threading.Event) -> None:
        """Ask for one text and keep its answer; nothing once another one has ``failed``."""
        for _ in range(self.retries + 1):
            if failed.is_set():
                return
            try:
                answer = self._request(text)
            except BaseException:
                failed.set()
                raise
            try:
                kept.add(self._key(text), parse(answer))
                return
            except ValueError as error:
                why = f"{error} in {_short(answer)}"
        failed.set()
        raise BadData(f"{self.part}: {self.model} gave no usable answer in {self.retries + 1} attempts ({why}) for the "
                      f"text {_short(text)}; what was answered is kept: correct the text, or choose another model"
                      )  # fmt: skip

    def _request(self, text: str) -> str:
        """The text of one answer; "" where there is none in it."""
        messages = [{"role": "system", "content": self.instruction},
                    {"role": "user", "content": json.dumps({"line": text}, ensure_ascii=False)}]  # fmt: skip
        while True:
            sent = dict(self._optional)
            body = {"model": self.model, "messages": messages, **sent}
            headers = service.authorization(self.base_url, self.part)
            try:
                answer = service.post(
                    f"{self.base_url}/chat/completions", body, headers, self.retries, self.part, self.timeout
                )
            except BadRecipe as error:
                refused = [name for name in sent if name in str(error)]
                if not refused:
                    raise
                for name in refused:
                    self._optional.pop(name, None)
                continue
            try:
                return str(answer["choices"][0]["message"]["content"] or "")
            except (KeyError, TypeError, IndexError):
                return json.dumps(answer)

    def _key(self, text: str) -> str:
        return digest({"text": text})

    def _file(self) -> Path | None:
        if self.cache == NO_CACHE:
            return None
        made = digest({"instruction": self.instruction, "model": self.model, "base_url": self.base_url})
        folder = Path(self.cache).expanduser() if self.cache else default_folder()
        return folder / f"{self.part}-{made}.jsonl"


class Answers:
    """Numbers by key: a file of JSON lines that only grows. A line cut off by a kill is passed over."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock, self._known = path, threading.Lock(), {}
        if path is not None and path.is_file():
            for line in path.read_bytes().splitlines():
                try:
                    entry = json.loads(line)
                    self._known[str(entry["key"])] = [float(x) for x in entry["value"]]
                except (ValueError, TypeError, KeyError):
                    continue

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> list[float]:
        return self._known[key]

    def add(self, key: str, value: list[float]) -> None:
        """Keep an answer, in the file at once. Where that cannot be written, it is kept in memory, and said once."""
        with self._lock:
            self._known[key] = value
            if self._path is None:
                return
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                line = (
                    f"\n{json.dumps({'key': key, 'value': value})}\n".encode()
                )  # one write: other processes append too
                with self._path.open("ab", buffering=0) as file:
                    file.write(line)
            except OSError as error:
                say("cache", f"answers are not kept: {error}")
                self._path = None


def default_folder() -> Path:
    """Where answers are kept: ``sensorium/answers`` in the user's folder of caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sensorium" / "answers"


def json_object(answer: str) -> dict[str, Any]:
    """The JSON object in an answer, perhaps with words or a fence around it. Raises ValueError where there is none.

    >>> json_object('Sure: {"valence": 4}')
    {'valence': 4}
    """
    found = re.search(r"\{[^{}]*\}", answer)
    if found is None:
        raise ValueError("no JSON object")
    try:
        return dict(json.loads(found[0]))
    except (json.JSONDecodeError, RecursionError):
        raise ValueError("no valid JSON") from None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
