"""Every trained objective through an encoder that is trained, in chunks; and batches that do not fit into memory."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_data import train

import sensorium
from sensorium.errors import BadRecipe
from sensorium.fitting.step import no_memory
from sensorium.heads.mlp import MLP
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

tiny_towers = pytest.importorskip("tiny_towers", reason="the extra 'transformers' is not installed")
N, CLASSES = 40, 5
OBJECTIVES = {
    "infonce": (), "siglip": (), "triplet": (), "cosine": (), "mse": (),
    "cross_entropy": ("right.head.dim=12", "left.head.dim=12"), "distill": (),
}  # fmt: skip


def data() -> Data:
    """Vectors of five kinds and the kinds' descriptions; some pairs known not to go together."""
    rng = np.random.default_rng(0)
    kind = np.arange(N) % CLASSES
    left = rng.normal(size=(CLASSES, 6))[kind] + 0.3 * rng.normal(size=(N, 6))
    texts = [" ".join(tiny_towers.WORDS[4 * k : 4 * k + 4]) for k in range(CLASSES)]
    row = np.arange(N)
    pairs = Pairs(np.concatenate([row, row]), np.concatenate([kind, (kind + 1) % CLASSES]),
                  np.repeat(np.array([1, 0], np.int8), N), np.concatenate([row, row]),
                  np.tile(np.where(row < 30, "train", np.where(row < 35, "validation", "test")), 2))  # fmt: skip
    ids = np.array([f"i{k}" for k in range(N)]), np.array([f"k{k}" for k in range(CLASSES)])
    return Data(Items(ids[0], left.astype(np.float32), "vector"), Items(ids[1], texts, "text"), pairs)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tiny_towers.bert(tmp_path_factory.mktemp("models") / "bert")
    head = {"name": "mlp", "hidden": 12, "dim": 6}
    return {"data": {"name": "memory"}, "left": {"head": head}, "objective": {"name": "infonce"},
            "right": {"encoder": {"name": "transformers", "model": str(folder), "precision": "fp32"}, "head": head},
            "train": {"epochs": 2, "batch": 10, "precision": "fp32"}, "evaluate": {"baselines": [], "resamples": 2}}  # fmt: skip


@pytest.mark.parametrize("name", OBJECTIVES)
def test_in_chunks_it_is_the_fit_of_the_whole_batch(name, recipe, tmp_path):
    more = (f"objective={name}", *OBJECTIVES[name])
    if name == "distill":
        sensorium.run(recipe, data=data(), out=tmp_path / "teacher", quiet=True, stages=())
        more = (*more, f"objective.teacher={tmp_path / 'teacher'}")
    live = (*more, "data.cached=false", "finetune.blocks=1", "finetune.lr=1e-3")
    weights = []
    for keys in ((), ("finetune.chunk=2",)):
        made = sensorium.run(
            recipe, (*live, *keys), data=data(), out=tmp_path / f"run{len(keys)}", quiet=True, stages=()
        )
        assert made.metrics["fit"]["encoders"]["right"]["blocks"] == 1
        files = [load_file(made.folder / f"{name}.safetensors") for name in ("left", "right", "right-encoder")]
        weights.append({f"{k}.{name}": one for k, file in enumerate(files) for name, one in file.items()})
    own = dict(made.recipe.part("right.encoder").load().named_parameters())
    assert any(not torch.equal(own[name], one) for name, one in files[2].items())
    for key, one in weights[0].items():
        torch.testing.assert_close(weights[1][key], one, rtol=1e-3, atol=1e-4)


class Large(MLP):
    """A head for which there is never enough memory."""

    def forward(self, x):
        if self.training:
            raise MemoryError
        return super().forward(x)


def test_a_batch_that_does_not_fit_says_what_to_type():
    with pytest.raises(
        BadRecipe, match="a batch of 64 pairs does not fit into the memory of the device cpu; type: train.batch=32"
    ):
        train(heads=(Large(dim=12, hidden=8), MLP(dim=12, hidden=8)), mixup=0.1)  # fmt: skip
    raw = [object()]
    assert no_memory(256, "cuda:0", raw, 0).endswith("cuda:0; type: finetune.chunk=16, with the same gradients (GradCache), 16 items at a time")  # fmt: skip
    assert no_memory(256, "cuda:0", raw, 8).endswith("8 items at a time; type: finetune.chunk=4 or finetune.checkpointing=true")  # fmt: skip
    assert no_memory(256, "cuda:0", raw, 1).endswith("type: finetune.checkpointing=true, or finetune.blocks=1")
