"""Every part keeps its contract, ours and those of other packages; broken parts are caught rule by rule."""

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from sensorium import contracts, heads, parts, testing
from sensorium.contracts import ClosedFormObjective, Encoder, FrameEncoder, Head, SequenceHead, TrainedObjective
from sensorium.errors import BadRecipe, MissingExtra
from sensorium.heads.identity import Identity
from sensorium.heads.linear import Linear
from sensorium.indexes.exact import Exact
from sensorium.modalities.audio import files
from sensorium.objectives.infonce import InfoNCE
from sensorium.objectives.ridge import Ridge
from sensorium.testing.__main__ import main
from sensorium.types import Affine, Hits, Solution

SPEECH = ("wav2vec2", "hubert", "wavlm", "whisper")
PRETRAINED = {"clip": "clip", "siglip": "siglip", "dinov2": "dinov2", "clap": "clap", "transformers": "bert",
              "sentence_transformers": "sentence_transformer", "roberta": "roberta", "ast": "ast",
              "clip_text": "clip"}  # fmt: skip
#: Encoders whose packages come in environments of their own: python tests/packaging/encoders.py checks these contracts.
APART = ("birdnet", "resemblyzer", "egemaps", "emotion2vec", "timm", "open_clip")
#: Arguments of parts that need some, and more settings worth their own turn.
SETTINGS = {
    ("heads", "adapted"): [{}, {"head": {"name": "mlp", "hidden": 8}, "width": 5, "hidden": 4, "unit_length": True}],
    ("heads", "cnn"): [
        {"size": 8, "stages": 2, "width": 3, "hidden": 5},
        {
            "size": 6,
            "stages": 1,
            "width": 3,
            "tail": True,
            "hidden": 0,
            "mode": "bicubic",
            "channels": "replicate",
            "minmax": "channel",
            "clamp": True,
            "preprocess": "standardize",
        },
    ],
    ("heads", "face"): [
        {"points": 2, "emotions": 6, "eyes": [[0], [1]]},
        {"points": 4, "emotions": 4, "eyes": [[0], [1, 2]], "components": 0, "depth": 2, "logarithm": False},
        {"points": 3, "emotions": 3, "eyes": [[0], [1]], "depth": 0, "normalize": False, "components": 4},
    ],
    ("heads", "residual"): [{}, {"depth": 1, "expansion": 1, "normalize": False}],
    ("heads", "star"): [{"hidden": 16}, {"hidden": 8, "depth": 1, "activation": "none", "preprocess": "whiten"}],
    ("heads", "layers"): [{"layers": 3}, {"layers": 3, "hidden": 0, "preprocess": "unit"}],
    ("heads", "linear"): [{}, {"preprocess": "whiten", "normalize": False}, {"preprocess": "unit"}],
    ("heads", "mlp"): [{}, {"residual": True, "layer_norm": True, "activation": "tanh", "depth": 2}, {"dropout": 0.5}],
    ("heads", "random_features"): [
        {"features": 32},
        {"features": 16, "dim": 4, "width": 3.0, "preprocess": "whiten", "normalize": False},
    ],
    ("heads", "posterior"): [{}, {"points": 5, "dim": 3}],
    ("heads", "pca"): [{}, {"rank": 4, "whiten": True}],
    ("heads", "mixture"): [
        {},
        {"members": ["linear", {"name": "mlp", "hidden": 8}], "weights": [3.0, 1.0], "widths": [3, 4]},
    ],
    ("heads", "statistics"): [{}, {"relations": 3, "normalize": True, "noise": 0.1}],
    ("heads", "lstm"): [{"hidden": 8}, {"hidden": 8, "spec_augment": 0.5, "normalize": True}],
    ("heads", "type_aware"): [{"categories": ["a", "b"]}],
    ("heads", "set_mean"): [{}, {"categories": ["a", "b"], "hidden": 8}],
    ("heads", "set_attention"): [{"categories": ["a", "b", "c"], "dim": 8}, {"dim": 4, "heads": 2, "layers": 2}],
    ("encoders", "table_vad"): [{"file": "ratings.csv"}],
    ("encoders", "onehot"): [{"classes": ["arrow", "star", "wave"]}],
    ("encoders", "hashing"): [{}, {"takes": "image"}],
    ("encoders", "concatenated"): [{"encoders": ["hashing", {"name": "hashing", "dim": 64}]}],
    ("encoders", "functionals"): [{}, {"relations": False, "levels": 0, "level": 0}],
    ("encoders", "face"): [{}, {"landmarks": "numbers", "emotions": "given"}, {"emotions": "given", "faces": "all"}],
    ("encoders", "mfcc"): [{}, {"cmvn": "running", "silence": "drop", "deltas": 2, "pitch": True, "energy": True}],
    ("objectives", "infonce"): [{}, {"learnable": True, "both": False}, {"partners": "mask"}],
    ("objectives", "triplet"): [
        {},
        {"negatives": "hard"},
        {"negatives": "random", "both": False},
        {"form": "softplus", "negatives": "random", "neg_pool_ratio": 0.5},
    ],
    ("objectives", "cross_entropy"): [{}, {"temperature": 0.1, "weights": "balanced", "label_smoothing": 0.1}],
    ("objectives", "procrustes"): [{}, {"scaling": True}, {"center": False, "scaling": True}],
    ("objectives", "ridge"): [{}, {"strengths": 0.1, "center": False}],
    ("datasets", "glyphs"): [{"fonts": ["STIXSizOneSymReg"], "test": 20, "validation": 10}],
    ("indexes", "faiss"): [{}, {"factory": "Flat"}, {"factory": "IVF2,Flat"}],
    ("indexes", "faiss_disk"): [{}, {"cells": 8, "code": 6, "nprobe": 8}],
    ("indexes", "milvus"): [{}, {"kind": "FLAT", "rescore": 1}],
}


def every_part():
    return [
        pytest.param(kind, name, arguments, id=f"{kind}-{name}-{i}")
        for kind in parts.KINDS
        for name in parts.names(kind)
        for i, arguments in enumerate(SETTINGS.get((kind, name), [{}]))
    ]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Folders with tiny random models, by the name of their kind."""
    pytest.importorskip("transformers", reason="the extra 'speech' is not installed")
    from tiny_models import save

    folder = tmp_path_factory.mktemp("models")
    return {name: save(name, folder / name) for name in SPEECH}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Folders with tiny random models, by the part that encodes with them."""
    pytest.importorskip("transformers", reason="the extra 'transformers' is not installed")
    from tiny_towers import MAKERS

    folder = tmp_path_factory.mktemp("pretrained")
    return {part: MAKERS[name](folder / name) for part, name in PRETRAINED.items()}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """What distill asks of an earlier run: the heads of both sides."""
    folder = tmp_path_factory.mktemp("teacher")
    for side in ("left", "right"):
        torch.manual_seed(0)
        head = Linear(dim=4)
        head.build(8)
        heads.save(head, folder / side, "linear", {"name": "sample"})
    return folder


@pytest.mark.parametrize(("kind", "name", "arguments"), every_part())
def test_every_part_keeps_its_contract(kind, name, arguments, request):
    if name in SPEECH:
        arguments = {"model": str(request.getfixturevalue("speech")[name])}
    if name == "wav2vec2_vad":
        request.getfixturevalue("speech")  # skips without transformers
        from tiny_models import save_dimensional

        arguments = {"model": str(folder := request.getfixturevalue("tmp_path") / "dimensional")}
        save_dimensional(folder)
    if kind == "encoders" and name in PRETRAINED:
        arguments = {"model": str(request.getfixturevalue("pretrained")[name]), "precision": "fp32"}
    if name == "passt":
        import tiny_passt

        model = tiny_passt.save(request.getfixturevalue("tmp_path") / "tiny.pt")
        arguments = {"model": str(model), "precision": "fp32"}
    if name == "distill":
        arguments = {"teacher": str(request.getfixturevalue("teacher"))}
    if name in ("openai", "llm_vad"):
        pytest.skip(f"it asks a service; tests/encoders/test_{name}.py starts one")
    if name == "table_vad":
        pytest.skip("it reads a table of named clips; tests/encoders/test_table_vad.py makes some")
    if name in APART:
        pytest.skip("it needs an environment of its own; type: python tests/packaging/encoders.py")
    if kind == "datasets" and name != "glyphs":
        pytest.skip("it reads files of its own; tests/datasets makes some")
    try:
        testing.check(name, kind, arguments)
    except MissingExtra as error:
        pytest.skip(str(error))


def test_the_examples_of_the_contracts_keep_them(tmp_path):
    """Each docstring's whole part is copied as it stands, found from its file and checked."""
    seen = []
    for name, contract in vars(contracts).items():
        ours = isinstance(contract, type) and contract.__module__.startswith(contracts.__name__)
        example = re.search(r"Example::\n\n(.*)\Z", contract.__doc__, re.S) if ours else None
        if example:
            text = textwrap.dedent(example[1]).strip()
            path = tmp_path / f"{name.lower()}.py"
            path.write_text(text + "\n")
            part = re.search(r"^class (\w+)", text, re.M)[1]
            testing.check(f"{path}:{part}")
            seen.append(name)
    assert seen == ["Dataset", "Encoder", "FrameEncoder", "TrainableEncoder", "Head", "SequenceHead", "SetHead", "ClosedFormObjective",
                    "MixtureObjective", "TrainedObjective"]  # fmt: skip


# --- wrong parts, one for each rule -----------------------------------------------------------------


class Letters(Encoder):
    """A correct encoder, from which the broken ones differ by one thing."""

    takes, dim = "text", 3
    fingerprint = {"name": "letters"}  # noqa: RUF012

    def encode(self, values):
        return np.array([[len(v), v.count("a"), v.count("e")] for v in values], np.float32).reshape(-1, self.dim)


class WrongDim(Letters):
    dim = 4

    def encode(self, values):
        return np.zeros((len(values), 3), np.float32)


class Double(Letters):
    def encode(self, values):
        return super().encode(values).astype(np.float64)


class NotANumber(Letters):
    def encode(self, values):
        return super().encode(values) * np.float32("nan")


class NoneGivesOne(Letters):
    def encode(self, values):
        return super().encode(values or [""])


class Padded(Letters):
    """As a transformer whose padding is not masked."""

    def encode(self, values):
        return super().encode(values) + max(map(len, values), default=0)


class Random(Letters):
    def encode(self, values):
        return super().encode(values) + np.random.default_rng().random((len(values), 3), np.float32)


class Nameless(Letters):
    fingerprint = {"dim": 3}  # noqa: RUF012


class Counting(Letters):
    """Its fingerprint changes as it is used."""

    calls = 0

    @property
    def fingerprint(self):
        return {"name": "counting", "calls": self.calls}

    def encode(self, values):
        self.calls += 1
        return super().encode(values)


class Level(FrameEncoder):
    takes, dim, rate, hop, size, span = "audio", 1, 16000, 160, 400, 400
    fingerprint = {"name": "level"}  # noqa: RUF012

    def start(self, b=1):
        return (np.zeros(b, np.int64),)

    def step(self, samples, state):
        x = np.lib.stride_tricks.sliding_window_view(samples, self.span, 1)[:, :: self.hop]
        x = np.abs(x).mean(2, keepdims=True, dtype=np.float32)
        counted = np.ones(x.shape[:2], bool)
        return x, counted, counted, (state[0] + x.shape[1],)

    def encode(self, values):
        read = [files.read(value, self.rate) for value in values]
        read = [np.pad(x, (0, max(0, self.size - len(x)))) for x in read]
        return [self.step(x[None], self.start())[0][0] for x in read]


class Centred(Level):
    """Offline it subtracts the mean of the whole recording, which a stream does not know."""

    def encode(self, values):
        return [x - x.mean(0) for x in super().encode(values)]


class Plain(torch.nn.Module, Head):
    """A correct head."""

    def __init__(self, scale: float = 2.0):
        super().__init__()
        self.arguments = {"scale": scale}

    def build(self, dim_in, stats=None, like=None):
        self.dim_in, self.dim = dim_in, 4
        self.map = torch.nn.Linear(dim_in, 4)

    def forward(self, x):
        return self.map(x) * self.arguments["scale"]


class Forgetful(Plain):
    """An argument of it is not in ``arguments``, so a saved head would be made without."""

    def __init__(self, scale: float = 2.0, shift: float = 0.5):
        super().__init__(scale)
        self.shift = shift


class Unbuilt(Plain):
    def build(self, dim_in, stats=None, like=None):
        super().build(dim_in)
        self.dim_in = None


class Wide(Plain):
    def forward(self, x):
        return torch.cat([super().forward(x)] * 2, 1)


class BatchMean(Plain):
    def forward(self, x):
        return super().forward(x - x.mean(0))


class NotUnit(Plain):
    normalize = True


class Lossy(Plain):
    """A tensor that the saved weights lack."""

    def build(self, dim_in, stats=None, like=None):
        super().build(dim_in)
        self.secret = torch.rand(4)

    def forward(self, x):
        return super().forward(x) * self.secret


class Untrainable(Plain):
    def forward(self, x):
        return super().forward(x).detach() + 0 * super().forward(x).sum()


class NotLinear(Plain):
    def affine(self):
        return Affine(np.zeros((self.dim_in, 4)), np.zeros(4))


class Mislaid(Linear):
    def affine_layers(self):
        return super().affine_layers()._replace(normalize=False)


class StartsElsewhere(Linear):
    def initialise(self, affine):
        super().initialise(Affine(affine.weight, affine.bias + 1))


class Last(torch.nn.Module, SequenceHead):
    """A correct head of sequences: the mean of all frames so far."""

    def __init__(self):
        super().__init__()
        self.arguments = {}

    def build(self, dim_in, stats=None, like=None):
        self.dim_in, self.dim = dim_in, 4
        self.fc = torch.nn.Linear(dim_in, 4)

    def mean(self, x, lengths):
        real = torch.arange(x.shape[1]) < lengths[:, None]
        return (x * real[..., None]).sum(1) / lengths[:, None]

    def forward(self, x, lengths):
        return self.fc(self.mean(x, lengths))

    def start(self, b=1):
        return torch.zeros(b, 1), torch.zeros(b, self.dim_in)

    def step(self, x, state=None):
        n, total = self.start(len(x)) if state is None else state
        count = n[:, None] + torch.arange(1, x.shape[1] + 1)[:, None]
        sums = total[:, None] + x.cumsum(1)
        if not x.shape[1]:
            return x.new_zeros(len(x), 0, self.dim), (n, total)
        return self.fc(sums / count), (count[:, -1], sums[:, -1])


class HearsPadding(Last):
    def mean(self, x, lengths):
        return x.mean(1)


class StepsOtherwise(Last):
    """Its stream weighs all frames alike within a call and forgets the calls before."""

    def step(self, x, state=None):
        return super().step(x, None)


class AdvancesOtherwise(Last):
    def advance(self, x, lengths, state):
        z, state = super().advance(x, lengths, state)
        return z + 1, state


class FrozenOtherwise(Last):
    def frozen(self, x, lengths):
        return x.mean(1)

    def forward(self, x, lengths=None):
        return self.fc(x if lengths is None else self.mean(x, lengths))


class NanLoss(torch.nn.Module, TrainedObjective):
    def loss(self, zl, zr, positives):
        return (zl - zr).square().sum() * torch.tensor(float("nan"))


class NanGradient(torch.nn.Module, TrainedObjective):
    """The slope of a distance at distance zero."""

    def loss(self, zl, zr, positives):
        return (zl - zr).square().sum(1).sqrt().mean()


class WrongSlope(torch.nn.Module, TrainedObjective):
    def loss(self, zl, zr, positives):
        return 2 * (zl - zr).square().mean().detach() + (zl - zr).square().mean()


class Repels(torch.nn.Module, TrainedObjective):
    def loss(self, zl, zr, positives):
        return (zl * zr).sum(1).mean()


class OwnGradients(InfoNCE):
    def gradients(self, *args, **more):
        found = super().gradients(*args, **more)
        return found if torch.is_grad_enabled() or found.zl is None else found._replace(zl=1.1 * found.zl)

    def loss(self, zl, zr, positives):
        s = zl @ zr.T / 0.07
        return -(s.log_softmax(1).diagonal().mean() + s.log_softmax(0).diagonal().mean()) / 2


class Unnormalised(torch.nn.Module, TrainedObjective):
    gives_probabilities = True

    def loss(self, zl, zr, positives):
        return (zl - zr).square().mean()

    def probabilities(self, scores):
        return 1 / (1 + np.exp(-scores))


class NeedsMore(Ridge):
    needs = ("xy",)


class Unsolved(ClosedFormObjective):
    def solve(self, moments, validate=None):
        d, e = len(moments.mean_x), len(moments.mean_y)
        return Solution(Affine(np.full((d, e), np.nan), np.zeros(e)), None, {})


class Opposite(Ridge):
    def solve(self, moments, validate=None):
        found = super().solve(moments, validate)
        return Solution(Affine(-found.left.weight, -found.left.bias), found.right, {})


class SaysTied(Ridge):
    tied = True


class Worst(Exact):
    """Its hits come worst first."""

    def search(self, queries, k, where=None, exclude=None):
        hits = super().search(queries, k, where, exclude)
        return Hits(hits.rows[:, ::-1], hits.scores[:, ::-1])


class OtherScores(Exact):
    def search(self, queries, k, where=None, exclude=None):
        hits = super().search(queries, k, where, exclude)
        return Hits(hits.rows, hits.scores + np.float32(0.5))


class Unfiltered(Exact):
    def search(self, queries, k, where=None, exclude=None):
        return super().search(queries, k)


class Takes(Exact):
    """It takes everything, NaN included."""

    def add(self, ids, vectors, columns=None):
        fit = np.nan_to_num(np.asarray(vectors, np.float32)[:, :24])
        super().add([f"{name}" for name in ids], fit, columns)


class FarOnes(Exact):
    def search(self, queries, k, where=None, exclude=None):
        hits = super().search(-np.asarray(queries), k, where, exclude)
        return Hits(hits.rows[:, ::-1], -hits.scores[:, ::-1])


class ForgetsRemoved(Exact):
    def remove(self, ids):
        return len(ids)


class LoadsNothing(Exact):
    @classmethod
    def load(cls, folder):
        return cls()


class Wraps(Exact):
    """Fewer items than asked for are repeated."""

    def search(self, queries, k, where=None, exclude=None):
        hits = super().search(queries, k, where, exclude)
        return Hits(np.where(hits.rows < 0, 0, hits.rows), hits.scores)


BROKEN = [
    (WrongDim, "n finite float32 vectors", "shape"),
    (Double, "n finite float32 vectors", "type float64"),
    (NotANumber, "n finite float32 vectors", "NaN or infinity"),
    (NoneGivesOne, "Encoding no items", "1 vectors of no items"),
    (Padded, "does not depend on the other items", "encoded alone"),
    (Random, "gives the same numbers", "the second time"),
    (Nameless, "a fingerprint that JSON can hold", "no 'name'"),
    (Counting, "which encoding does not change", "and then"),
    (Centred, "Frames of a stream equal", "streamed"),
    (Forgetful, "arguments make an equal head", "shift"),
    (Unbuilt, "building sets the widths", "dim_in is None"),
    (Wide, "float32 vectors of its own width", "shape"),
    (BatchMean, "does not depend on the other rows", "alone"),
    (NotUnit, "unit length where it says so", "lengths from"),
    (Lossy, "given the saved weights", "after loading"),
    (Untrainable, "gradients are finite and not all zero", "all gradients are zero"),
    (NotLinear, "affine map, where it gives one", "by affine"),
    (Mislaid, "layers for the fused step", "by affine_layers"),
    (StartsElsewhere, "starts exactly at a linear map", "after initialise"),
    (HearsPadding, "behind the valid frames", "padding|other numbers"),
    (StepsOtherwise, "Streamed outputs equal", "in pieces"),
    (AdvancesOtherwise, "advance together", "by advance"),
    (FrozenOtherwise, "before any weight", "by frozen"),
    (NanLoss, "one finite number", "nan"),
    (NanGradient, "gradients are finite", "for perfect pairs a gradient is NaN"),
    (WrongSlope, "slope of its loss", "slope"),
    (Repels, "True pairs have a lower loss", "of wrong ones"),
    (OwnGradients, "equal those of autograd", "differs by"),
    (Unnormalised, "add up to 1", "rows add up"),
    (NeedsMore, "no more than the covariances it names", "KeyError"),
    (Unsolved, "finite maps", "NaN"),
    (Opposite, "true pairs are nearer", "mean cosine"),
    (SaysTied, "One map serves both sides", "maps one table into another"),
    (Worst, "best first", "best first"),
    (OtherScores, "inner products as scores", "Not equal to tolerance"),
    (FarOnes, "At least 90% of the exact", "% are"),
    (Unfiltered, "Conditions on columns", "hits of kind"),
    (Wraps, "Where fewer than k items", "rows"),
    (ForgetsRemoved, "Removed items", "removed"),
    (Takes, "are refused by BadData", "was taken"),
    (LoadsNothing, "saved and loaded", "0 items after loading"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "rule", "found"), BROKEN, ids=lambda value: getattr(value, "__name__", None) or "")
def test_a_broken_part_breaks_its_rule(part, rule, found):
    broken = [one for one in testing.findings(part) if one.state == "fail"]
    of_rule = [one for one in broken if rule in one.rule]
    assert of_rule, f"only these are broken: {broken}"
    assert re.search(found, of_rule[0].found), of_rule[0]
    with pytest.raises(AssertionError, match=re.escape(rule)):
        testing.check(part)


@pytest.mark.parametrize("part", [Letters, Level, Plain, Last, Exact, Ridge, InfoNCE, Identity])
def test_what_the_broken_parts_start_from_is_whole(part):
    assert {one.state for one in testing.check(part)} <= {"pass", "skip"}


DATASETS = """
import itertools
import numpy as np
from sensorium.contracts import Dataset
from sensorium.pairs import Pairs
from sensorium.types import Data, Items

calls = itertools.count()

class Good(Dataset):
    rows, group, split = [0, 1, 2], [0, 1, 2], ["train", "train", "test"]
    def load(self):
        ids = np.array(["a", "b", "c"])
        items = Items(ids, ["a", "b", "c"], "text")
        return Data(items, items, Pairs.of(np.array([0, 1, 2]), np.array(self.rows), group=np.array(self.group),
                    split=np.array(self.split)))

class Beyond(Good):
    rows = [0, 1, 3]

class Leaks(Good):
    group = [0, 1, 1]

class Changes(Good):
    def load(self):
        self.rows = np.roll([0, 1, 2], next(calls))
        return super().load()

class Nothing(Good):
    def load(self):
        return None

class Folds(Good):
    def folds(self):
        return None
"""


@pytest.mark.parametrize(
    ("name", "rule"),
    [("Good", None), ("Beyond", "Every pair names rows"), ("Leaks", "No group of pairs"),
     ("Changes", "Loading again"), ("Nothing", "It loads Data"), ("Folds", "a number of folds")],
)  # fmt: skip
def test_data_sets_from_a_file(name, rule, tmp_path):
    path = tmp_path / "my_data.py"
    path.write_text(DATASETS)
    broken = [one.rule for one in testing.findings(f"{path}:{name}") if one.state == "fail"]
    assert not broken if rule is None else any(rule in one for one in broken), broken


# --- the command, and how the kind is found -----------------------------------------------------------


def test_the_command_says_each_rule_and_ends_with_1_where_one_is_broken(tmp_path, capsys):
    text = textwrap.dedent(re.search(r"Example::\n\n(.*)\Z", contracts.Encoder.__doc__, re.S)[1])
    (tmp_path / "vowels.py").write_text(text.strip() + "\n\nclass Bad(Vowels):\n    dim = 7\n")
    done = subprocess.run([sys.executable, "-m", "sensorium.testing", f"{tmp_path}/vowels.py:Vowels"],
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.splitlines()[-1] == "8 rules, none broken"
    assert "pass  A vector does not depend on the other items of its batch, nor on its place in it\n" in done.stdout
    assert main([f"{tmp_path}/vowels.py:Bad", "--kind", "encoders"]) == 1
    out = capsys.readouterr().out
    assert "shape (6, 5), expected (6, 7)" in out and out.splitlines()[-1] == "8 rules, 2 broken"
    assert main(["hashing", "dim=32", "takes=text"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}:Odd"], "Odd fits no contract; type: --kind datasets|encoders|heads|objectives|indexes"),
        (["{}:Odd", "--kind", "heads"], "'Odd' cannot be one of the heads: it defines no build, forward"),
        (["{}:Gone"], "has no class 'Gone'"),
        (["mlp", "hiden=3"], "heads: 'MLP' takes no 'hiden'; did you mean 'hidden'?"),
        (["mlp", "hidden"], "'hidden'; expected key=value, such as hidden=64"),
        (["mlp", "hidden='x'"], "heads.hidden='x'; expected a whole number"),
        (["mlp", "activation=rleu"], "mlp: activation 'rleu'; did you mean 'relu'?"),
        (["no_such_part"], "no part 'no_such_part'; type a part's name, such as mlp, or FILE.py:CLASS"),
    ],
)
def test_the_command_refuses_what_is_no_part(arguments, message, tmp_path, capsys):
    (tmp_path / "odd.py").write_text("class Odd:\n    pass\n")
    assert main([a.format(tmp_path / "odd.py") for a in arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_kind_is_that_of_the_contract_or_of_the_methods():
    assert [testing.kind_of(part) for part in (Letters, Level, Plain, Last, InfoNCE, Ridge, Exact)] == [
        "encoders", "encoders", "heads", "heads", "objectives", "objectives", "indexes"]  # fmt: skip
    loose = {"encoders": ("encode",), "indexes": ("search", "load", "add"), "datasets": ("load",),
             "heads": ("build", "forward"), "objectives": ("loss",)}  # fmt: skip
    for kind, methods in loose.items():
        assert testing.kind_of(type("Loose", (), dict.fromkeys(methods, lambda self: None))) == kind
    with pytest.raises(BadRecipe, match="fits no contract"):
        testing.kind_of(type("Other", (), {}))


def test_a_part_that_cannot_be_made_is_said_to_be_so():
    class Refusing(Letters):
        def __init__(self):
            raise ZeroDivisionError("no")

    (found,) = testing.findings(Refusing)
    assert found.state == "fail" and "ZeroDivisionError: no" in found.found


def test_earlier_names_of_attributes_are_refused_with_the_new_ones(tmp_path):
    (tmp_path / "old.py").write_text(
        "import torch\nclass Old(torch.nn.Module):\n    settled = True\n    def build(self, d, s=None, l=None): ...\n"
        "    def forward(self, x): return x\nclass Past:\n    closed = True\n    def solve(self, m, v=None): ...\n"
    )
    with pytest.raises(BadRecipe, match=r"the attribute settled is now called trainable \(its opposite\)"):
        parts.find("heads", f"{tmp_path}/old.py:Old")
    with pytest.raises(BadRecipe, match="the attribute closed is now called closed_form"):
        parts.find("objectives", f"{tmp_path}/old.py:Past")
