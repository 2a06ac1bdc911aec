"""A Stable Diffusion 1.x pipeline of real classes with a few thousand random weights, as its publisher would put it up."""

from __future__ import annotations

import json
from pathlib import Path

WIDTH = 32  # numbers of a state of the text model
SIDE = 32  # pixels of a side that the model makes by default
_WORDS = ["<|startoftext|>", "<|endoftext|>"]


def save(folder: Path, width: int = WIDTH, safety: bool = False, layers: int = 2, seed: int = 0) -> Path:
    """Write the pipeline into a folder; width: of the text model's states. Returns the folder."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=SIDE // 4, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width, attention_head_dim=4, norm_num_groups=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(4, 8, 8), in_channels=3, out_channels=3, latent_channels=4, norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, sample_size=SIDE,
    )  # fmt: skip
    words = tokenizer()
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
            num_attention_heads=2, max_position_embeddings=77, projection_dim=width, hidden_act="quick_gelu",
            bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
        )
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    checker, extractor = _checker() if safety else (None, None)
    pipe = StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=words, unet=unet, scheduler=scheduler, safety_checker=checker,
        feature_extractor=extractor, requires_safety_checker=safety,
    )  # fmt: skip
    pipe.save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: creativeml-openrail-m\n---\n# Tiny\n", "utf-8")
    return folder


def tokenizer():
    """CLIP's tokenizer over bytes alone, without merges: every character of a word is a token."""
    import tempfile

    from transformers import CLIPTokenizer

    letters = [
        *map(chr, range(33, 127)),
        *map(chr, range(161, 173)),
        *map(chr, range(174, 256)),
        *map(chr, range(256, 324)),
    ]
    known = [*letters, *(f"{letter}</w>" for letter in letters), *_WORDS]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        vocabulary.write_text(json.dumps({word: at for at, word in enumerate(known)}), "utf-8")
        merges.write_text("#version: 0.2\n", "utf-8")
        return CLIPTokenizer(str(vocabulary), str(merges), model_max_length=77, pad_token="<|endoftext|>")


def _checker():
    """A safety checker of the real class; with ``concept_embeds_weights`` below any cosine it withholds everything."""
    import torch
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    config = CLIPConfig(
        vision_config={"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                       "image_size": 32, "patch_size": 16, "projection_dim": 16},
        text_config={"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        projection_dim=16,
    )  # fmt: skip
    checker = StableDiffusionSafetyChecker(config)
    with torch.no_grad():
        checker.concept_embeds_weights.fill_(-2.0)
    return checker, CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
