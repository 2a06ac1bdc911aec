"""CLIP: pictures and texts in one space, by a model of the Hugging Face hub or a folder (Radford et al. 2021)."""

from __future__ import annotations

from sensorium.encoders._two_towers import Looks

LICENCE = "MIT (OpenAI's models)"  # of the usual weights
WEIGHTS = "the Hugging Face hub or its cache, or a local folder: model=FOLDER"


class Clip(Looks):
    """A picture or a text as the projected vector of its tower; cosine compares the two.

    model: id on the Hugging Face hub, such as openai/clip-vit-base-patch32, or a folder that save_pretrained wrote.
    tower: "image" or "text"; "" is chosen by the kind of the side's items.
    revision: branch, tag or commit of an id.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.

    Vectors have the length that the model gives them; heads and indexes normalise.
    """

    part, extra, usual = "clip", "transformers", "openai/clip-vit-base-patch32"
    architectures = {"clip": "CLIPModel"}  # noqa: RUF012
