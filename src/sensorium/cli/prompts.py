"""Options of ``sensorium search`` for scripts of many lines, and for prompts of TTS engines."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sensorium import parts, progress
from sensorium.cli.options import read_vector
from sensorium.cli.output import Output, printable
from sensorium.errors import BadRecipe

if TYPE_CHECKING:
    from sensorium.search.line_file import LineFile
    from sensorium.search.lines import Encoded, Picker
    from sensorium.search.query import Options
    from sensorium.search.script import Script

_SCRIPTS, _PROMPTS = "Scripts", "Prompts for text to speech"
_NOTES = 5  # lines whose notes are printed


def options(
    lines: Annotated[
        Path | None,
        typer.Option(
            "--lines",
            help="Search for every line of a script: text in UTF-8; a table (CSV, TSV, JSONL) with a column text, "
            "perhaps speaker, emotion, duration; or vectors (.npy, .npz).",
            show_default=False,
            rich_help_panel=_SCRIPTS,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="File for the results. The same command goes on where it was interrupted.",
            show_default=False,
            rich_help_panel=_SCRIPTS,
        ),
    ] = None,
    vary: Annotated[
        int,
        typer.Option(
            "--vary",
            min=0,
            help="Leave out the best hits of so many lines before.",
            rich_help_panel=_SCRIPTS,
        ),
    ] = 0,
    engine: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Only clips that a TTS engine takes as prompts: gpt-sovits, f5, cosyvoice, indextts or any.",
            show_default=False,
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            "--gate",
            help="Other limits of one of the engine's gates: duration=2..12, loudness=0.02.., noise=off. Repeat.",
            show_default=False,
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="Write gpt-sovits, gpt-sovits-api, f5, cosyvoice, indextts, indextts-batch, emorag or jsonl.",
            show_default=False,
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    copy_to: Annotated[
        Path | None,
        typer.Option(
            "--copy-to",
            help="Copy the clips into this folder, as WAV at the engine's rate, and name the copies in --as.",
            show_default=False,
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    level: Annotated[
        bool,
        typer.Option(
            "--level",
            help="Bring the copies to the usual loudness, and judge the clips by what that gives.",
            rich_help_panel=_PROMPTS,
        ),
    ] = False,
    speaker: Annotated[
        str | None,
        typer.Option("--speaker", help="Only clips of this speaker.", show_default=False, rich_help_panel=_PROMPTS),
    ] = None,
    speaker_of: Annotated[
        str | None,
        typer.Option(
            "--speaker-of",
            metavar="CLIP",
            help="Only clips of this clip's speaker: an id, a file of the library, or any recording (nearest voice).",
            show_default=False,
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    keep_speaker: Annotated[
        bool,
        typer.Option(
            "--keep-speaker",
            help="One speaker throughout the script, or one for each of its speakers: who suits the lines best.",
            rich_help_panel=_PROMPTS,
        ),
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            help="Characters a second that the lines will be spoken at; default: usual for the clips.",
            show_default=False,
            rich_help_panel=_PROMPTS,
        ),
    ] = None,
    nonverbal: Annotated[
        bool,
        typer.Option("--nonverbal", help="Laughter and sobbing in the clips are welcome.", rich_help_panel=_PROMPTS),
    ] = False,
) -> None:
    """The options of this file, for the signature of ``search``."""


NAMES = tuple(inspect.signature(options).parameters)


def asked(given: Mapping[str, Any], vector: Path | None) -> bool:
    """Whether a search is one of many lines or of prompts: an option of them is there, or there are several vectors."""
    return any(value not in (None, False, 0, []) for value in given.values()) or (
        vector is not None and len(_vectors(vector)) > 1
    )


def search(
    run: Any, inputs: Mapping[str, Any], plain: Options, given: Mapping[str, Any], side: str | None, output: Output
) -> None:
    """Search for the lines of a script, and print or write what is found.

    inputs: the queries of the command line by their kind, of which one text, or a file of vectors, may be there in
    place of a script. plain: options that prompts share with any search. given: those of :func:`options`.
    """
    from sensorium.search.line_file import LineFile
    from sensorium.search.lines import Encoded, batches

    script = _script(inputs, given["lines"])
    single = given["lines"] is None and len(script) == 1
    _check(plain, given)
    encoded = Encoded(run, script, side)
    picker, exports = _picker(run, encoded, plain, given)
    format, out, copy_to = given["format"], given["out"], given["copy_to"]
    folder = format is not None and not exports.find(format).ending
    if folder and out is None:
        raise BadRecipe(f"--as {format} writes a folder; give --out FOLDER")
    if not folder and out is not None and out.is_dir():
        raise BadRecipe(f"{out} is a folder; expected a file, such as --out prompts.jsonl")
    if out is None:
        records = [record for batch in batches(encoded, picker, show=not single) for record in batch]
        if format is not None:
            print(exports.text(format, records, picker, copy_to), end="")
        elif single:
            _tell_hits(records[0], output)
        else:
            output.records(records if output.json else _rows(records))
    else:
        with LineFile(out, _task(run, script, picker)) as file:
            records = _written(file, encoded, picker, given["vary"])
            if format in (None, "jsonl"):
                file.finish()
            else:
                exports.save(format, records, picker, out, copy_to)
                file.discard()
        output.records([_summary(records, out)])
    _tell_notes(records, picker)


def _script(inputs: Mapping[str, Any], lines: Path | None) -> Script:
    """The lines to search for. Raises BadRecipe for more than one query, or one that is neither text nor vectors."""
    from sensorium.search import script

    queries = {name: value for name, value in {"lines": lines, **inputs}.items() if value is not None}
    if len(queries) != 1 or not set(queries) <= {"lines", "text", "vector"}:
        named = ", ".join(f"--{name}" for name in queries) or "none"
        raise BadRecipe(f"scripts and prompts take one of --lines, --text or --vector; got {named}")
    if "text" in queries:
        return script.Script([str(queries["text"])], where="--text")
    return script.read(lines) if lines is not None else _vectors(queries["vector"])


def _vectors(path: Path) -> Script:
    """The vectors of a file, one a line."""
    import numpy as np

    from sensorium.search import script

    if path.suffix.lower() == ".npz":
        return script.read(path)
    found = np.atleast_2d(read_vector(path))
    return script.Script([None] * len(found), found.astype(np.float32), where=str(path))


def _check(plain: Options, given: Mapping[str, Any]) -> None:
    wrong = {
        "--facets": plain.facets,
        "--fallback": plain.fallback is not None,
        "--collapse-size": plain.collapse_size > 1,
    }
    for option, value in wrong.items():
        if value:
            raise BadRecipe(f"{option} is not for scripts and prompts; leave it out, or search without them")
    if given["copy_to"] is not None and given["format"] is None:
        raise BadRecipe("--copy-to copies the clips that a format names; say which with --as")
    if given["level"] and given["copy_to"] is None and given["format"] not in (None, "cosyvoice"):
        raise BadRecipe("--level changes the audio, so it has to be copied; give --copy-to FOLDER")


def _picker(run: Any, encoded: Encoded, plain: Options, given: Mapping[str, Any]) -> tuple[Picker, Any]:
    """What picks the hits, and the formats of the system that does; the nearest items alone where it has no part."""
    from sensorium.search.lines import Choice, Finder, LineHits

    special = ("engine", "gate", "format", "copy_to", "level", "speaker", "speaker_of", "keep_speaker", "rate",
               "nonverbal")  # fmt: skip
    if not any(given[name] for name in special):
        options, distinct = plain, None
        finder = Finder(run, encoded.side, options, Choice(plain.k, plain.mmr, plain.min_score, None, given["vary"]))
        if plain.collapse is not None:
            distinct = finder.found_in.table.codes(plain.collapse, "collapse").codes
            finder.choice = Choice(plain.k, plain.mmr, plain.min_score, distinct, given["vary"])
        return LineHits(encoded.script, finder), None
    system = next(iter(parts.systems("picker").values()))
    exports = next(iter(parts.systems("exports").values()))
    if given["format"] is not None:
        exports.find(given["format"])
    wanted = system.Wanted(
        given["engine"] or "", plain.k, tuple(given["gate"] or ()), plain.where, given["speaker"], given["speaker_of"],
        given["keep_speaker"], given["nonverbal"], given["level"], given["rate"], given["vary"], plain.mmr,
        plain.min_score, plain.corrected, plain.collapse, encoded.side, plain.to,
    )  # fmt: skip
    return system.Picker(run, encoded.side, encoded.script, wanted), exports


def _task(run: Any, script: Script, picker: Picker) -> dict[str, str]:
    """What a file of results is of: it goes on only where all of these are the same."""
    from sensorium import io

    return {"script": script.digest, "run": io.checksum(run.folder / "metrics.json"), "options": picker.about}


def _written(file: LineFile, encoded: Encoded, picker: Picker, vary: int) -> list[dict[str, Any]]:
    """All records; those that are not in the file yet are picked and written, batch by batch."""
    from sensorium.search.lines import batches

    if file.done:
        progress.say("lines", f"{file.done:,} of {len(encoded.script):,} are in {file.path}; goes on from there")
        picker.go_on(file.records(vary))
    if file.done < len(encoded.script):
        for batch in batches(encoded, picker, file.done, show=True):
            file.append(batch)
    return file.records()


def _summary(records: Sequence[Mapping[str, Any]], out: Path) -> dict[str, Any]:
    empty = sum(record["text"] is not None and not record["text"].strip() for record in records)
    found = sum(bool(record["hits"]) for record in records)
    return {
        "out": str(out),
        "lines": len(records),
        "found": found,
        "nothing": len(records) - found - empty,
        "empty": empty,
    }


def _rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Records as rows of a table: one a hit, one for a line without hits."""
    from sensorium.search.hits import flat

    rows = []
    for record in records:
        asked = {"line": record["line"], "query": record["query"]}
        rows += [{**asked, **_plain(flat(hit))} for hit in record["hits"]] or [{**asked, "note": record["note"]}]
    return rows


def _plain(hit: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hit.items() if name not in ("gates", "path")}


def _tell_hits(record: Mapping[str, Any], output: Output) -> None:
    """One query's hits, as those of any search; their gates' numbers in JSON."""
    from sensorium.cli.use import tell_hits
    from sensorium.search.hits import HitList

    tell_hits(output, HitList(record["hits"] if output.json else map(_plain, record["hits"])))


def _tell_notes(records: Sequence[Mapping[str, Any]], picker: Picker) -> None:
    """Why lines have too few hits, and what else a picker has to say, on the error stream."""
    notes = [(record["line"], record["note"]) for record in records if record["note"]]
    for line, note in notes[:_NOTES]:
        progress.say("note", printable(f"line {line}: {note}" if len(records) > 1 else note))
    if len(notes) > _NOTES:
        progress.say("note", f"{len(notes) - _NOTES:,} more lines have fewer hits than were asked for, or none")
    for note in picker.notes():
        progress.say("note", printable(note))
