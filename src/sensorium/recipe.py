"""A recipe: flat TOML in, validated parts out; ``key=value`` overrides; no includes, no code.

``objective=ridge`` swaps the part and drops the old part's keys, ``train.lr=1e-3`` sets a key,
``left.head=mlp left.head.hidden=512`` does both. An unknown key is refused and the nearest named.
"""

from __future__ import annotations

import copy
import datetime
import inspect
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from sensorium import consent, fingerprint, parts
from sensorium.datasets import _run_keys
from sensorium.datasets._dropping import Without
from sensorium.datasets._labelled import Labelled
from sensorium.datasets._run_keys import CACHED, SPLITTING
from sensorium.encoders import _names
from sensorium.errors import BadRecipe, nearest
from sensorium.evaluate.options import EvaluateOptions
from sensorium.evaluate.page_options import PageOptions
from sensorium.fitting.finetune_options import FinetuneOptions
from sensorium.fitting.options import TrainOptions
from sensorium.numerics import device
from sensorium.types import USUAL_TEXT, Data

HERE = Path(__file__).parent / "recipes"

#: Where a part may stand in a recipe, and its kind.
SLOTS = {
    "data": "datasets",
    "left.encoder": "encoders",
    "left.head": "heads",
    "right.encoder": "encoders",
    "right.head": "heads",
    "objective": "objectives",
    "index": "indexes",
}
#: Key of [left] and [right]: a metadata column, such as speaker. The mean vector of each of its values is moved to that
#: of all, see :mod:`sensorium.numerics.centers`.
CENTER = "center"
SIDES = ("left", "right")
_LARGEST_SEED = 2**63 - 1  # of torch's generators
SECTIONS = ("data", "left", "right", "objective", "train", "finetune", "index", "evaluate", "page")
KEYS = ("seed", "device", "media")  # of the recipe itself
#: What a run keeps of its items' pictures and sounds: the paths of the data's own files, or small copies.
MEDIA = ("paths", "pack")


@dataclass(frozen=True)
class Built:
    """The parts of a recipe, each built once for a run: encoders and heads by side, and the objective.

    An encoder is None where a side's items came as vectors. Each side's index is built anew from the recipe.
    """

    encoders: Mapping[str, Any]
    heads: Mapping[str, Any]
    objective: Any


@dataclass(frozen=True)
class Recipe:
    """A validated recipe. ``values`` holds every key with its default filled in.

    asked: hash of the recipe before :meth:`settle`; "" before that.
    """

    name: str
    values: Mapping[str, Any]
    asked: str = ""

    @property
    def seed(self) -> int:
        """Seed of everything random but the split."""
        return int(self.values["seed"])

    @property
    def hash(self) -> str:
        """xxh3-64 of the resolved recipe but for its device and page, so that equal recipes are recognised."""
        return fingerprint.digest({key: value for key, value in self.values.items() if key not in ("device", "page")})

    @property
    def device(self) -> str:
        """Where encoders and the fit compute: "auto", "cpu", "cuda", "cuda:N" or "mps"."""
        return self.values["device"]

    @property
    def media(self) -> str:
        """What the run keeps to show its items: "paths" of the data's own files, or "pack", small copies."""
        return self.values.get("media", MEDIA[0])

    def part(self, slot: str) -> Any:
        """Build the part that stands in a slot, such as "left.head"; None when the slot is empty."""
        spec, known = _get(self.values, slot), {}
        if spec is None:
            return None
        if slot == "data":
            part = parts.find("datasets", spec["name"])
            known = parts.arguments(part)
            spec = {key: value for key, value in spec.items() if key == "name" or key in known}
            if spec.get("text") == USUAL_TEXT and not self._joins():
                del spec["text"]
        part = parts.make(SLOTS[slot], spec, slot)
        drop = self.values["data"].get(_run_keys.DROP) if slot == "data" else None
        if drop and _run_keys.DROP not in known:
            part = Without(part, drop)
        labels = self.values["data"].get(_run_keys.LABELS) if slot == "data" else None
        if labels and _run_keys.LABELS not in known:
            part = Labelled(part, labels)
        if SLOTS[slot] == "encoders" and self.device != "auto":
            part.device = self.device
        return part

    def _joins(self) -> bool:
        """Whether the left encoder takes a picture and a text of one item."""
        name = self.part_name("left.encoder")
        return name is not None and bool(parts.find("encoders", name).joins)

    def here(self) -> Recipe:
        """The recipe for this machine: with device "auto" where its device is not there."""
        if self.device == "auto" or self.device.partition(":")[0] in device.available():
            return self
        return replace(self, values={**self.values, "device": "auto"})

    def check_device(self) -> None:
        """Raise BadRecipe when a device that the recipe names is not there."""
        for name, key in ((self.device, "device"), (self.values["train"]["device"], "train.device")):
            if name != "auto":
                device.choose(name, key)

    def settle(self, data: Data, built: Built) -> Recipe:
        """The recipe with the encoders' keys that the items and the machine decided: see ``Encoder.settle``."""
        values = copy.deepcopy(dict(self.values))
        for side, items in (("left", data.left), ("right", data.right)):
            encoder = built.encoders[side]
            if items is not None and encoder is not None:
                values[side]["encoder"].update(encoder.settle())
        return self if values == self.values else replace(self, values=values, asked=self.asked or self.hash)

    def one_space(self, one_table: bool, encoders: Mapping[str, Any] | None = None) -> bool:
        """Whether both sides' vectors are of one space, such as of two towers of one model: see ``Encoder.space``.

        encoders: by side, where they are built already.
        """
        sides = SIDES[: 1 if one_table else 2]
        built = [encoders[side] if encoders else self.part(f"{side}.encoder") for side in sides]
        spaces = {"" if encoder is None else encoder.space for encoder in built}
        return len(spaces) == 1 and spaces != {""}

    def build(self) -> Built:
        """Every part but the data, each once; raises BadRecipe for an argument that one of them cannot take."""
        self.part("index")
        for name in self.values["evaluate"]["baselines"]:
            if not parts.make("objectives", name, "evaluate.baselines").closed_form:
                raise BadRecipe(f"evaluate.baselines: '{name}' is trained; expected closed forms, such as ridge")
        encoders, heads = ({side: self.part(f"{side}.{kind}") for side in SIDES} for kind in ("encoder", "head"))
        return Built(encoders, heads, self.part("objective"))

    def part_name(self, slot: str) -> str | None:
        """Name of the part in a slot."""
        spec = _get(self.values, slot)
        return None if spec is None else spec["name"]

    def splitting(self) -> dict[str, Any]:
        """The run-level keys of [data], with defaults; those of folds too, where the data set has none of its own."""
        own = parts.arguments(parts.find("datasets", self.part_name("data")))
        return {key: default if key in own and key in _run_keys.FOLDING else self.values["data"].get(key, default)
                for key, default in SPLITTING.items()}  # fmt: skip

    def train_options(self) -> TrainOptions:
        """The [train] section as options; its device is the recipe's own where it names none."""
        options = TrainOptions(**self.values["train"])
        return replace(options, device=self.device) if options.device == "auto" else options

    def finetune_options(self) -> FinetuneOptions | None:
        """The [finetune] section as options; None unless ``data.cached=false``."""
        return FinetuneOptions(**self.values["finetune"]) if "finetune" in self.values else None

    def evaluate_options(self) -> EvaluateOptions:
        """The [evaluate] section as options, with the recipe's seed."""
        return EvaluateOptions(**self.values["evaluate"], seed=self.seed)

    def toml(self) -> str:
        """The resolved recipe as TOML; reading it back gives the same recipe."""
        return f"# {self.name}, as resolved\n" + tomli_w.dumps({"name": self.name, **self.values})


def names() -> dict[str, str]:
    """Every recipe that ships, with the first comment line of its file."""
    return {p.stem: p.read_text("utf-8").split("\n", 1)[0].lstrip("# ") for p in sorted(HERE.glob("*.toml"))}


def load(recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), *, of_run: bool = False) -> Recipe:
    """Read a recipe by name, file or mapping, apply overrides, fill in defaults and validate.

    of_run: the file is a run's own, perhaps somebody else's run; code that it names needs consent.
    Raises BadRecipe naming the key and the nearest known one; Untrusted, see :mod:`sensorium.consent`.
    """
    name, values = _read(recipe)
    if of_run:
        consent.require(values, Path(recipe))
    for override in overrides:
        _apply(values, override)
    try:
        return Recipe(name, _resolve(values))
    except BadRecipe as error:
        if not of_run or overrides:
            raise
        raise BadRecipe(f"{recipe}: {error}") from None  # nobody typed it: the file is damaged, or of other parts


def _read(recipe: str | Path | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(recipe, Mapping):
        values = copy.deepcopy(dict(recipe))
        return str(values.pop("name", "recipe")), values
    path = Path(recipe).expanduser()
    if path.suffix != ".toml":
        if str(recipe) not in names():
            raise BadRecipe(f"no recipe '{recipe}'; {nearest(str(recipe), names())} (or give a .toml file)")
        path = HERE / f"{recipe}.toml"
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadRecipe(f"no recipe file {path}; type: sensorium ls recipes") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path} is not valid TOML: {error}") from None
    return str(values.pop("name", path.stem)), values


def _apply(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key:
        hint = f"; for these data type: data.file={override}" if not sign and Path(override).exists() else ""
        raise BadRecipe(f"'{override}' is not an override; expected key=value, such as train.lr=1e-3{hint}")
    value = _value(text)
    if key.endswith(".encoder") and value in ("", "none"):  # the items come as vectors
        values.get(key.partition(".")[0], {}).pop("encoder", None)
        return
    if key in SLOTS and not isinstance(value, Mapping):
        value = {"name": str(value)}  # swapping a part drops the old part's keys
        if key == "objective":
            value |= _own(values.get(key), value["name"])
    *path, last = key.split(".")
    target = values
    for step in path:
        inner = target.setdefault(step, {})
        if isinstance(inner, str):  # a part given by its bare name
            inner = target[step] = {"name": inner}
        if not isinstance(inner, dict):
            raise BadRecipe(f"'{key}': '{step}' is not a section")
        target = inner
    target[last] = value


def _own(before: Any, name: str) -> dict[str, Any]:
    """The key ``own`` of an objective that takes the one before it, where that is trained."""
    spec = {"name": before} if isinstance(before, str) else before
    if not isinstance(spec, Mapping) or "name" not in spec or not parts.find("objectives", name).keeps_own:
        return {}
    part = parts.find("objectives", spec["name"])
    return {} if part.closed_form or part.mixture else {"own": dict(spec)}


def _value(text: str) -> Any:
    """A TOML value where it is one, else the text itself (so data.root=~/clips needs no quotes)."""
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
    return text if isinstance(value, (datetime.date, datetime.time)) else value


def _resolve(values: dict[str, Any]) -> dict[str, Any]:

    for section in values:
        if section not in (*SECTIONS, *KEYS):
            raise BadRecipe(f"no section '{section}'; {nearest(section, (*SECTIONS, *KEYS))}")
    for required in ("data", "objective"):
        if required not in values:
            raise BadRecipe(f"the recipe has no [{required}]; type: {required}=NAME ({_choices(required)})")
    resolved: dict[str, Any] = {"seed": _seed(values.get("seed", 0)), "device": values.get("device", "auto")}
    device.check_name(resolved["device"])
    media = values.get("media", MEDIA[0])
    if media not in MEDIA:
        raise BadRecipe(f"media={media!r}; expected {' or '.join(MEDIA)}")
    if media != MEDIA[0]:  # recipes of before have no such key, and keep their hashes
        resolved["media"] = media
    for slot, spec in _slots(values):
        section, _, inner = slot.partition(".")
        filled = _fill(slot, spec)
        if inner:
            resolved.setdefault(section, {})[inner] = filled
        else:
            resolved[section] = filled
    for side in SIDES:
        for key, value in values.get(side, {}).items():
            if key == CENTER and not (isinstance(value, str) and value):
                raise BadRecipe(f"{side}.{key}={value!r}; expected the name of a column, such as speaker")
            if key == CENTER:
                resolved.setdefault(side, {})[key] = value
            elif f"{side}.{key}" not in SLOTS:
                raise BadRecipe(f"no key '{side}.{key}'; {nearest(key, ('encoder', 'head', CENTER))}")
        if "head" not in resolved.setdefault(side, {}):
            resolved[side]["head"] = _fill(f"{side}.head", "identity")
    if "index" not in resolved:
        resolved["index"] = _fill("index", "exact")
    train = _keys("train", values.get("train", {}), TrainOptions.defaults())
    resolved["train"] = TrainOptions.without_defaults(train)
    resolved["evaluate"] = _keys("evaluate", values.get("evaluate", {}), EvaluateOptions.defaults())
    _finetune(values, resolved)
    if "page" in values:
        resolved["page"] = PageOptions.of(values["page"]).given()
    TrainOptions(**train)  # each refuses invalid values
    EvaluateOptions(**resolved["evaluate"])
    return resolved


def _finetune(values: Mapping[str, Any], resolved: dict[str, Any]) -> None:
    """The [finetune] section, which stands in recipes with data.cached=false alone."""
    cached = resolved["data"].get(CACHED, True)
    if not isinstance(cached, bool):
        raise BadRecipe(f"data.{CACHED}={cached!r}; expected true or false")
    if cached and "finetune" in values:
        raise BadRecipe(f"[finetune] needs items that are read anew in each step; type: data.{CACHED}=false")
    if not cached:
        options = _keys("finetune", values.get("finetune", {}), FinetuneOptions.defaults())
        FinetuneOptions(**options)
        resolved["finetune"] = FinetuneOptions.without_defaults(options)


def _slots(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for slot in SLOTS:
        spec = _get(values, slot)
        if spec is not None:
            yield slot, spec


def _fill(slot: str, spec: Any) -> dict[str, Any]:
    """A part's spec with the defaults of its constructor; None defaults stay out (TOML has no null)."""
    spec = {"name": spec} if isinstance(spec, str) else dict(spec)
    if "name" not in spec:
        raise BadRecipe(f"{slot} needs a name; type: {slot}=NAME ({_choices(slot)})")
    if SLOTS[slot] == "encoders":
        spec = _names.expand(spec, slot)
    part = parts.find(SLOTS[slot], spec["name"])
    known = parts.arguments(part)
    extra = _run_keys.KEYS if slot == "data" else {}
    for key in spec:
        if key != "name" and key not in known and key not in extra:
            raise BadRecipe(f"no key '{slot}.{key}' ('{spec['name']}'); {nearest(key, [*known, *extra])}")
    parts.check(part, {key: value for key, value in spec.items() if key in known}, slot)
    if extra:
        spec = _run_keys.checked(spec, known)
    defaults = {k: d for k, d in known.items() if d is not None and d is not inspect.Parameter.empty}
    return _plain({**defaults, **spec})


def _keys(section: str, given: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise BadRecipe(f"[{section}] is a section; set its keys, such as {section}.{next(iter(defaults))}=…")
    for key in given:
        if key not in defaults:
            raise BadRecipe(f"no key '{section}.{key}'; {nearest(key, defaults)}")
    return _plain({**{k: d for k, d in defaults.items() if d is not None}, **given})


def _get(values: Mapping[str, Any], slot: str) -> Any:
    section, _, inner = slot.partition(".")
    found = values.get(section)
    if not inner or found is None:
        return found
    if not isinstance(found, Mapping):
        raise BadRecipe(f"[{section}] is a section with 'encoder' and 'head'")
    return found.get(inner)


def _choices(slot: str) -> str:
    return ", ".join(parts.names(SLOTS[slot]))


def _seed(value: Any) -> int:
    if _run_keys.whole_number("seed", value) > _LARGEST_SEED:
        raise BadRecipe(f"seed={value}; expected a whole number, 0 to {_LARGEST_SEED}")
    return value


def _plain(value: Any) -> Any:
    """Tuples as lists, so that a recipe equals its own TOML read back."""
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
