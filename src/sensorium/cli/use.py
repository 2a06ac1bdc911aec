"""Verbs that use: search, import, export."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from sensorium import modalities
from sensorium.cli import fused, prompts
from sensorium.cli.options import Choices, Json, RunFolder, Trust, read_vector, trusted
from sensorium.cli.output import Output, printable
from sensorium.cli.where import conditions, kinds_of
from sensorium.errors import BadRecipe

if TYPE_CHECKING:
    from sensorium.search.hits import HitList


def search(
    run: RunFolder,
    id: Annotated[str | None, typer.Option("--id", help="An item already in the run.", show_default=False)] = None,
    vector: Annotated[
        Path | None,
        typer.Option(
            "--vector",
            help="A .npy or .npz file with one vector or several, as the encoder gives them.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many to find.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            help="Only items whose column has this value: COLUMN=VALUE, COLUMN=LOW..HIGH, COLUMN>=VALUE, "
            "COLUMN~=TEXT for text within; COLUMN= has none. Repeat to narrow; = twice for one column takes either.",
            show_default=False,
        ),
    ] = None,
    side: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Side the query belongs to, by its name, left or right, when not evident.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Side to search, by its name, left or right. Default: the other one.", show_default=False
        ),
    ] = None,
    mmr: Annotated[
        float | None,
        typer.Option(
            "--mmr",
            min=0,
            max=1,
            help="Results that differ from each other: 1 is relevance alone, 0 variety alone.",
            show_default=False,
        ),
    ] = None,
    facets: Annotated[
        list[str] | None,
        typer.Option(
            "--facets",
            help="Count the values of this column among items that pass --where; repeat for several. Needs no query.",
            show_default=False,
        ),
    ] = None,
    collapse: Annotated[
        str | None,
        typer.Option(
            "--collapse",
            help="One hit a value of this column; -k counts groups. Windows of long sounds collapse by recording; "
            "none: every window.",
            show_default=False,
        ),
    ] = None,
    collapse_size: Annotated[
        int, typer.Option("--collapse-size", min=1, help="Items of each group, of which the first is the hit.")
    ] = 1,
    min_score: Annotated[
        float | None, typer.Option("--min-score", help="Leave out hits of a lower score.", show_default=False)
    ] = None,
    fallback: Annotated[
        list[str] | None,
        typer.Option(
            "--fallback",
            help="Where fewer than -k are found, fill up with items that pass this in place of --where, of any score: "
            "COLUMN=VALUE as in --where, or all.",
            show_default=False,
        ),
    ] = None,
    trust: Trust = False,
    as_json: Json = None,
    **inputs: Any,
) -> None:
    """Find the items nearest to words, a file, an item or a vector, or to each line of a script.

    [bold]sensorium search runs/glyphs --text "arrow turning left"[/bold]

    [bold]sensorium search runs/glyphs --image picture.png -k 5[/bold]

    [bold]sensorium search runs/glyphs --id U+2665 --to right --json[/bold]

    [bold]sensorium search runs/shop --text "red dress" --where "price<50" --collapse product --facets brand[/bold]

    [bold]sensorium search runs/voices --lines script.txt --for f5 -k 1 --as f5 --out voices.toml[/bold]

    [bold]sensorium search runs/emorag-best --with runs/emorag-vad --weights .7,.3 --text "Leave me alone!"[/bold]
    """
    import sensorium

    trusted(trust, run)
    opened = sensorium.open(run)
    given = {name: inputs.pop(name) for name in prompts.NAMES}
    of_fusion = {name: inputs.pop(name) for name in fused.NAMES}
    for name, path in {**inputs, "vector": vector}.items():
        if path is not None and (name == "vector" or modalities.find(name).is_file) and not Path(path).is_file():
            raise BadRecipe(f"no such file: {path}")
    kinds = kinds_of(opened) if where or fallback else {}
    conditions_ = conditions(where or [], kinds)
    other = {} if fallback == ["all"] else conditions(fallback or [], kinds, "--fallback")
    several, scripted = fused.asked(of_fusion), prompts.asked(given, vector)
    if several or scripted:
        from sensorium.search.query import Options

        options = Options(k, to, conditions_, True, mmr, None, "head", facets or [], collapse, collapse_size, min_score,
                          other)  # fmt: skip
        if several and scripted:
            raise BadRecipe("--with is for one query; scripts and prompts of engines take one run")
        if several:
            asked = {**inputs, "id": id, "vector": None if vector is None else read_vector(vector)}
            tell_hits(Output(as_json), fused.search(opened, asked, options, of_fusion, side, trust))
            return
        prompts.search(opened, {**inputs, "id": id, "vector": vector}, options, given, side, Output(as_json))
        return
    hits = opened.search(
        id=id,
        vector=None if vector is None else read_vector(vector),
        k=k,
        where=conditions_,
        side=side,
        to=to,
        mmr=mmr,
        facets=facets or [],
        collapse=collapse,
        collapse_size=collapse_size,
        min_score=min_score,
        fallback=other,
        **inputs,
    )
    output = Output(as_json)
    tell_hits(output, hits)
    for notice in opened.migrations.notices(opened.names):
        output.say(notice)


def tell_hits(output: Output, hits: HitList) -> None:
    """Print hits, then their facets: a table each, or a JSON object for each hit and for each facet."""
    from sensorium.search.hits import flat
    from sensorium.table import json_value

    if hits or not hits.facets:
        output.records([json_value(hit) if output.json else flat(hit) for hit in hits])
    for name, facet in hits.facets.items():
        if output.json:
            output.records([{"facet": name, **json_value(facet)}])
            continue
        one, rows = dict(facet), facet.get("values", [])
        if "ranges" in facet:
            rows = [{"from": row["from"], "below": row["to"], "count": row["count"]} for row in facet["ranges"]]
        low, high = (f"{end:.6g}" if isinstance(end, float) else str(end) for end in (one.get("min"), one.get("max")))
        ends = f", {low} to {high}" if one.get("min") is not None else ""
        cut = f", the {len(rows)} most frequent" if "values" in one and len(rows) < one["distinct"] else ""
        gaps = f", {one['missing']:,} items without" if one["missing"] else ""
        output.say(printable(f"{name}: {one['distinct']:,} values of {one['count']:,} items{ends}{cut}{gaps}"))
        output.records(rows)


def _with_modalities(function: Callable[..., None]) -> Callable[..., None]:
    """The verb with an option for every modality, such as --text, those of scripts and of fusions, for ``**inputs``."""
    signature = inspect.signature(function)
    run, *others = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    asked = [
        inspect.Parameter(
            name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[str | None, typer.Option(f"--{name}", help=_first_up(one.query), show_default=False)],
        )
        for name, one in modalities.found().items()
    ]
    hints = get_type_hints(function, include_extras=True)
    for more in (prompts.options, fused.options):
        hints |= get_type_hints(more, include_extras=True)
        others += inspect.signature(more).parameters.values()
    known = [p.replace(annotation=hints[p.name]) for p in (run, *others)]

    @functools.wraps(function)
    def verb(*arguments: Any, **options: Any) -> None:
        function(*arguments, **options)

    verb.__signature__ = inspect.Signature([known[0], *asked, *known[1:]])  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in (known[0], *asked, *known[1:])}
    return verb


def _first_up(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def import_(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="The format, one of: sensorium ls formats.", show_default=False)
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File or folder to read.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Store or run folder to make.", show_default=False)],
    options: Choices = None,
    as_json: Json = None,
) -> None:
    """Import other tools' embedding files as a store, or their weights as a run.

    [bold]sensorium import npz train_text_raw.npz key=text_emb --out stores/texts[/bold]

    [bold]sensorium import model.pth model.pth normalization=utterance data.root=~/data/RAVDESS --out runs/theirs[/bold]
    """
    from sensorium import exchange

    Output(as_json).records([exchange.import_(kind, path, out, options or [])])


def export(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="The format, one of: sensorium ls formats.", show_default=False)
    ],
    source: Annotated[Path, typer.Argument(metavar="STORE|RUN", help="A store or run folder.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write.", show_default=False)],
    options: Choices = None,
    trust: Trust = False,
    as_json: Json = None,
) -> None:
    """Write a store, or a run's head, in the shape of another tool.

    [bold]sensorium export npz stores/texts --out texts.npz key=text_emb[/bold]

    [bold]sensorium export onnx runs/ravdess --out head.onnx[/bold]

    [bold]sensorium export model.pth runs/ravdess --out model.pth[/bold]
    """
    from sensorium import exchange

    trusted(trust, source)
    Output(as_json).records([exchange.export(kind, source, out, options or [])])


VERBS = {"search": _with_modalities(search), "import": import_, "export": export}
