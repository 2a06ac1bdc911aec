"""The verb images: the vectors of a store, a run or a recipe as pseudo-images in PNG files, with contact sheets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from sensorium.cli.hub import Private
from sensorium.cli.options import Json, Overrides, Quiet, Trust, trusted
from sensorium.cli.output import Output
from sensorium.errors import BadData, BadRecipe, SensoriumError

if TYPE_CHECKING:
    from sensorium.types import Embeddings

#: Folder of the pictures of a side whose items came as vectors, by what the data call them.
_FOLDERS = {"sound": "audio", "clip": "audio", "picture": "image", "caption": "text"}
_SHEET = 48  # pictures of a contact sheet


class _Side(NamedTuple):
    """What is shown of one side: its name, the folder of its pictures, its vectors, and the settings of its head."""

    name: str
    folder: str
    table: Embeddings
    settings: dict[str, Any]


def images(
    what: Annotated[
        str,
        typer.Argument(
            metavar="STORE|RUN|RECIPE", help="A store, a run folder, or a recipe's name or file.", show_default=False
        ),
    ],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the pictures.")] = Path("pseudo_images"),
    size: Annotated[
        int | None, typer.Option("--size", help="Pixels of a side. Default: 128.", show_default=False)
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="nearest, nearest-exact, bilinear, bicubic or area.", show_default=False),
    ] = None,
    channels: Annotated[
        str | None, typer.Option("--channels", help="split (three planes) or replicate.", show_default=False)
    ] = None,
    clamp: Annotated[
        bool | None,
        typer.Option("--clamp/--no-clamp", help="Cut values to -1..1 before the scaling.", show_default=False),
    ] = None,
    minmax: Annotated[
        str | None, typer.Option("--minmax", help="Scale to 0..1 by image or by channel.", show_default=False)
    ] = None,
    side: Annotated[
        str | None, typer.Option("--side", help="One side of a run or recipe. Default: both.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Threads that write.")] = 2,
    push_to: Annotated[
        str | None,
        typer.Option(
            "--push-to", metavar="USER/NAME", help="Send the pictures to this data set of the Hub; a STORE, too."
        ),
    ] = None,
    private: Private = False,
    sheet: Annotated[int, typer.Option("--sheet", min=0, max=1000, help="Pictures of a contact sheet.")] = _SHEET,
    trust: Trust = False,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Write each vector as a picture: a PNG file an item, and a contact sheet. A second call makes what is missing.

    The settings are those of the side's head where that is cnn, so that left.head.images=DIR reads what is written.

    [bold]sensorium images runs/embeddings/clotho-left-passt-1a2b3c4d --out pictures[/bold]

    [bold]sensorium images clotho-vision data.cache=EMBEDDINGS --out EMBEDDINGS/pseudo_images[/bold]

    [bold]sensorium images runs/clotho-vision --side sound --size 64 --channels replicate --out pictures[/bold]

    [bold]sensorium images runs/embeddings/clotho-left-passt-1a2b3c4d --out pictures --push-to me/clotho[/bold]
    """
    from sensorium.modalities.image import pseudo_files
    from sensorium.modalities.image.pseudo import PseudoImage
    from sensorium.progress import bar
    from sensorium.store import pictures as pushing

    output, given = (
        Output(as_json),
        {"size": size, "mode": mode, "channels": channels, "clamp": clamp, "minmax": minmax},
    )
    asked = {key: value for key, value in given.items() if value is not None}
    sides = _chosen(_sides(what, overrides or [], trust, quiet), side)
    for one in sides:
        if one.table.offsets is not None:
            raise BadData(f"the {one.name} items are sequences of frames; a pseudo-image shows one vector: choose an "
                          "encoder that pools")  # fmt: skip
    if push_to is not None:  # refused before the pictures take their time
        pushing.check(push_to)
    records, written = [], []
    for one in sides:
        transform = PseudoImage(**{**one.settings, **asked})
        folder, ids = out / one.folder, [str(name) for name in one.table.ids]
        with bar(f"{one.name} pictures", len(ids), not quiet) as advance:
            done = pseudo_files.write(ids, one.table.vectors, transform, folder, one.folder, workers, advance)
        record = {"side": one.name, "items": len(ids), "made": done.made, "kept": done.kept, "folder": str(folder)}
        written += done.files
        if sheet and ids:
            written.append(_draw_sheet(out / f"{one.folder}-sheet.png", done.files[:sheet], ids, transform))
            record["sheet"] = str(written[-1])
        records.append(record)
    if push_to is not None:
        url = pushing.send(Path(what), out, written, push_to, private=private, progress=not quiet)
        records = [{**record, "url": url} for record in records]
    output.records(records)


def _draw_sheet(path: Path, files: list[Path], ids: list[str], transform: Any) -> Path:
    from sensorium import io
    from sensorium.modalities.image import contact_sheet, pseudo_files
    from sensorium.modalities.image import files as pictures

    settings = ", ".join(f"{key} {value}" for key, value in pseudo_files.settings(transform).items())
    title = f"{len(files)} of {len(ids)}; {settings}"
    shown = contact_sheet.draw([pictures.read(file) for file in files], ids[: len(files)], title)
    io.write(path, pictures.png(shown))
    return path


def _chosen(sides: list[_Side], wanted: str | None) -> list[_Side]:
    if wanted is None:
        return sides
    places = {"left": 0, "right": len(sides) - 1}
    found = [one for i, one in enumerate(sides) if wanted == one.name or places.get(wanted) == i]
    if not found:
        raise BadRecipe(f"--side {wanted}; expected {' or '.join(one.name for one in sides)} (left or right)")
    return found[:1]


def _sides(what: str, overrides: list[str], trust: bool, quiet: bool) -> list[_Side]:
    from sensorium import store

    if store.exists(Path(what)):
        if overrides:
            raise BadRecipe(f"{what} is a store, which takes no keys; leave out {' '.join(overrides)}")
        table = store.open(what)
        return [_Side("store", _kind(table.fingerprint, Path(what)), table, {})]
    return _of_recipe(what, overrides, trust, quiet)


def _kind(fingerprint: Mapping[str, Any], folder: Path) -> str:
    """Kind of the items that an encoder's store holds vectors of; the store's own name where that is not known."""
    from functools import partial

    from sensorium import parts

    stated = fingerprint.get("takes")
    try:
        part = parts.find("encoders", str(fingerprint.get("name")))
        made = part.func if isinstance(part, partial) else part
        stated = stated or next((vars(one)["takes"] for one in made.__mro__ if "takes" in vars(one)), None)
    except SensoriumError:  # of an encoder that is not there any more, or none
        pass
    return stated if isinstance(stated, str) else folder.resolve().name


def _of_recipe(what: str, overrides: list[str], trust: bool, quiet: bool) -> list[_Side]:
    """The vectors of both sides of a run, or of a recipe, embedded where they are not yet."""
    from sensorium import pipeline
    from sensorium import recipe as recipes
    from sensorium.fitting import encoders as encoding
    from sensorium.search import located
    from sensorium.search.folder import RunFolder
    from sensorium.types import SIDES, side_names

    run = RunFolder(Path(what))
    if run.is_run:
        trusted(trust, run.path)
        if overrides:
            raise BadRecipe(f"{what} is a run, whose keys are fixed; leave out {' '.join(overrides)}")
        plan = recipes.load(run.recipe, of_run=True).here()
        data, built = located.data(plan, run.path, not quiet).load(), located.tuned(plan.build(), run.path)
    else:
        plan = recipes.load(what, overrides)
        run = RunFolder(Path("runs") / plan.name)
        data = located.part(plan, run.path, progress=not quiet).load()
        plan, built, _ = encoding.settled(plan, data, plan.build(), overrides)
    tables = pipeline.embed(plan, data, run.stores, progress=not quiet, parts=built)
    names = side_names(data.left, data.right)
    found = []
    for key, items, table in zip(SIDES, (data.left, data.right), tables, strict=True):
        if items is not None:
            head = plan.values[key]["head"]
            settings = {word: head[word] for word in _SETTINGS if word in head} if head.get("name") == "cnn" else {}
            folder = items.kind if items.kind != "vector" else _FOLDERS.get(items.name, names[key])
            found.append(_Side(names[key], folder, table, settings))
    return found


_SETTINGS = ("size", "mode", "channels", "clamp", "minmax")  # of a picture, among the keys of the head cnn
VERBS = {"images": images}
