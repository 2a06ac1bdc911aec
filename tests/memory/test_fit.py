"""``sensorium.fit``: values in memory to an ordinary run."""

import gc

import numpy as np
import processes
import pytest
import scipy.sparse
import torch
from PIL import Image

import sensorium
from sensorium import pipeline
from sensorium.errors import BadData, BadRecipe, Corrupt

FAST = {"objective": "ridge", "evaluate": {"resamples": 20, "baselines": [], "leaks": "off", "plots": False}}


def two(n=60, d=8, seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, d)).astype(np.float32)
    return x, (x @ random.standard_normal((d, 6)) + 0.1 * random.standard_normal((n, 6))).astype(np.float32)


def fit(*args, **kwargs):
    return sensorium.fit(*args, **{**FAST, **kwargs})


def numbers(run):
    return {(r["direction"], r["measure"]): r["value"] for r in run.metrics["results"]}


def test_the_defaults_make_a_run_that_finds_the_right_row():
    x, y = two(300)
    run = sensorium.fit(x, y)
    assert run.recipe.part_name("objective") == "cca" and set(run.metrics["baselines"]) == {"ridge", "procrustes"}
    assert numbers(run)["left->right", "hit@10"] > 0.9
    test = [row for row in range(300) if run.search(vector=x[row], side="left", k=1)[0]["id"] == str(row)]
    assert len(test) > 270


def test_a_temporary_run_goes_with_its_object(tmp_path):
    x, y = two()
    run = fit(x, y)
    folder = run.folder.parent
    assert folder.name.startswith("sensorium-") and (run.folder / "metrics.json").is_file()
    kept = fit(x, y, out=tmp_path / "kept").folder
    del run
    gc.collect()
    assert not folder.exists() and kept.is_dir()


def test_a_failed_fit_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    x, y = two()
    y[3] = np.nan
    with pytest.raises(BadData, match="vectors of Y: 1 of 60 rows hold NaN"):
        fit(x, y)
    assert not list(tmp_path.iterdir())


def test_arrays_of_every_library_give_one_run():
    import pyarrow as pa

    x, y = two()
    of = {
        "numpy": (x, y),
        "float64": (x.astype(np.float64), y.astype(np.float64)),
        "torch": (torch.tensor(x, requires_grad=True), torch.tensor(y)),
        "lists": (x.tolist(), y.tolist()),
        "rows": (list(x), tuple(y)),
        "sparse": (scipy.sparse.csr_matrix(x), y),
        "arrow": (pa.array(x.tolist()), pa.chunked_array([pa.array(list(y[:20])), pa.array(list(y[20:]))])),
        "fixed": (pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 8), y),
        "tensors": ([torch.tensor(one) for one in x], y),
        "columns": ({str(i): x[:, i] for i in range(8)}, pa.table({str(i): y[:, i] for i in range(6)})),
    }
    data = {name: fit(*pair).metrics["data"] for name, pair in of.items()}
    assert set(data.values()) == {data["numpy"]}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_and_tables_of(library):
    frames = pytest.importorskip(library, reason=f"{library} is absent; type: pip install {library}")
    x, y = two()
    ids = [f"im{i}" for i in range(60)]
    one = frames.DataFrame({"id": ids, "vector": list(x), "year": np.arange(60) + 1960, "kind": ["a", "b", None] * 20})
    other = frames.DataFrame({"id": ids[::-1], **{f"f{i}": y[::-1, i] for i in range(6)}})
    run = fit(one, other)
    assert numbers(run) == numbers(fit(x, y, ids=ids))
    assert run.search(id="im3", to="left", side="left", k=1, where={"year": 1999})[0]["kind"] is not False
    assert run.search(vector=x[3], side="left", k=1)[0]["id"] == "im3"
    assert fit(one["vector"], y).names["left"] == "vector"
    assert fit(one["vector"], y).metrics["data"] == fit(x, y).metrics["data"]
    texts = fit(frames.Series([f"word {i}" for i in range(60)]), y, left={"encoder": "hashing"})
    assert texts.search(text="word 7", k=1)[0]["id"] == "7"
    assert numbers(fit(x, frames.Series(np.arange(60) % 3)))["left->right", "hit@1"] <= 1


def test_pandas_index_with_a_name_is_the_ids():
    pandas = pytest.importorskip("pandas", reason="pandas is absent; type: pip install pandas")
    x, y = two()
    index = pandas.Index([f"k{i}" for i in range(60)], name="key")
    run = fit(pandas.DataFrame(x, index=index), pandas.DataFrame(y[::-1], index=index[::-1]))
    assert numbers(run) == numbers(fit(x, y, ids=index.tolist()))
    by_row = fit(pandas.DataFrame(x, index=np.arange(60)[::-1]), pandas.DataFrame(y))  # a numbering is no id
    assert by_row.metrics["data"] == fit(x, y).metrics["data"]


def test_an_arrow_table_brings_ids_and_metadata():
    import pyarrow as pa

    x, y = two()
    ids = [f"im{i}" for i in range(60)]
    table = pa.table({"key": ids, "vector": pa.array(list(x)), "year": np.arange(60) + 1960})
    run = fit(table, pa.table({"key": ids, "caption": [f"the number {i}" for i in range(60)]}), ids="key",
              right={"encoder": "hashing"})  # fmt: skip
    assert run.names == {"left": "vector", "right": "caption"}
    (hit,) = run.search(text="the number 5", k=60, where={"year": 1965})
    assert hit["id"] == "im5" and hit["year"] == 1965 and run.search(vector=x[5], side="left", k=60)[59]["text"]
    with pytest.raises(BadRecipe, match="X has no column 'kex' for its ids; did you mean 'key'?"):
        fit(table, y, ids="kex")


def test_pairs_in_every_form_are_the_same_pairs():
    import pyarrow as pa

    x, y = two()
    order = np.random.default_rng(1).permutation(60)
    y = y[order]
    i = order
    j = np.arange(60)
    matrix = np.zeros((60, 60), int)
    matrix[i, j] = 1
    names = np.array([str(k) for k in range(60)])
    forms = [(i, j), [i.tolist(), j.tolist()], np.stack([i, j], 1), matrix, matrix.astype(bool),
             scipy.sparse.coo_array(matrix), torch.tensor(matrix), {"left": names[i], "right": names[j]},
             pa.table({"left": i, "right": j, "label": np.ones(60, int)})]  # fmt: skip
    relevant = [(np.arange(60), i), (names, names[i])]
    pairs = [fit(x, y, pairs=form, split_seed=3) for form in forms]
    for run in pairs:
        assert run.metrics["pairs"]["test"]["pairs"] == 6
        data = run.folder / "data" / "pairs.parquet"
        found = set(zip(*(load(data, side) for side in ("left", "right")), strict=True))
        assert found == set(zip(i.tolist(), j.tolist(), strict=True))
    for form in relevant:
        assert fit(x, y, relevant=form).metrics["pairs"]["train"]["pairs"] > 30


def load(path, name):
    import pyarrow.parquet as pq

    return pq.read_table(path)[f"meta.{name}"].to_pylist()


def test_class_labels_relate_rows_within_their_split():
    x, y = two(90)
    labels = np.arange(90) % 6
    for run in (fit(x, y, relevant=labels), fit(x, y, pairs=labels.tolist()), fit(x, y, relevant=labels.astype(str))):
        left, right, split = (
            np.array(load(run.folder / "data" / "pairs.parquet", n)) for n in ("left", "right", "split")
        )
        assert (labels[left] == labels[right]).all()
        for side in (left, right):
            assert not set(side[split == "test"]) & set(side[split != "test"])
    alone = fit(x, relevant=labels, objective="cca")
    assert alone.sides == ("left",) and {h["id"] for h in alone.search(id="0", k=3)}.isdisjoint({"0"})


def test_class_labels_need_no_pair_for_each_of_their_relations(tmp_path):
    """Of 10,000 rows and two labels 50 million pairs are related; only as many are listed as there are rows."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 10_000)
    x, y = (random.standard_normal((10_000, 8)) + 2 * np.eye(8)[labels] for _ in range(2))
    keys = {"evaluate": {"resamples": 20, "baselines": [], "leaks": "off"}, "test": 0.02, "validation": 0.02}
    run = fit(x, y, relevant=labels, out=tmp_path / "run", **keys)
    assert run.metrics["pairs"]["test"]["left"] == 200
    test = {row["measure"]: row["value"] for row in run.metrics["results"] if row["direction"] == "left->right"}
    assert test["precision@10"] > 0.8
    again = pipeline.evaluate_again(tmp_path / "run", quiet=True)
    assert again.metrics["results"] == run.metrics["results"]


def test_an_item_of_two_labels_lists_its_pairs():
    _, y = two(60)
    keys = {"left": {"encoder": "hashing"}}
    texts = [f"text {i % 20}" for i in range(60)]
    run = fit(texts, y, relevant=np.arange(60) % 3, objective="cca", test=[0, 3, 6], validation=[1, 4, 7], **keys)
    assert run.metrics["pairs"]["train"]["pairs"] > 500


def test_labels_as_y_make_a_classification():
    x, _ = two(120)
    labels = (x[:, 0] > 0).astype(int) + 2 * (x[:, 1] > 0)
    for y, options in ((labels, {}), ([f"c{k}" for k in labels], {"right": {"encoder": "onehot"}})):
        run = sensorium.fit(x, y, train={"epochs": 8, "lr": 0.01}, evaluate={"resamples": 20}, **options)
        found = numbers(run)
        assert found["left->right", "hit@1"] > 0.5 and found["left->right", "UA"] > 0.3
        assert run.recipe.part_name("objective") == "cross_entropy" and len(run.search(vector=x[0], side="left")) == 4


def test_groups_and_splits_hold_what_they_say():
    x, y = two(60)
    group = np.arange(60) // 5
    run = fit(x, y, group=group)
    left, split = (np.array(load(run.folder / "data" / "pairs.parquet", n)) for n in ("left", "split"))
    assert set(split) == {""}  # drawn by the pipeline, by group
    assert run.metrics["pairs"]["test"]["groups"] == 1 and run.metrics["pairs"]["test"]["pairs"] == 5
    test = [3, 7, 11]
    mask = np.isin(np.arange(60), test)
    ids = [f"im{i}" for i in range(60)]
    for value in (test, mask, np.array(test), torch.tensor(test)):
        run = fit(x, y, test=value, ids=ids)
        left, split = (np.array(load(run.folder / "data" / "pairs.parquet", n)) for n in ("left", "split"))
        assert left[split == "test"].tolist() == test and run.metrics["pairs"]["validation"]["pairs"] == 6
    run = fit(x, y, validation=test, test=0.2)
    assert run.metrics["pairs"]["test"]["pairs"] == 11 and run.metrics["pairs"]["validation"]["pairs"] == 3
    words = np.array(["train"] * 40 + ["dev"] * 10 + ["test"] * 10)
    assert {k: v["pairs"] for k, v in fit(x, y, split=words).metrics["pairs"].items()} == {
        "train": 40, "validation": 10, "test": 10}  # fmt: skip


def test_equal_texts_are_one_item_and_one_group():
    x, _ = two(60)
    run = fit(x, [f"caption {i // 3}" for i in range(60)], right={"encoder": "hashing"})
    assert len(run.index("right")) == 20
    left, right = (np.array(load(run.folder / "data" / "pairs.parquet", n)) for n in ("left", "right"))
    assert (right == left // 3).all()
    assert run.metrics["pairs"]["test"]["groups"] == 2


def test_pictures_in_every_form(tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 255, (40, 24, 24), dtype=np.uint8)
    y = random.standard_normal((40, 4)).astype(np.float32)
    paths = []
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / f"{i}.png")
        paths.append(tmp_path / f"{i}.png")
    forms = [pixels, list(pixels), [Image.fromarray(one) for one in pixels], paths, [str(p) for p in paths]]
    runs = [fit(form, y, left={"encoder": {"name": "hog", "size": 32}}) for form in forms]
    assert len({run.metrics["data"] for run in runs}) == 1
    assert all((run.folder / "media" / "left.parquet").is_file() for run in runs)


def test_it_is_an_ordinary_run(tmp_path):
    x, _ = two()
    run = fit(x, [f"word {i}" for i in range(60)], right={"encoder": "hashing"}, out=tmp_path / "runs" / "mine")
    assert run.metrics["name"] == "mine"
    assert numbers(pipeline.evaluate_again(run.folder, quiet=True)) == numbers(run)
    assert pipeline.index_again(run.folder, ["index=faiss"], quiet=True).search(text="word 3", k=1)
    again = sensorium.run(run.folder / "recipe.toml", ["objective=cca"], out=tmp_path / "elsewhere" / "b", quiet=True)
    assert again.metrics["data"] == run.metrics["data"]
    run.folder.rename(tmp_path / "moved")
    assert numbers(pipeline.evaluate_again(tmp_path / "moved", quiet=True)) == numbers(run)
    with pytest.raises(BadData, match="name it: data.folder=RUN/data"):
        sensorium.recipe.load(again.folder / "recipe.toml").part("data").load()


def test_damaged_values_are_found(tmp_path):
    x, y = two()
    run = fit(x, y, out=tmp_path / "run")
    path = run.folder / "data" / "left.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(Corrupt, match="left.npy is damaged"):
        sensorium.open(run.folder)
    (run.folder / "run.json").unlink()
    (run.folder / "data" / "data.json").unlink()
    with pytest.raises(BadData, match=r"holds no values of a run \(no data.json\); fit the run again"):
        pipeline.evaluate_again(run.folder, quiet=True)


def test_other_values_do_not_resume_an_interrupted_fit(tmp_path):
    x, y = two()

    def stop(event):
        raise KeyboardInterrupt

    options = {"objective": "infonce", "train": {"epochs": 3, "save_seconds": 0.0}, "out": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        fit(x, y, on_epoch=stop, **options)
    whole = fit(x, 2 * y, **options)
    assert numbers(whole) == numbers(fit(x, 2 * y, **{**options, "out": tmp_path / "other"}))


@pytest.mark.parametrize(
    "statement",
    ["import sensorium.fitting", "import sensorium.memory.fit", "from sensorium.memory import fit",
     "import sensorium.pipeline, sensorium.cli", "from sensorium import *", "from sensorium.fitting import train"],
)  # fmt: skip
def test_fit_is_the_function_whatever_was_imported(statement):
    code = f"import sensorium\n{statement}\nassert callable(sensorium.fit) and sensorium.fit.__name__ == 'fit', sensorium.fit"
    done = processes.run(code=code, text=True)
    assert done.returncode == 0, done.stderr


def test_completion_offers_what_people_call():
    assert {"fit", "run", "open", "sklearn", "errors"} <= set(dir(sensorium))
    assert not {"importlib", "Any", "annotations", "fitting", "pipeline"} & set(dir(sensorium))
    for name in dir(sensorium):
        assert getattr(sensorium, name) is not None


BAD = [
    ({"Y": np.zeros((59, 6)) + 1}, BadData, "X has 60 rows and Y has 59; expected as many"),
    ({"X": None}, BadData, "X is None; expected an array"),
    ({"X": "word"}, BadData, r"X is one text; expected a list of them: X=\[…\]"),
    ({"X": {1, 2}}, BadData, "X is a set, which has no order"),
    ({"X": (i for i in range(3))}, BadData, r"X is generator, which can be read once only; give list\(X\)"),
    ({"X": []}, BadData, "X is empty"),
    ({"X": 3}, BadData, "X is int; expected an array"),
    ({"X": np.float32(3)}, BadData, "X is"),
    ({"X": np.arange(60)}, BadData, "X has one whole number a row: class labels, which only Y can be"),
    ({"X": np.ones(60)}, BadData, r"one number a row; expected vectors \(n, d\): X.reshape\(-1, 1\)"),
    ({"X": np.ones((60, 5, 4))}, BadData, r"give X.reshape\(-1, 4\) and the pairs of rows, pairs=\(i, j\)"),
    ({"X": np.ones((60, 4), complex)}, BadData, "X holds complex128; expected numbers"),
    ({"X": [[1.0, 2.0], [1.0]] * 30}, BadData, r"X holds rows of different widths: 30 of 2 numbers \(row 0\) and 30 of 1"),
    ({"X": ["a", 1.5] * 30}, BadData, r"X mixes kinds: 30 of text \(row 0\) and 30 of number \(row 1\)"),
    ({"X": [object()] * 60}, BadData, "X holds object"),
    ({"X": ["a", None] * 30, "left": {"encoder": "hashing"}}, BadData, "30 of 60 values of X are missing"),
    ({"X": ["a", " "] * 30, "left": {"encoder": "hashing"}}, BadData, "30 of 60 texts of X are empty, such as in row 1"),
    ({"X": ["a"] * 60}, BadRecipe, "X holds texts; name what encodes them: left={'encoder': 'minilm'}"),
    ({"left": {"encoder": "minilm"}}, BadRecipe, "X holds vectors, but left.encoder takes text; leave the encoder out"),
    ({"X": ["a.png"] * 60, "left": {"encoder": "hog"}}, BadData, "1 of 1 files of X are not there, such as 'a.png'"),
    ({"X": ["http://a/b.png"] * 60, "left": {"encoder": "hog"}}, BadData, "are addresses, such as 'http:/+a/b.png'"),
    ({"Y": np.ones(60, int)}, BadRecipe, "Y holds the one class '1'; expected 2 classes or more"),
    ({"pairs": (np.arange(3), np.arange(2))}, BadData, "pairs: i has 3 rows and j 2"),
    ({"pairs": (np.arange(3), np.array([0, 1, 60]))}, BadData, r"pairs: j names row 60 \(1 such\), but Y has 60 rows"),
    ({"pairs": (np.ones(3), np.ones(3))}, BadData, r"pairs: i is float64 \(3,\); expected whole numbers, rows of X"),
    ({"pairs": np.ones((5, 60))}, BadData, r"pairs has shape \(5, 60\)"),
    ({"pairs": np.full((60, 60), 0.5)}, BadData, "other numbers than 0 and 1; .* pairs = scores > 0.5"),
    ({"pairs": np.zeros((60, 60))}, BadData, "no row of X goes with a row of Y"),
    ({"pairs": {"left": ["x"], "right": ["1"]}}, BadData, "1 of 1 name an id that X does not have, such as 'x'"),
    ({"pairs": {"left": ["1"], "rihgt": ["1"]}}, BadRecipe, r"no column 'right' \(did you mean 'rihgt'"),
    ({"pairs": (np.arange(3), np.arange(3)), "relevant": np.zeros(60)}, BadRecipe, "both pairs and relevant are given"),
    ({"relevant": np.zeros(59)}, BadData, r"relevant has shape \(59,\); expected \(60,\), one value for each row of X"),
    ({"relevant": [None] * 60}, BadData, "relevant: 60 of 60 labels of X are missing"),
    ({"Y": None}, BadRecipe, "Y is left out, so both sides are X; say which of its rows go together"),
    ({"ids": ["a"] * 60}, BadData, "ids of X: 59 duplicate ids"),
    ({"ids": ["a"]}, BadData, "1 ids for 60 rows of X"),
    ({"ids": "key"}, BadRecipe, "ids='key' names a column, but X is no table"),
    ({"ids": (list("abc") * 20, None)}, BadData, "duplicate ids"),
    ({"metadata": [1, 2]}, BadRecipe, "metadata is list; expected the sides"),
    ({"metadata": {"left": {"year": [1]}}}, BadData, "1 values in 'year' for 60 rows"),
    ({"metadata": {"lft": {}}}, BadRecipe, "metadata has the key 'lft'; expected the sides"),
    ({"group": np.zeros(3)}, BadData, r"group has shape \(3,\); expected \(60,\)"),
    ({"group": 7}, BadData, "group is int; expected one value for each of the 60 rows of X"),
    ({"split": ["train"] * 59 + [None]}, BadData, "split: 1 of 60 values are missing"),
    ({"split": ["train"] * 59 + ["later"]}, BadData, "split value 'later'; expected train, dev|validation or test"),
    ({"split": ["train"] * 60, "test": [1]}, BadRecipe, "split names the split of every row"),
    ({"test": -0.1}, BadRecipe, "test=-0.1; expected a share"),
    ({"test": "some"}, BadRecipe, "test='some'; expected a share"),
    ({"test": [60]}, BadData, "test names row 60, but X has 60 rows"),
    ({"test": [1, 2], "validation": [2, 3]}, BadData, "row 2 of X is in test and in validation"),
    ({"test": np.ones((2, 2))}, BadData, r"test is float64 \(2, 2\); expected a share such as 0.1"),
    ({"test": 0.6, "validation": 0.5}, BadRecipe, "groups requested for validation and test"),
    ({"left": "minilm"}, BadRecipe, r"left='minilm'; expected a section, such as left=\{'encoder'"),
    ({"left": {"encodr": "minilm"}}, BadRecipe, "no key 'left.encodr'; did you mean 'encoder'?"),
    ({"train": 5}, BadRecipe, "train=5; expected a section, such as train={'epochs': 5}"),
    ({"train": {"epoch": 5}}, BadRecipe, "no key 'train.epoch'; did you mean 'epochs'?"),
    ({"objective": 3}, BadRecipe, "objective is int; expected a name or keys, such as objective='ridge'"),
    ({"objective": "rigde"}, BadRecipe, "no objective 'rigde'; did you mean 'ridge'?"),
    ({"objectiv": "ridge"}, BadRecipe, "no section 'objectiv'; did you mean 'objective'?"),
    ({"train.lrr": 1}, BadRecipe, "no key 'train.lrr'"),
    ({"seed": -1}, BadRecipe, "seed=-1; expected a whole number"),
    ({"seed": 1.5}, BadRecipe, "seed=1.5; expected a whole number"),
    ({"split_seed": "x"}, BadRecipe, "data.split_seed='x'; expected a whole number"),
    ({"overrides": "train.lr=1"}, BadRecipe, "overrides='train.lr=1'; expected a list of texts"),
    ({"overrides": ["data.test=1"]}, BadRecipe, "the data are X and Y; set them by arguments"),
    ({"index": "exat"}, BadRecipe, "no index 'exat'; did you mean 'exact'?"),
]  # fmt: skip


# Numbered, as some of the values have no text that is the same in every process.
@pytest.mark.parametrize(
    ("given", "error", "message"), BAD, ids=[f"{'-'.join(one[0])}-{n}" for n, one in enumerate(BAD)]
)
def test_bad_input_names_the_argument(given, error, message):
    x, y = two()
    arguments = {"X": x, "Y": y, **given}
    with pytest.raises(error, match=message):
        fit(arguments.pop("X"), arguments.pop("Y"), **arguments)
