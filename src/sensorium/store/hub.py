"""The Hugging Face Hub through its own client: login, repositories, uploads, and errors that say what to type.

The token is the client's matter: of ``hf auth login``, or of the variable HF_TOKEN. It is never an argument here, and
never part of a message.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from sensorium.errors import BadRecipe, HubError
from sensorium.store.hub_errors import LOGIN, asking, module, repeated

_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_KINDS = {"model": "", "dataset": "datasets/"}


@dataclass(frozen=True)
class Place:
    """A repository of the Hub. type: "model", which runs are, or "dataset", which stores are."""

    name: str
    type: str

    def __str__(self) -> str:
        return f"{_KINDS[self.type]}{self.name}"

    @property
    def url(self) -> str:
        """Its page."""
        return f"{client().endpoint}/{self}"


def client() -> Any:
    """The client, with the login of this machine."""
    from sensorium import __version__

    return module().HfApi(library_name="sensorium", library_version=__version__)


def name(text: str) -> str:
    """A repository's name, checked. Raises BadRecipe.

    >>> name("me/captions")
    'me/captions'
    """
    if not _NAME.fullmatch(text) or any(part.strip(".-") == "" for part in text.split("/")) or ".." in text:
        raise BadRecipe(f"'{text}' is no repository of the Hub; expected USER/NAME, such as me/captions")
    return text


@contextlib.contextmanager
def progress_bars(show: bool) -> Iterator[None]:
    """The client's own bars within the block: on a terminal, when ``show``; never in a log."""
    utils = module().utils
    before = utils.are_progress_bars_disabled()
    with contextlib.suppress(Warning):
        utils.enable_progress_bars() if show and sys.stderr.isatty() else utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.disable_progress_bars() if before else utils.enable_progress_bars()


def login() -> None:
    """Raise HubError unless a token is here. Nothing is asked: the Hub answers few questions who somebody is."""
    if module().get_token() is None:
        raise HubError(f"this machine is not logged in to the Hub; {LOGIN}")


def create(place: Place, private: bool, again: str) -> None:
    """Make the repository unless it is there; again: the command to type after an error, see :func:`asking`.

    Raises BadRecipe where it shall be private and is public already, HubError, also for a token that is not accepted.
    """
    login()

    def make() -> bool:
        client().create_repo(place.name, repo_type=place.type, private=True if private else None, exist_ok=True)
        return not private or bool(client().repo_info(place.name, repo_type=place.type).private)

    with asking(str(place), again):
        if not repeated(make, str(place)):
            raise BadRecipe(
                f"{place} is there already and public, so nothing was sent; make it private at {place.url}/settings, "
                "or choose another name"
            )


def upload(
    folder: Path, place: Place, message: str, again: str, *, under: str = "", delete: Sequence[str] = ()
) -> None:
    """Send a folder's files in the client's own way: ``upload_folder``, which streams them in few commits.

    What is there already with the same content is not sent again, so a call that was cut off goes on. under: the
    folder in the repository. delete: names of files in it that are deleted. Raises HubError.
    """
    patterns = [escape(one) for one in delete] or None
    warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")  # Parquet is intended

    def send() -> None:
        client().upload_folder(
            repo_id=place.name, repo_type=place.type, folder_path=folder, path_in_repo=under or None,
            commit_message=message, delete_patterns=patterns,
        )  # fmt: skip

    with asking(str(place), again):
        repeated(send, str(place))


def validate(card: str, place: Place, again: str) -> None:
    """Ask the Hub's validator about a card, before anything is sent. Raises BadRecipe where it refuses, HubError."""
    cards = {"model": module().ModelCard, "dataset": module().DatasetCard}[place.type]

    def ask() -> str:
        try:
            cards(card, ignore_metadata_errors=True).validate(repo_type=place.type)
        except ValueError as error:
            return _told(str(error))
        return ""

    with asking(f"the card of {place}", again):
        refused = repeated(ask, f"the card of {place}")
    if refused:
        raise BadRecipe(
            f"the Hub does not accept the card of {place}, so nothing was sent: {refused}; correct --licence"
        )


def _told(answer: str) -> str:
    """What the validator says, of its JSON."""
    try:
        messages = [str(one["message"]) for one in json.loads(answer)["errors"]]
    except (ValueError, KeyError, TypeError):
        messages = answer.split()
    return "; ".join(messages)[:300]
