"""Errors of the Hub's client as ours: what failed, whether another try may mend it, what to type; never a token."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, TypeVar

from sensorium.errors import HubError, SensoriumError, require
from sensorium.progress import say

TRIES = 4  # calls of the client, which repeats most requests itself, before an error is raised
FIRST = 1.0  # seconds before the second call, twice as long before each further one
LONGEST = 300.0  # seconds that are waited at most when the Hub says how long
LOGIN = "type: hf auth login (or put a token that may write into the variable HF_TOKEN)"
_TRANSPORT = ("httpx", "httpcore", "requests", "urllib3", "hf_xet")  # packages whose errors are the network's
_PASSING = (408, 409, 412, 425, 429, 500, 502, 503, 504)  # statuses that another try may mend
_TOKEN = re.compile(r"hf_\w{6,}|(?i:bearer)\s+\S+")
Value = TypeVar("Value")


class Missing(HubError):
    """The Hub has no such repository, or does not show it to who is logged in."""


class Unreachable(HubError):
    """The Hub gives no answer, fails, or allows no more requests for now: another try may succeed."""


def module() -> ModuleType:
    """The client's package, with the modules that are used of it. Raises MissingExtra."""
    found = require("huggingface_hub", "hub")
    for name in ("constants", "errors", "hf_api", "utils"):
        require(f"huggingface_hub.{name}", "hub")
    logging.getLogger("huggingface_hub.utils._http").addFilter(_PLAIN)  # once: a filter that is there is not added
    return found


def repeated(call: Callable[[], Value], what: str) -> Value:
    """Call until it does not fail in a way that passes: TRIES times, waiting as long as the Hub asks."""
    for attempt in range(1, TRIES + 1):
        try:
            return call()
        except Exception as error:
            status, wait = _status(error), _wait(error)
            passing = status in _PASSING if status else _is_transport(error)
            if not passing or attempt == TRIES or wait > LONGEST:
                raise
            wait = wait or FIRST * 2 ** (attempt - 1)
            say("hub", f"{what}: {_reason(error)}; trying again in {wait:.0f} s")
            time.sleep(wait)
    raise AssertionError("unreachable")


@contextlib.contextmanager
def asking(what: str, again: str) -> Iterator[None]:
    """Errors of the client within the block as HubError: what failed, and what to type.

    what: is asked of. again: the command that goes on; what has arrived is not sent or fetched again.
    """
    try:
        yield
    except SensoriumError:
        raise
    except Exception as error:
        if not (_status(error) or _is_transport(error) or _is_client(error)):
            raise
        kinds, status = {type(one).__name__ for one in _chain(error)}, _status(error)
        passing = status in _PASSING or (not status and _is_transport(error))
        kind = Missing if "RepositoryNotFoundError" in kinds else Unreachable if passing else HubError
        raise kind(_message(error, what, again)) from None


def _message(error: BaseException, what: str, again: str) -> str:
    hub, status = module(), _status(error)
    goes_on = f"nothing is lost, what has arrived stays; type again: {again}"
    kinds = {type(one).__name__ for one in _chain(error)}
    if "OfflineModeIsEnabled" in kinds:
        return f"the Hub is not asked, as HF_HUB_OFFLINE is set; type: unset HF_HUB_OFFLINE, then: {again}"
    if "RevisionNotFoundError" in kinds:
        return (
            f"{what}: there is no such revision; type a branch, tag or commit of its page at {hub.constants.ENDPOINT}"
        )
    if "GatedRepoError" in kinds:
        return f"{what} is gated; ask for access on its page at {hub.constants.ENDPOINT}, then type: hf auth login"
    if "RepositoryNotFoundError" in kinds or status == 404:
        return f"the Hub has no {what}, or it is private and not yours; correct the name, or {LOGIN}"
    if status == 401:
        return f"the Hub does not accept the token of this machine (401); {LOGIN}"
    if status == 403:
        settings = f"{hub.constants.ENDPOINT}/settings/tokens"
        return f"the token may not write to {what} (403); make one that may at {settings}, then type: hf auth login"
    if status == 429:
        wait = f", the next in {_wait(error):.0f} s" if _wait(error) else ""
        return f"the Hub allows no more requests now (429{wait}); {goes_on}"
    if status and status >= 500:
        return f"the Hub failed ({status}) at {what}; {goes_on}"
    if status:
        return f"the Hub refused {what} ({status}: {_reason(error)})"
    if "HFValidationError" in kinds or isinstance(error, ValueError):
        return f"the Hub's client refused {what}: {_reason(error)}"
    return f"{hub.constants.ENDPOINT} gives no answer for {what} ({_reason(error)}); {goes_on}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it: the client wraps some."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _response(error: BaseException) -> Any:
    answers = module().errors.HfHubHTTPError
    return next((one.response for one in _chain(error) if isinstance(one, answers) and one.response is not None), None)


def _status(error: BaseException) -> int:
    """The status of the answer that an error rests on; 0 without one."""
    response = _response(error)
    return int(response.status_code) if response is not None else 0


def _wait(error: BaseException) -> float:
    """Seconds that the Hub asks to wait; 0 where it does not say."""
    response = _response(error)
    said = "" if response is None else response.headers.get("Retry-After", "")
    return float(said) if said.isdigit() else 0.0


def _is_transport(error: BaseException) -> bool:
    return any(_is_own_transport(one) for one in _chain(error))


def _is_own_transport(error: BaseException) -> bool:
    package = type(error).__module__.partition(".")[0]
    own = isinstance(error, (ConnectionError, TimeoutError)) or type(error) is RuntimeError  # as hf_xet's are
    return own or package.startswith(_TRANSPORT)


def _is_client(error: BaseException) -> bool:
    return any(type(one).__module__.startswith("huggingface_hub") for one in _chain(error))


def _reason(error: BaseException) -> str:
    """The first line of what an error says, without addresses and tokens."""
    answers = module().errors.HfHubHTTPError
    found = next((one for one in _chain(error) if isinstance(one, answers) or _is_own_transport(one)), error)
    said = next((text for text in str(found).strip().splitlines() if text), type(found).__name__)
    return plain(said)[:200].rstrip(" .:;")


def plain(text: str) -> str:
    """A text without addresses, which may hold signatures, and without tokens.

    >>> plain("PUT https://x.org/a?Signature=1 with hf_abcdefgh")
    'PUT … with …'
    """
    return _TOKEN.sub("…", re.sub(r"https?://[^\s'\"]+", "…", text))


class _Plain(logging.Filter):
    """Takes addresses and tokens out of what the client writes to its log."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = plain(record.getMessage()), ()
        return True


_PLAIN = _Plain()
