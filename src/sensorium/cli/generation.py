"""The verb generate: a picture that a face conditions, by Stable Diffusion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium import parts, progress
from sensorium.cli.options import Json, RunFolder, Trust, read_vector, trusted
from sensorium.cli.output import Output
from sensorium.errors import BadRecipe

_SYSTEM, _HOW, _MACHINE = "perception", "The picture", "The machine"


def generate(
    run: RunFolder,
    face: Annotated[
        Path,
        typer.Argument(
            metavar="FACE",
            help="A picture of a face, or a .npy file of its 1441 numbers or 478 x 3 landmarks.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Stable Diffusion 1.x: a folder that diffusers saved, or an id of the hub.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="PNG file to write. Default: FACE-generated.png, here.", show_default=False),
    ] = None,
    style: Annotated[
        str, typer.Option("--style", help="abstract, realistic, sci-fi or none.", rich_help_panel=_HOW)
    ] = "abstract",
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt", help="What is to be seen. Default: the style's.", show_default=False, rich_help_panel=_HOW
        ),
    ] = "",
    negative: Annotated[
        str | None,
        typer.Option(
            "--negative", help="What is not to be seen. Default: the style's.", show_default=False, rich_help_panel=_HOW
        ),
    ] = None,
    emotion: Annotated[
        str,
        typer.Option(
            "--emotion",
            help="Add words for an emotion, such as happy, to the prompt.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = "",
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            help="blend: turn the prompt's vector towards the face's. shift: add the face's to each token.",
            rich_help_panel=_HOW,
        ),
    ] = "blend",
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength",
            min=0,
            max=1,
            help="Of the face; 0: the prompt alone. Default: 0.5 of blend, 0.8 of shift.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            min=1,
            max=150,
            help="Of denoising. Default: 25; 4 of a latent consistency model.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            "--guidance",
            min=0,
            max=30,
            help="Weight of the prompt. Default: 7.5.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Default: drawn, and told.", show_default=False, rich_help_panel=_HOW),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            help="Pixels, such as 512 or 640x448. Default: the model's.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.", rich_help_panel=_MACHINE)] = "auto",
    dtype: Annotated[
        str, typer.Option("--dtype", help="auto, float32, float16 or bfloat16.", rich_help_panel=_MACHINE)
    ] = "auto",
    trust: Trust = False,
    as_json: Json = None,
) -> None:
    """Make a picture by Stable Diffusion from a prompt and a face, whose projected vector conditions it.

    [bold]sensorium generate runs/perception face.png --model stable-diffusion-v1-5/stable-diffusion-v1-5[/bold]

    [bold]sensorium generate runs/perception face.png --model FOLDER --style sci-fi --strength 0.7 --seed 1[/bold]
    """
    import sensorium

    trusted(trust, run)
    system = parts.systems("generation")[_SYSTEM]
    width, height = _pixels(size)
    options = system.Options(mode, strength, style, prompt, negative, emotion, steps, guidance, seed, width, height)
    opened = sensorium.open(run)
    found = locate(model)
    options = options.filled(found)
    parts.systems("text_space")[_SYSTEM].check_width(opened, "left", found.width, found.name)
    z = system.project(opened, read_vector(face) if face.suffix.lower() == ".npy" else face)
    progress.say("model", f"loading {found.name}")
    generator = system.Generator(found, device, dtype)
    generator.check(opened)
    with progress.bar("generate", options.steps) as advance:
        made = generator.picture(z, options, lambda step: advance(1))
    out = out or Path(f"{face.stem}-generated.png")
    made.save(out)
    record = {"out": str(out), "seconds": round(made.seconds, 1), **made.about}
    Output(as_json).records([record], ["out", "seed", "mode", "strength", "steps", "seconds"])


def locate(model: str) -> Any:
    """A picture model, downloaded where it is nowhere here; says whose licence it is under."""
    system = parts.systems("picture_model")[_SYSTEM]
    system.check_installed()
    found = system.locate(model)
    checker = "with" if found.checker else "without"
    progress.say("model", f"{found.name}, licence {found.licence or 'unknown'}, {checker} a safety checker")
    return found


def _pixels(size: str | None) -> tuple[int | None, int | None]:
    if size is None:
        return None, None
    width, _, height = size.lower().partition("x")
    if not width.isdecimal() or not (height or width).isdecimal():
        raise BadRecipe(f"--size {size}; expected pixels, such as 512 or 640x448")
    return int(width), int(height or width)


VERBS = {"generate": generate}
