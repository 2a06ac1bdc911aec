"""Verbs that use: search, import, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sensorium.cli.options import Choices, Json, RunFolder, conditions, key_values, read_vector
from sensorium.cli.output import Output
from sensorium.errors import BadData, BadRecipe


def search(
    run: RunFolder,
    text: Annotated[str | None, typer.Option("--text", help="Words to search by.", show_default=False)] = None,
    audio: Annotated[Path | None, typer.Option("--audio", help="A sound file.", show_default=False)] = None,
    image: Annotated[Path | None, typer.Option("--image", help="A picture file.", show_default=False)] = None,
    face: Annotated[Path | None, typer.Option("--face", help="A picture of a face.", show_default=False)] = None,
    id: Annotated[str | None, typer.Option("--id", help="An item already in the run.", show_default=False)] = None,
    vector: Annotated[
        Path | None,
        typer.Option("--vector", help="A .npy file with one vector, as the encoder gives it.", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many to find.")] = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            help="Only items whose column has this value: COLUMN=VALUE; repeat to narrow.",
            show_default=False,
        ),
    ] = None,
    side: Annotated[
        str | None,
        typer.Option("--from", help="Side the query belongs to (left or right), when not evident.", show_default=False),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Side to search. Default: the other one.", show_default=False)
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
    as_json: Json = None,
) -> None:
    """Find the items nearest to words, a sound, a picture, a face, an item or a vector.

    [bold]sensorium search runs/glyphs --text "arrow turning left"[/bold]

    [bold]sensorium search runs/glyphs --image picture.png -k 5[/bold]

    [bold]sensorium search runs/glyphs --id U+2665 --to right --json[/bold]
    """
    import sensorium

    opened = sensorium.open(run)
    for path in (audio, image, face, vector):
        if path is not None and not path.is_file():
            raise BadRecipe(f"no such file: {path}")
    hits = opened.search(
        text=text,
        audio=audio,
        image=image,
        face=face,
        id=id,
        vector=None if vector is None else read_vector(vector),
        k=k,
        where=conditions(where or []),
        side=side,
        to=to,
        mmr=mmr,
    )
    Output(as_json).records(hits)


def import_(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="What the file is; an unknown kind lists them.", show_default=False)
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File or folder to read.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Store or run folder to make.", show_default=False)],
    options: Choices = None,
    as_json: Json = None,
) -> None:
    """Bring in other people's embedding files as a store, or their weights as a run.

    [bold]sensorium import npz train_text_raw.npz key=text_emb --out stores/texts[/bold]

    [bold]sensorium import model.pth model.pth normalization=utterance data.root=~/data/RAVDESS --out runs/theirs[/bold]
    """
    from sensorium import exchange
    from sensorium.store import importing

    if kind in exchange.IMPORTS:
        told = exchange.import_(kind, path, out, options or [])
    else:
        _known("import", kind, [*importing.KINDS, *exchange.IMPORTS])
        told = importing.import_(kind, path, out, **key_values(options or []))
    Output(as_json).records([told])


def export(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="What to write; an unknown kind lists them.", show_default=False)
    ],
    source: Annotated[Path, typer.Argument(metavar="STORE|RUN", help="A store or run folder.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write.", show_default=False)],
    options: Choices = None,
    as_json: Json = None,
) -> None:
    """Write a store, or a run's head, in the shape of another tool.

    [bold]sensorium export npz stores/texts --out texts.npz key=text_emb[/bold]

    [bold]sensorium export onnx runs/ravdess --out head.onnx[/bold]

    [bold]sensorium export model.pth runs/ravdess --out model.pth[/bold]
    """
    from sensorium import exchange
    from sensorium.store import exporting

    chosen = key_values(options or [])
    if kind in exchange.EXPORTS:
        for key in chosen.keys() - {"side"}:
            raise BadRecipe(f"export {kind} takes no '{key}'; it takes side=left or side=right")
        told = exchange.export(kind, source, out, **chosen)
    else:
        _known("export", kind, [*exporting.KINDS, *exchange.EXPORTS])
        if not (source / "manifest.json").is_file() and not any(source.glob("*.items.parquet")):
            raise BadData(f"{source} is no store; '{kind}' is written from one, such as those in runs/embeddings")
        told = exporting.export(kind, source, out, **chosen)
    Output(as_json).records([told])


def _known(verb: str, kind: str, kinds: list[str]) -> None:
    if kind not in kinds:
        raise BadRecipe(f"cannot {verb} '{kind}'; known: {', '.join(kinds)}")


VERBS = {"search": search, "import": import_, "export": export}
