"""Modalities found by folder, on ``sensorium.modalities.__path__``, and by entry point."""

from __future__ import annotations

import functools
import importlib
import pkgutil
import warnings
from typing import TYPE_CHECKING, Any

from sensorium import parts
from sensorium.errors import BadRecipe, nearest

if TYPE_CHECKING:
    from sensorium.modalities import Modality

ROOM = "modalities"
SHOWN_AS = ("image", "audio", "text", "none")
#: Prefixes of the media types that may be served; others, such as text/html, would be executed by a browser.
SERVED = ("image/", "audio/", "video/")
_NOT_SERVED = ("image/svg+xml",)
_NAMES = ("name", "query", "is_file", "media_types", "shown_as", "packed_as", "read", "decode", "pack", "bad_items")


def found() -> dict[str, Modality]:
    """Every modality by name: text first, then those whose queries are files.

    One from outside that cannot be imported or breaks the contract is left out with a warning.
    """
    import sensorium.modalities as package

    return dict(_found(tuple(package.__path__)))


def names() -> tuple[str, ...]:
    """The names of the modalities, in the order of :func:`found`."""
    return tuple(found())


def find(name: str) -> Modality:
    """The modality of this name. Raises BadRecipe, naming the nearest, when there is none."""
    modalities = found()
    if name not in modalities:
        raise BadRecipe(f"no modality '{name}'; {nearest(name, modalities)}")
    return modalities[name]


def media_type(ending: str) -> str | None:
    """The media type that a file of this ending is served as; None for a file that is not served."""
    for modality in found().values():
        if ending.lower() in modality.media_types:
            return modality.media_types[ending.lower()]
    return None


def served_types() -> frozenset[str]:
    """Every media type that an item can be served as."""
    every = [[*one.media_types.values(), one.packed_as] for one in found().values()]
    return frozenset(kind for kinds in every for kind in kinds if kind)


@functools.lru_cache(4)
def _found(folders: tuple[str, ...]) -> dict[str, Modality]:
    loads = {name: functools.partial(parts.package, ROOM, name) for name in parts.folders(ROOM)}
    for module in pkgutil.iter_modules(folders):
        if module.ispkg and not module.name.startswith("_") and module.name not in loads:
            loads[module.name] = functools.partial(importlib.import_module, f"sensorium.{ROOM}.{module.name}")
    modalities = {}
    for name, load in loads.items():
        try:
            one = load().modality
            _check(name, one)
        except Exception as error:
            warnings.warn(f"modality '{name}' is left out: {error}", stacklevel=4)
        else:
            modalities[name] = one
    return dict(sorted(modalities.items(), key=lambda item: (item[1].is_file, item[0])))


def _check(name: str, one: Any) -> None:
    """Raise BadRecipe for an object that is not the modality of this name."""
    absent = [attribute for attribute in _NAMES if attribute not in dir(one)]
    if absent:
        raise BadRecipe(f"it has no {', '.join(absent)}; see sensorium.modalities.Modality")
    if one.name != name or not name.isidentifier():
        raise BadRecipe(f"its name is '{one.name}'; expected that of its folder, a Python name")
    if one.shown_as not in SHOWN_AS:
        raise BadRecipe(f"shown_as='{one.shown_as}'; expected {', '.join(SHOWN_AS)}")
    for kind in [*one.media_types.values(), *filter(None, [one.packed_as])]:
        if not kind.startswith(SERVED) or kind in _NOT_SERVED:
            raise BadRecipe(f"media type '{kind}'; expected image/…, audio/… or video/…, and not image/svg+xml")
