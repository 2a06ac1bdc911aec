"""PaSST: sound as the scene embedding of a transformer trained on AudioSet (Koutini et al. 2022), at 32 kHz."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sensorium import io
from sensorium.encoders import _batches, _release, _sounds, _trainable
from sensorium.encoders._pretrained import Pretrained
from sensorium.encoders._trainable import Trainable
from sensorium.errors import BadData, BadRecipe, Corrupt, nearest, require
from sensorium.modalities.audio import files

if TYPE_CHECKING:
    from sensorium.encoders._passt_network import Passt as Network
    from sensorium.encoders._passt_network import Shape

LICENCE = "Apache 2.0"  # of the package with the weights; they were trained on AudioSet
USUAL_MODEL = "passt_s_swa_p16_128_ap476"
USUAL_WIDTH = 768
WEIGHTS = "the releases of github.com/kkoutini/PaSST or torch's folder of them, or a local one: model=FILE or FOLDER"
RATE = 32_000  # Hz
RELEASES = "https://github.com/kkoutini/PaSST/releases/download"
#: By the name that hear21passt gives an architecture: its file in the releases, and samples from frame to frame.
ARCHITECTURES: Mapping[str, tuple[str, int]] = {
    "passt_s_swa_p16_128_ap476": ("v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt", 320),
    "passt_s_kd_p16_128_ap486": ("v.0.0.9/passt-s-kd-ap.486.pt", 320),
    "passt_l_kd_p16_128_ap47": ("v.0.0.10/passt-l-kd-ap.47.pt", 320),
    "passt_s_p16_s16_128_ap468": ("v0.0.2-audioset/passt-s-f128-p16-s16-ap.468.pt", 320),
    "passt_b_f128_p16_s16_ap_459": ("v.0.0.7-audioset/passt-b-f128-p16-s16-ap.459.pt", 320),
    "passt_u600_f128_p16_s16_ap_460": ("v.0.0.7-audioset/passt-u600-f128-p16-s16-ap.460.pt", 320),
    "passt_20sec": ("v0.0.5/passt-s-f128-20sec-p16-s10-ap.474-swa.pt", 320),
    "passt_30sec": ("v0.0.5/passt-s-f128-30sec-p16-s10-ap.473-swa.pt", 320),
    "stfthop100": ("v0.0.3-audioset/passt-s-f128-stfthop100-p16-s10-ap.473-swa.pt", 100),
    "stfthop160": ("v0.0.3-audioset/passt-s-f128-stfthop160-p16-s10-ap.473-swa.pt", 160),
    "openmic": ("v0.0.5/openmic-passt-s-f128-10sec-p16-s10-ap.85.pt", 320),
    "fsd50k": ("v0.0.5/fsd50k-passt-s-f128-p16-s10-ap.655.pt", 320),
    "fsd50k-n": ("v0.0.5/fsd50k-passt-s-n-f128-p16-s16-ap.642.pt", 320),
}
MODES = ("embed_only", "logits", "all")
_FILES = ("*.safetensors", "*.pt", "*.pth", "*.bin")
_SETTINGS = "config.json"
_REMEDY = "type: left.encoder.model=FILE, the release's file or a copy of it"


class Passt(Pretrained, Trainable):
    """A sound as what hear21passt's ``get_scene_embeddings`` gives of it alone, by default in the mode embed_only.

    arch: the pretrained model, by the name that hear21passt gives its architecture.
    model: a file of weights (.pt or .safetensors), or a folder with one and maybe a config.json; "" is that of arch.
    mode: "embed_only" for the features, 768 wide, "logits" for the 527 classes of AudioSet, "all" for logits, features.
    hop: seconds between the windows of a long sound, 0.1 to 60.
    normalize: vectors of unit length, as in caches of PaSST and RoBERTa vectors of Clotho.
    precision: of the products: "fp32", "bf16", or "auto": bf16 in hardware that leaves cosines to fp32 above 0.9999.

    A sound longer than the model hears (10 s, or 20 or 30 by arch) is reflected at both ends by half of that, cut into
    windows of that length every ``hop`` seconds, and gets the mean of their vectors, as in the package. A shorter one
    goes through as long as it is, and is filled with zeros up to one patch, 0.15 s, where the package fails.

    The network is one of ours with the package's weights and numbers, so hear21passt itself is not needed.
    A config.json says of a model of other sizes what its weights do not: "num_heads" (width / 64 without it), "stride"
    of the patches and "hopsize" in samples. Of a checkpoint tensors alone are read; objects in it are not run.
    """

    part, extra, usual, takes = "passt", "audio", USUAL_MODEL, "audio"
    sample_rate = RATE

    def __init__(self, arch: str = USUAL_MODEL, model: str = "", mode: str = "embed_only", hop: float = 2.5,
                 normalize: bool = False, precision: str = "auto") -> None:  # fmt: skip
        super().__init__(model, "", precision)
        if arch not in ARCHITECTURES:
            raise BadRecipe(f"passt: arch={arch!r}; {nearest(str(arch), ARCHITECTURES)}")
        if mode not in MODES:
            raise BadRecipe(f"passt: mode={mode!r}; expected {', '.join(MODES)}")
        if not 0.1 <= hop <= 60:
            raise BadRecipe(f"passt: hop={hop!r}; expected 0.1 to 60 seconds")
        self.arch, self.given, self.mode = arch, str(model), mode
        self.hop, self.normalize = float(hop), bool(normalize)

    @property
    def taken_from(self) -> str:
        """What a vector is."""
        what = {"embed_only": "mean of the last layer's class and distillation tokens", "logits": "class logits",
                "all": "class logits, then the mean of the last layer's class and distillation tokens"}  # fmt: skip
        return f"{what[self.mode]} (mode {self.mode}); mean over windows every {self.hop:g} s of a long sound"

    @cached_property
    def file(self) -> Path:
        """The weights. Raises BadData where they are neither local nor come from the releases, Corrupt."""
        if self.kept:
            return next(path for path in sorted(Path(self.kept).iterdir()) if path.name != _SETTINGS)
        if not self.given:
            return _release.file(self.part, f"{RELEASES}/{ARCHITECTURES[self.arch][0]}", _REMEDY)
        place = Path(self.given).expanduser()
        if place.is_file():
            return place
        found = [path for pattern in _FILES for path in sorted(place.glob(pattern))] if place.is_dir() else []
        if not found:
            raise BadData(f"passt.model={self.given}: no file of weights and no folder with one ({', '.join(_FILES)})")
        return found[0]

    def model_files(self) -> dict[str, Path]:
        """The file of weights, and the config.json beside it where that is read."""
        settings = self.file.parent / _SETTINGS
        return {path.name: path for path in (self.file, *([settings] if self.config else []))}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config.json of a folder; {} without one. Raises Corrupt where it is damaged."""
        path = self.file.parent / _SETTINGS
        here = self.kept or (self.given and Path(self.given).expanduser().is_dir())
        here = here and path.is_file()
        return io.read_object(path, "restore the model's folder") if here else {}

    @cached_property
    def checksums(self) -> str:
        """Checksum of the file of weights."""
        return io.checksum(self.file)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What made the vectors."""
        how = {"mode": self.mode, "hop": self.hop, "unit_length": self.normalize, "precision": self.computes}
        return {"name": self.part, "weights": self.checksums, "settings": self._settings, **how, **self.tuned_by}

    @property
    def _settings(self) -> dict[str, Any]:
        """What beyond the weights decides the vectors."""
        return {"hopsize": self._hopsize, **{key: self.config[key] for key in ("num_heads", "stride")
                                             if key in self.config}}  # fmt: skip

    @property
    def _hopsize(self) -> int:
        """Samples from frame to frame of the spectrum. Raises Corrupt where config.json says no such number."""
        found = self.config.get("hopsize", ARCHITECTURES[self.arch][1])
        if not isinstance(found, int) or not 1 <= found <= RATE:
            raise Corrupt(f"{self.file.parent / _SETTINGS}: hopsize={found!r}; expected 1 to {RATE} samples")
        return found

    @cached_property
    def _sizes_of(self) -> tuple[int, int]:
        """Width of the features and number of classes."""
        network = self.network if self._network is None else self._network
        return network.norm.weight.shape[0], network.head[1].out_features

    @property
    def dim(self) -> int:
        """Width of a vector. The model is loaded for it."""
        width, classes = self._sizes_of
        return {"embed_only": width, "logits": classes, "all": classes + width}[self.mode]

    def settle(self) -> dict[str, Any]:
        """The place of a local model, as the run may be opened from another folder, and the precision."""
        place = {"model": str(Path(self.given).expanduser().resolve())} if self.given else {}
        return {**place, **super().settle()}

    def load(self) -> Network:
        """The network, on the processor. Raises Corrupt where the file holds no weights of PaSST."""
        require("torch", "train")
        from sensorium.encoders import _passt_network as networks

        state = _tensors(self.file)
        try:
            return networks.of(state, self._shape(networks, state), self._hopsize)
        except (KeyError, ValueError, RuntimeError, IndexError, TypeError) as error:
            raise Corrupt(f"{self.file} holds no weights of PaSST ({_said(error)}); restore or download it "
                          "again") from None  # fmt: skip

    def _shape(self, networks: Any, state: Mapping[str, Any]) -> Shape | None:
        """Sizes that config.json says; None where it says none. Raises Corrupt where they are no sizes."""
        said = {key: self.config[key] for key in ("num_heads", "stride") if key in self.config}
        if not said:
            return None
        usual = networks.usual_shape(networks.bare(state), self._hopsize)
        heads, stride = said.get("num_heads", usual.heads), said.get("stride", usual.stride)
        sizes = [heads, *(stride if isinstance(stride, (list, tuple)) else (stride, stride))]
        if len(sizes) != 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise Corrupt(f"{self.file.parent / _SETTINGS}: {said}; expected num_heads of 1 or more, and a stride such "
                          "as [10, 10]")  # fmt: skip
        return networks.Shape(sizes[0], (sizes[1], sizes[2]), self._hopsize)

    def batches(self, values: Sequence[Any]) -> Iterator[tuple[Sequence[int], np.ndarray]]:
        """Rows of each batch and their vectors: windows of one length go through together, with no padding."""

        def read(rows: Sequence[int]) -> list[np.ndarray]:
            return _batches.side_by_side(self._windows, [values[i] for i in rows])

        def forward(heard: list[np.ndarray]) -> np.ndarray:
            windows = [window for one in heard for window in one]
            lengths, found = (
                np.array([len(window) for window in windows]),
                np.empty((len(windows), self.dim), np.float32),
            )
            for length in np.unique(lengths):
                rows = np.flatnonzero(lengths == length)
                for some in np.split(rows, range(size.now, len(rows), size.now)):
                    found[some] = self._hear(np.stack([windows[i] for i in some]))
            return _sounds.mean_of_parts(found, [len(one) for one in heard], self.normalize)

        size = self.size(self._footprint)
        return _batches.compute(_batches.fixed(len(values), size), read, forward, size, self.where)

    @property
    def _footprint(self) -> int:
        """Bytes of activations of one window: the MLP's are the largest of a layer."""
        network = self.network
        tokens = network.freq_new_pos_embed.numel() * network.time_new_pos_embed.shape[3]
        return tokens * 4 * 16

    def _windows(self, value: Any) -> np.ndarray:
        """Windows (w, n) of one sound."""
        samples, network = files.read(value, RATE), self.network
        if len(samples) <= network.window:
            return np.pad(samples, (0, max(0, network.least - len(samples))))[None]
        around = np.pad(samples, network.window // 2, mode="reflect")
        every = round(self.hop * RATE)
        return np.lib.stride_tricks.sliding_window_view(around, network.window)[::every]

    def _hear(self, samples: np.ndarray) -> np.ndarray:
        """Vectors (b, d) of windows of one length."""
        import torch

        return self.run(lambda x: self._of_windows(self.network, x), x=torch.from_numpy(np.ascontiguousarray(samples)))

    def prepare(self, value: Any) -> np.ndarray:
        """Windows (w, n) of one sound. Raises BadData."""
        return np.array(self._windows(value), np.float32)

    def collate(self, network: Network, prepared: Sequence[Any]) -> Any:
        """Windows (w, n) of each of some sounds."""
        import torch

        return [torch.from_numpy(one) for one in prepared]

    def features(self, network: Network, x: Any) -> Any:
        """Windows of sounds to vectors (b, dim), with gradients; those of one length go through together."""
        import torch

        windows = [window for one in x for window in one]
        lengths, found = np.array([len(window) for window in windows]), {}
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length).tolist()
            made = self._of_windows(network, torch.stack([windows[i] for i in rows])).float()
            found |= dict(zip(rows, made.unbind(), strict=True))
        every = torch.stack([found[i] for i in range(len(windows))])
        return _trainable.mean_of_parts(every, [len(one) for one in x], self.normalize)

    def _of_windows(self, network: Network, x: Any) -> Any:
        import torch

        logits, found = network(x)
        return {"embed_only": found, "logits": logits}.get(self.mode, torch.cat([logits.float(), found.float()], 1))

    def examples(self) -> list[Any]:
        """Fixed sounds."""
        return _sounds.examples(RATE)


def _tensors(path: Path) -> Mapping[str, Any]:
    """The tensors of a checkpoint by name. Raises Corrupt where there are none; objects are not run."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (SafetensorError, OSError) as error:
        raise Corrupt(f"{path} holds no weights of PaSST ({_said(error)}); restore or download it again") from None
    except Exception as error:  # of torch, pickle and zip alike
        raise Corrupt(f"{path} holds no plain weights of PaSST ({_said(error)}); objects in it are not run; restore or "
                      "download it again") from None  # fmt: skip
    for key in ("state_dict", "model"):
        state = state.get(key, state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not any(isinstance(one, torch.Tensor) for one in state.values()):
        raise Corrupt(f"{path} holds no weights of PaSST (no tensors by name); restore or download it again")
    return state


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
