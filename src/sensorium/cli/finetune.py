"""The verb that trains encoders with their heads: finetune."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from sensorium.cli.options import All, Json, Out, Overrides, Quiet, RecipeName, Seed, tell
from sensorium.cli.output import Output


def finetune(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    seed: Seed = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard events into the run.")] = False,
    everything: All = False,
    as_json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run a recipe whose encoders are trained with their heads; what is trained is printed before the first step.

    A recipe with finetune keys, or with a partner NAME-finetune, runs as it is. Any other gets data.cached=false and
    the keys of the Embed2Image document: both encoders whole at lr 3e-6, 20 epochs, batch 32, warm-up and cosine.

    [bold]sensorium finetune clotho data.root=~/data/CLOTHO_v2.1[/bold]

    [bold]sensorium finetune clotho data.root=~/data/CLOTHO_v2.1 train.batch=256 finetune.chunk=16[/bold]

    [bold]sensorium finetune pairs data.file=captions.csv data.left=path data.right=caption left.encoder=clip
    right.encoder=minilm finetune.blocks=2 finetune.lr=1e-4[/bold]

    [bold]sensorium finetune captions data.root=SOUNDS data.table=captions.csv left.encoder=passt finetune.lora=8
    finetune.lr=1e-4[/bold]
    """
    import sensorium

    name, keys = planned(recipe, overrides or [])
    made = sensorium.run(name, keys, out=out, seed=seed, quiet=quiet, tensorboard=tensorboard)
    tell(Output(as_json), made, everything=everything, then=True)


def planned(recipe: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """The recipe that fine-tunes, and its overrides: those given come last, and so hold."""
    from sensorium import recipe as recipes
    from sensorium.fitting.finetune_options import DEFAULTS

    partner = f"{recipe}-finetune"
    if partner in recipes.names():
        return partner, list(overrides)
    plain = recipes.load(recipe, [one for one in overrides if not one.startswith("finetune.")])
    return recipe, list(overrides) if plain.finetune_options() else [*DEFAULTS, *overrides]
