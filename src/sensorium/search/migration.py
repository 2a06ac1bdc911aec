"""Migrations of a run between encoders: what lies in its folder, which encoder answers, and heads of the others.

``migration/`` holds ``left.json`` and ``right.json``, one for each side that was ever migrated, and, for every encoder
whose vectors may reach that side, a head ``left-<digest>`` (an adapter and the run's own head, see
:class:`sensorium.heads.adapted.Adapted`). The folder is replaced whole, so a kill leaves the state before or after.
The run's own recipe, heads and indexes stay as they were, so that rolling back is one small write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sensorium import fingerprint as fingerprints
from sensorium import io
from sensorium.errors import BadRecipe, Corrupt
from sensorium.recipe import Recipe
from sensorium.search.damage import reading
from sensorium.search.folder import quote
from sensorium.types import SIDES

FOLDER = "migration"  #: in a run's folder
BEFORE = "before"  #: in a run's folder, after the swap: the run as it was, to roll back to
FORMAT = 1
BESIDE, SWAPPED, BACK = "side by side", "swapped", "rolled back"  #: states of a side
_REMEDY = "restore it; or delete the folder: live items of other encoders are then not searched"


@dataclass(frozen=True)
class Migration:
    """One side's migration. record: the content of its file.

    state: "side by side": new queries go through the adapter, the index is the old one. "swapped": the run was made
    anew with the new encoder. "rolled back": the old encoder answers.
    """

    side: str
    record: Mapping[str, Any]

    @property
    def state(self) -> str:
        """One of the three states."""
        return str(self.record["state"])

    @property
    def active(self) -> bool:
        """Whether the new encoder answers through an adapter."""
        return self.state == BESIDE

    @property
    def old(self) -> str:
        """Name of the old encoder."""
        return str(self.record["old"]["name"])

    @property
    def new(self) -> str:
        """Name of the new encoder."""
        return str(self.record["new"]["name"])

    @property
    def digest(self) -> str:
        """Digest of the new encoder's fingerprint."""
        return fingerprints.digest(dict(self.record["new"]["fingerprint"]))

    @property
    def kept(self) -> float | None:
        """Recall kept of the old encoder's, by new queries through the adapter; None where it was not measured."""
        row = self.record.get("kept")
        return None if row is None else row["value"]

    def summary(self) -> dict[str, Any]:
        """What health, listings and the page say of it."""
        answers = self.old if self.state == BACK else self.new
        return {"state": self.state, "old": self.old, "new": self.new, "answers": answers, "kept": self.kept}

    def notice(self, name: str) -> str:
        """A sentence for people. name: what the data call the side."""
        if self.state == SWAPPED:
            return f"{name}: embedded by {self.new}, which took the place of {self.old}"
        if self.state == BACK:
            return f"{name}: encoded by {self.old}; the migration to {self.new} was rolled back"
        share = "" if self.kept is None else f"; {100 * self.kept:.1f}% of the recall of {self.old} is kept"
        new = f"{name}: queries and new items are encoded by {self.new}, through an adapter"
        return f"{new}; the index is of {self.old}{share}"

    def with_state(self, state: str) -> Migration:
        """The same migration in another state."""
        return replace(self, record={**self.record, "state": state})


class Migrations:
    """The migrations of a run folder by side, and the heads for vectors of other encoders, each loaded when needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder) / FOLDER
        self.run = Path(folder)
        self._heads: dict[tuple[str, str], Any] = {}

    @cached_property
    def by_side(self) -> Mapping[str, Migration]:
        """The migrations of this run, by side. Raises Corrupt for a damaged record."""
        paths = {side: self.folder / f"{side}.json" for side in SIDES}
        return {side: Migration(side, _read(path)) for side, path in paths.items() if path.is_file()}

    @cached_property
    def stems(self) -> Mapping[tuple[str, str], Path]:
        """The heads of other encoders, by side and digest of the encoder."""
        found = {}
        for path in sorted(self.folder.glob("*-*.safetensors")):
            if named := re.fullmatch(r"(left|right)-([0-9a-f]{16})", path.stem):
                found[named[1], named[2]] = path.with_suffix("")
        return found

    def active(self, side: str) -> Migration | None:
        """The migration of a side whose new encoder answers through an adapter, or None."""
        one = self.by_side.get(side)
        return one if one is not None and one.active else None

    def notices(self, names: Mapping[str, str]) -> list[str]:
        """A sentence for each migration that is under way. names: of the sides."""
        return [one.notice(names[one.side]) for one in self.any_active]

    @property
    def any_active(self) -> list[Migration]:
        """The migrations that are under way."""
        return [one for one in self.by_side.values() if one.active]

    def head(self, side: str, digest: str) -> Any:
        """The head for a side's vectors of another encoder; None where there is none. Raises Corrupt."""
        from sensorium import heads

        if (side, digest) not in self.stems:
            return None
        if (side, digest) not in self._heads:
            with reading(self.stems[side, digest]):
                self._heads[side, digest] = heads.restore(self.stems[side, digest])[0]
        return self._heads[side, digest]

    def overlaid(self, plan: Recipe) -> Recipe:
        """The recipe with the encoders that answer now."""
        values = dict(plan.values)
        for one in self.any_active:
            if (spec := one.record["new"].get("encoder")) is not None:
                values[one.side] = {**values[one.side], "encoder": dict(spec)}
        return plan if values == plan.values else replace(plan, values=values)

    def refuse(self, what: str) -> None:
        """Raise BadRecipe while a side is searched through an adapter: the stage is of the old encoder's run."""
        for one in self.any_active:
            run = quote(self.run)
            raise BadRecipe(
                f"{self.run} is being migrated: its {one.side} queries are of encoder '{one.new}', its heads and index "
                f"of '{one.old}', so it cannot be {what}; finish with: sensorium migrate {run} --swap, or undo with: "
                f"sensorium migrate {run} --rollback"
            )


@contextmanager
def changing(run: Path) -> Iterator[Path]:
    """A copy of a run's migration folder to change, swapped in whole; under its lock, so that writers take turns."""
    with io.publish(Path(run) / FOLDER) as building:
        if (Path(run) / FOLDER).is_dir():
            io.copy_folder(Path(run) / FOLDER, building, lambda _, names: [n for n in names if n.startswith(".")])
        yield building


def write(building: Path, migration: Migration) -> None:
    """Write a side's record into a migration folder."""
    body = {"format": FORMAT, **migration.record}
    io.write_json(building / f"{migration.side}.json", {**body, "checksum": fingerprints.checksum(body)})


def renew_checksums(run: Path) -> None:
    """Write the records of a copy again, whose texts were changed on purpose."""
    for path in (Path(run) / FOLDER / f"{side}.json" for side in SIDES):
        if path.is_file():
            body = io.read_object(path, _REMEDY)
            write(path.parent, Migration(path.stem, {k: v for k, v in body.items() if k not in ("format", "checksum")}))


def set_state(run: Path, sides: Mapping[str, Migration], state: str) -> None:
    """Give migrations another state, all in one step."""
    with changing(run) as building:
        for one in sides.values():
            write(building, one.with_state(state))


def _read(path: Path) -> dict[str, Any]:
    types: dict[str, Any] = {"format": int, "state": str, "old": dict, "new": dict, "checksum": str}
    body = io.read_object(path, _REMEDY, **types)
    if body.pop("checksum") != fingerprints.checksum(body) or body["format"] != FORMAT:
        raise Corrupt(f"{path} is damaged, or of another version of sensorium; {_REMEDY}")
    return body
