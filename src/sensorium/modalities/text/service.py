"""JSON requests to a service with OpenAI's addresses: who gets the key; retries, with growing pauses or those asked."""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from sensorium.errors import BadData, BadRecipe
from sensorium.progress import say

URL = "https://api.openai.com/v1"
TIMEOUT = 60.0  # seconds to wait for an answer
FIRST, MOST = 0.5, 60.0  # seconds of the first pause, and of any
_TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_SPENT = ("insufficient_quota", "billing_hard_limit_reached")  # codes of a 429 that no waiting changes


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A service that sends requests elsewhere would take the key along: such an answer is a refusal."""

    def redirect_request(self, *_: Any) -> None:
        """No request follows."""


_opener = urllib.request.build_opener(_NoRedirect)


def post(
    url: str, body: Mapping[str, Any], headers: Mapping[str, str], retries: int, service: str, timeout: float = 0
) -> Any:
    """What a POST of JSON is answered with. service: name in messages. timeout: seconds, 0 is TIMEOUT.

    A service that repeats the key in its messages finds it struck out in ours.

    Raises BadRecipe where the service refuses the request, BadData when it still fails after ``retries`` retries.
    """
    content = json.dumps(body).encode()
    for attempt in range(retries + 1):
        request = urllib.request.Request(url, content, {**headers, "Content-Type": "application/json"})
        asked = None
        try:
            with _opener.open(request, timeout=timeout or TIMEOUT) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            code, said = _said(error)
            said = _without_key(said, headers)
            if error.code not in _TRANSIENT or code in _SPENT:
                raise BadRecipe(
                    f"{service}: {url} refused the request ({error.code}: {said}){_advice(error.code)}"
                ) from None
            why, asked = f"{error.code}: {said}", _asked(error.headers)
        except (OSError, http.client.HTTPException, ValueError) as error:  # refused, cut off, or no JSON
            why = str(getattr(error, "reason", "") or error) or type(error).__name__
        if attempt < retries:
            pause = min(MOST, FIRST * 2**attempt * random.uniform(1.0, 1.25)) if asked is None else asked
            if pause > 5:
                say(service, f"{why}; trying again in {pause:.0f} s")
            time.sleep(pause)
    raise BadData(f"{service}: {url} gave no answer in {retries + 1} attempts ({why}); what was embedded is kept: "
                  "type the same again later")  # fmt: skip


def address(url: str, part: str) -> str:
    """An address without what follows its path; "" is that of the environment, OPENAI_BASE_URL, or else OpenAI's.

    part: name in messages. Raises BadRecipe for one that is not http or https, or holds a key.
    """
    url = url or os.environ.get("OPENAI_BASE_URL") or URL
    try:
        parts = urllib.parse.urlsplit(url.strip())
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        known = False
    if not known:
        raise BadRecipe(f"{part}.base_url={url!r}; expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise BadRecipe(f"{part}.base_url holds a name, a key or a query; expected an address alone, and the key in "
                        "OPENAI_API_KEY")  # fmt: skip
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def authorization(base_url: str, part: str) -> dict[str, str]:
    """The header with the environment's key, for OpenAI and OPENAI_BASE_URL alone; an address of a recipe gets none."""
    key = os.environ.get("OPENAI_API_KEY", "")
    return {"Authorization": f"Bearer {key}"} if key and base_url in (URL, address("", part)) else {}


def _without_key(text: str, headers: Mapping[str, str]) -> str:
    key = headers.get("Authorization", "").removeprefix("Bearer ")
    return text.replace(key, "…") if key else text


def _said(error: urllib.error.HTTPError) -> tuple[str, str]:
    """Code and message of a refusal, by OpenAI's form of errors or else its text."""
    try:
        text = error.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        text = ""
    try:
        about = json.loads(text)["error"]
        return str(about.get("code")), str(about["message"])[:300]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", " ".join(text.split())[:300] or str(error.reason)


def _asked(headers: Mapping[str, str]) -> float | None:
    """Seconds that an answer asks to wait (Retry-After: seconds or a date), at most MOST; None without a reason."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), MOST)


def _advice(code: int) -> str:
    return {
        401: "; type: export OPENAI_API_KEY=… (it is sent to OPENAI_BASE_URL or api.openai.com only)",
        403: "; check what the key may use",
        404: "; check the model's name and base_url, which ends in /v1 for most services",
    }.get(code, "")
