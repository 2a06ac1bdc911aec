"""Two-tower models, vision and text transformers of a few thousand random weights, as their publishers would put them up."""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = [
    "a",
    "dog",
    "cat",
    "runs",
    "over",
    "the",
    "red",
    "green",
    "blue",
    "house",
    "sea",
    "rain",
    "falls",
    "on",
    "roof",
    "two",
    "men",
    "talk",
    "old",
    "man",
    "bird",
    "sings",
    "loud",
]
LAYERS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
SIDE = 32  # of a picture, in pixels
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]


def texts() -> list[str]:
    """Texts of many lengths, one of them longer than the models read."""
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, n)) for n in (3, 9, 1, 17, 5, 9, 60, 2, 12, 7, 4)]


def pictures() -> list[np.ndarray]:
    """Pictures of several shapes: colour, grey, with transparency."""
    rng = np.random.default_rng(1)
    shapes = [(40, 56, 3), (33, 33, 3), (90, 31, 3), (48, 64), (50, 40, 4), (8, 9, 3), (64, 64, 3)]
    return [rng.integers(0, 256, shape).astype(np.uint8) for shape in shapes]


def tokenizer(folder: Path, *, longest: int, ends: bool = True, pad: str = "[PAD]") -> None:
    """A tokenizer of whole words, with class and separator tokens around a text."""
    special = [pad, "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: i for i, word in enumerate([*special, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    if ends:
        made.post_processor = processors.TemplateProcessing(
            "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=longest,
    ).save_pretrained(folder)  # fmt: skip


def _vocabulary() -> int:
    return 4 + len(WORDS)


def clip(folder: Path, **more: object) -> Path:
    """A CLIPModel with its tokenizer and picture processor."""
    torch.manual_seed(0)
    text = {**LAYERS, "vocab_size": _vocabulary(), "max_position_embeddings": 24, "eos_token_id": 3, "bos_token_id": 2,
            "pad_token_id": 0}  # fmt: skip
    made = transformers.CLIPConfig(text_config=text, vision_config={**LAYERS, "image_size": SIDE, "patch_size": 8, **more},
                                   projection_dim=12)  # fmt: skip
    transformers.CLIPModel(made).eval().save_pretrained(folder)
    tokenizer(folder, longest=24)
    processor = {"image_processor_type": "CLIPImageProcessor", "do_resize": True, "size": {"shortest_edge": SIDE},
                 "do_center_crop": True, "crop_size": {"height": SIDE, "width": SIDE}, "do_normalize": True,
                 "do_rescale": True, "rescale_factor": 1 / 255, "resample": 3, "image_mean": MEAN, "image_std": STD,
                 "do_convert_rgb": True}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def siglip(folder: Path) -> Path:
    """A SiglipModel, whose texts are padded to one length and whose pictures are squeezed into a square."""
    torch.manual_seed(0)
    text = {
        **LAYERS,
        "vocab_size": _vocabulary(),
        "max_position_embeddings": 16,
        "projection_size": 16,
        "pad_token_id": 0,
    }
    made = transformers.SiglipConfig(text_config=text, vision_config={**LAYERS, "image_size": SIDE, "patch_size": 8})
    transformers.SiglipModel(made).eval().save_pretrained(folder)
    tokenizer(folder, longest=16)
    transformers.SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def siglip2(folder: Path) -> Path:
    """A Siglip2Model, whose pictures are patches in their own aspect ratio."""
    torch.manual_seed(0)
    text = {
        **LAYERS,
        "vocab_size": _vocabulary(),
        "max_position_embeddings": 16,
        "projection_size": 16,
        "pad_token_id": 0,
    }
    made = transformers.Siglip2Config(text_config=text, vision_config={**LAYERS, "num_patches": 16, "patch_size": 8})
    transformers.Siglip2Model(made).eval().save_pretrained(folder)
    tokenizer(folder, longest=16)
    transformers.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return folder


def dinov2(folder: Path) -> Path:
    """A Dinov2Model: resized by the shorter edge, cropped in the middle."""
    torch.manual_seed(0)
    about = {key: value for key, value in LAYERS.items() if key != "intermediate_size"}
    made = transformers.Dinov2Config(**about, mlp_ratio=2, image_size=SIDE, patch_size=8)
    transformers.Dinov2Model(made).eval().save_pretrained(folder)
    transformers.BitImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(folder)
    return folder


def clap(folder: Path) -> Path:
    """A ClapModel that hears one second at 8 kHz."""
    torch.manual_seed(0)
    text = {
        **LAYERS,
        "vocab_size": _vocabulary(),
        "max_position_embeddings": 26,
        "pad_token_id": 1,
        "projection_dim": 12,
    }
    audio = {"depths": [1, 1], "num_attention_heads": [2, 2], "patch_embeds_hidden_size": 8, "hidden_size": 16,
             "num_mel_bins": 16, "spec_size": 64, "window_size": 4, "patch_size": 4, "projection_dim": 12,
             "num_hidden_layers": 2, "mlp_ratio": 2.0}  # fmt: skip
    made = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=12, hidden_size=12)
    transformers.ClapModel(made).eval().save_pretrained(folder)
    tokenizer(folder, longest=24)
    transformers.ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, hop_length=80, max_length_s=1, fft_window_size=256, frequency_min=50,
        frequency_max=4000, truncation="rand_trunc", padding="repeatpad",
    ).save_pretrained(folder)  # fmt: skip
    return folder


def bert(folder: Path) -> Path:
    """A BertModel."""
    torch.manual_seed(0)
    made = transformers.BertConfig(**LAYERS, vocab_size=_vocabulary(), max_position_embeddings=32)
    transformers.BertModel(made).eval().save_pretrained(folder)
    tokenizer(folder, longest=32)
    return folder


def roberta(folder: Path) -> Path:
    """A RobertaModel that reads 20 tokens, as it counts positions from that of the padding."""
    torch.manual_seed(0)
    made = transformers.RobertaConfig(**LAYERS, vocab_size=_vocabulary(), max_position_embeddings=22, pad_token_id=0,
                                      bos_token_id=2, eos_token_id=3, type_vocab_size=1)  # fmt: skip
    transformers.RobertaModel(made).eval().save_pretrained(folder)
    tokenizer(folder, longest=20)
    return folder


def ast(folder: Path) -> Path:
    """An ASTModel that hears 1.015 s at 16 kHz."""
    torch.manual_seed(0)
    made = transformers.ASTConfig(**LAYERS, patch_size=16, max_length=100, num_mel_bins=32)
    transformers.ASTModel(made).eval().save_pretrained(folder)
    transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=100).save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    """A ViTModel, a picture model without a part of its own."""
    torch.manual_seed(0)
    made = transformers.ViTConfig(**LAYERS, image_size=SIDE, patch_size=8)
    transformers.ViTModel(made).eval().save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


def sentence_transformer(folder: Path) -> Path:
    """A SentenceTransformer: a BertModel, mean pooling, a dense layer, unit length; with two prompts."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    base = bert(folder.parent / f"{folder.name}-base")
    word = modules.Transformer(str(base), max_seq_length=30)
    torch.manual_seed(1)
    made = SentenceTransformer(
        modules=[word, modules.Pooling(16, "mean"), modules.Dense(16, 10), modules.Normalize()],
        prompts={"query": "old man ", "document": ""}, device="cpu",
    )  # fmt: skip
    made.save(str(folder), create_model_card=False)
    return folder


def sentence_clip(folder: Path) -> Path:
    """A SentenceTransformer of texts and pictures."""
    from sentence_transformers import SentenceTransformer

    made = SentenceTransformer(str(clip(folder.parent / f"{folder.name}-base")), device="cpu")
    made.save(str(folder), create_model_card=False)
    return folder


MAKERS = {
    f.__name__: f
    for f in (clip, siglip, siglip2, dinov2, clap, bert, roberta, ast, vit, sentence_transformer, sentence_clip)
}
