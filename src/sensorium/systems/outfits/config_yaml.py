"""The original's ``config.yaml`` as keys of the recipe ``outfits-document``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.errors import BadData, require

LOSSES = {"triplet": "triplet", "infonce": "infonce"}
#: Key of the file → key of the recipe.
_TRAIN = {"lr_head": "train.lr", "weight_decay": "train.weight_decay", "batch_size": "train.batch",
          "epochs": "train.epochs"}  # fmt: skip
#: Keys that say where files lie or what the original's own server does, and so have no key of ours.
_KNOWN = {"paths": None, "index": {"metric", "type"}, "server": None}


class Config(NamedTuple):
    """keys: of the recipe. root: folder that relative paths start from. head: the checkpoint, where it is there.

    missing: files that it names and that are not there. ignored: keys that have no counterpart here.
    """

    keys: list[str]
    root: Path
    head: Path | None
    missing: list[str]
    ignored: list[str]


def read(path: Path) -> Config:
    """Read a ``config.yaml``; relative paths start from its folder, or from the one above where they are there.

    Raises BadData for a file that is no such mapping, MissingExtra without PyYAML.
    """
    yaml = require("yaml", "image")
    try:
        found = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadData(f"{path} is no YAML ({' '.join(str(error).split())}); correct it") from None
    if not isinstance(found, Mapping) or not isinstance(found.get("paths"), Mapping):
        raise BadData(f"{path} has no 'paths'; expected the fashion project's config.yaml: paths, index, model, train")
    for name in ("model", "train", "index"):
        if not isinstance(found.get(name, {}), Mapping):
            raise BadData(f"{path}: '{name}' is {type(found[name]).__name__}; expected keys and values")
    paths, model, train = found["paths"], found.get("model", {}), found.get("train", {})
    root, missing = path.parent.absolute(), []

    def where(value: Any, name: str) -> Path | None:
        """A path of the file as an absolute one; None where nothing lies there."""
        if value is None:
            return None
        for base in (root, root.parent):
            if (base / Path(str(value)).expanduser()).exists():
                return base / Path(str(value)).expanduser()
        missing.append(f"{name}: {value}")
        return None

    named = {name: where(value, f"paths.{name}") for name, value in paths.items() if name != "faiss_index"}
    pairs = where(train.get("pairs_csv"), "train.pairs_csv") or named.get("pairs_csv")
    keys = [f"data.root={_toml(str(root))}"]
    for key, value in (("metadata", named.get("metadata_csv")), ("images", named.get("images")), ("pairs", pairs),
                       ("outfits", named.get("outfits_csv"))):  # fmt: skip
        if value is not None:
            keys.append(f"data.{key}={_toml(str(value))}")
    vectors, ids = named.get("embeddings_npy"), named.get("ids_json")
    cached = train.get("use_cached_embeddings", True)
    if vectors is not None and ids is not None and cached:
        if ids.parent != vectors.parent or ids.name not in ("ids.json", f"{vectors.stem}.ids.json"):
            raise BadData(f"{path}: paths.ids_json is {ids}; expected ids.json beside {vectors.name}, move it there")
        keys += [f"data.vectors={_toml(str(vectors))}", "left.encoder=none"]
    elif model.get("backbone"):
        name = "/".join(str(part) for part in (model["backbone"], model.get("pretrained")) if part)
        keys += ["left.encoder=open_clip", f"left.encoder.model={_toml(name)}"]
    out = model.get("head_out_dim", 256)
    keys += ["left.head=mlp", "left.head.hidden=512", f"left.head.dim={_toml(out)}", "left.head.depth=1",
             "left.head.activation=relu", "left.head.dropout=0.1", "left.head.preprocess=unit"]  # fmt: skip
    loss = str(train.get("loss", "triplet"))
    if loss not in LOSSES:
        raise BadData(f"{path}: train.loss is '{loss}'; expected triplet or infonce")
    keys.append(f"objective={LOSSES[loss]}")
    keys += ["objective.negatives=random"] if loss == "triplet" else ["objective.temperature=0.07"]
    if loss == "triplet" and "margin" in train:
        keys.append(f"objective.margin={_toml(train['margin'])}")
    keys += [f"{ours}={_toml(train[theirs])}" for theirs, ours in _TRAIN.items() if theirs in train]
    read_keys = {"loss", "margin", "pairs_csv", "use_cached_embeddings", *_TRAIN}
    ignored = [f"train.{key}" for key in train if key not in read_keys]
    ignored += [f"model.{key}" for key in model
                if key not in ("backbone", "pretrained", "embed_dim", "head_out_dim", "head_weights")]  # fmt: skip
    ignored += [str(key) for key in found if key not in ("paths", "model", "train", "index")]
    head = where(model.get("head_weights"), "model.head_weights")
    return Config(keys, root, head, missing, ignored)


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
