"""Migration between encoders: the adapter, both encoders in one index, the swap and the way back, bad input."""

import json
import shutil

import numpy as np
import pytest
from small_run import RECIPE
from typer.testing import CliRunner

import sensorium
from sensorium import exchange
from sensorium.cli import app
from sensorium.errors import BadData, BadRecipe, Corrupt, SensoriumError
from sensorium.experiments import migrate, swap

NEW = ["right.encoder=hashing", "right.encoder.dim=96"]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of pictures and names, with an item added by the old encoder, not migrated yet; not to be changed."""
    folder = tmp_path_factory.mktemp("migrate") / "run"
    run = sensorium.run(RECIPE, ["evaluate.plots=false", "evaluate.calibrate=false"], out=folder, quiet=True)
    run.add(["added by old"], side="right", ids=["old1"])
    return folder


@pytest.fixture
def run(first, tmp_path):
    """A copy of that run with its embeddings beside it, to be changed."""
    shutil.copytree(first.parent, tmp_path / "runs")
    return tmp_path / "runs" / "run"


def ids(folder, **query):
    return [hit["id"] for hit in sensorium.open(folder).search(k=8, **query)]


def said(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_both_encoders_are_served_then_swapped_and_rolled_back_and_nothing_is_lost(run):
    before, vectors = ids(run, text="arrow"), sensorium.open(run).index("right").vectors(np.arange(20)).copy()
    (record,) = said("migrate", run, *NEW, "--sample", 90, "-q")
    assert record["state"] == "side by side" and record["sample"] == 90 and record["test_items"] == 10
    assert [way["way"] for way in record["ways"]] == ["old", "adapted", "old refit", "new refit"]
    assert record["ways"][0]["kept"]["low"] <= record["kept"]["value"] <= record["kept"]["high"]
    assert "hashing dim=96" in record["verdict"] and "hashing dim=64" in record["verdict"]

    opened = sensorium.open(run)
    assert opened.encoder("right").dim == 96 and opened.head("right").dim_in == 96
    assert opened.recipe.values["right"]["encoder"]["dim"] == 96
    assert np.array_equal(opened.index("right").vectors(np.arange(20)), vectors)  # the old index stays
    opened.add(["added by new"], side="right", ids=["new1"])
    assert ids(run, text="added by new", to="right")[0] == "new1"
    (shown,) = said("migrate", run)
    assert (shown["state"], shown["answers"]) == ("side by side", "hashing dim=96")

    (made,) = said("migrate", run, "--swap", "-q")
    swapped = sensorium.open(run)
    assert made["state"] == "swapped" and swapped.encoder("right").dim == 96
    assert not (run.parent / ".run.swap").exists()
    assert swapped.metrics["recipe"] != sensorium.open(run / "before").metrics["recipe"]
    assert {"old1", "new1"} <= set(swapped.index("right").table.ids.tolist())  # of both encoders
    swapped.add(["added after"], side="right", ids=["after1"])

    (back,) = said("migrate", run, "--rollback")
    last = sensorium.open(run)
    assert back["state"] == "rolled back" and back["answers"] == {"right": "hashing dim=64"}
    assert last.encoder("right").dim == 64 and ids(run, text="arrow") == before
    assert {"old1", "new1", "after1"} <= set(last.index("right").table.ids.tolist())
    assert ids(run, text="added by old", to="right")[0] == "old1"
    with pytest.raises(BadRecipe, match="nothing to roll back"):
        swap.roll_back(run)


def test_evaluate_and_index_wait_for_the_end_of_a_migration(run):
    from sensorium import pipeline

    migrate.migrate(run, NEW, sample=60, refit=False, quiet=True)
    for stage, word in ((pipeline.evaluate_again, "evaluated again"), (pipeline.index_again, "indexed again")):
        with pytest.raises(BadRecipe, match=rf"is being migrated: its right queries .* so it cannot be {word}; finish "
                           r"with: sensorium migrate .*run --swap, or undo with: .* --rollback"):  # fmt: skip
            stage(run, quiet=True)
    with pytest.raises(BadRecipe, match="is being migrated from 'hashing dim=64' to 'hashing dim=96' already"):
        migrate.migrate(run, NEW, quiet=True)
    swap.roll_back(run)
    assert pipeline.evaluate_again(run, ["evaluate.plots=false"], quiet=True).encoder("right").dim == 64
    again = migrate.migrate(run, ["left.encoder=hashing", "left.encoder.takes=image"], refit=False, quiet=True)
    assert again["side"] == "left" and "was not measured" in again["verdict"]
    assert set(sensorium.open(run).migrations.by_side) == {"left", "right"}


def test_what_is_exported_and_said_is_of_the_encoder_that_answers(run, tmp_path):
    migrate.migrate(run, NEW, sample=60, refit=False, quiet=True)
    result = CliRunner().invoke(app, ["search", str(run), "--text", "arrow", "--table"])
    assert "queries and new items are encoded by hashing dim=96, through an adapter" in " ".join(result.stdout.split())
    result = CliRunner().invoke(app, ["show", str(run), "--table"])
    assert "the index is of hashing dim=64" in " ".join(result.stdout.split())
    pytest.importorskip("onnx")
    exchange.export("onnx", run, tmp_path / "head.onnx", ["side=right"])
    about = json.loads((tmp_path / "head.json").read_text())
    assert about["dim_in"] == 96 and about["encoder"]["dim"] == 96


def test_a_damaged_record_is_named(run):
    migrate.migrate(run, NEW, sample=60, refit=False, quiet=True)
    path = run / "migration" / "right.json"
    path.write_text(path.read_text().replace('"side by side"', '"swapped"'))
    with pytest.raises(Corrupt, match=r"right\.json is damaged, or of another version of sensorium"):
        sensorium.open(run)


@pytest.mark.parametrize(
    ("keys", "options", "message"),
    [
        ([], {}, r"one side is migrated at a time, these name none; expected left\.encoder=NAME"),
        (["left.head=mlp"], {}, "'left.head=mlp' is no key of a migration"),
        (["right.encoder"], {}, "'right.encoder' is no key of a migration"),
        (["left.encoder=hog", "right.encoder=minilm"], {}, "one side is migrated at a time, these name left and right"),
        (["right.encoder=none"], {}, "no new encoder is named"),
        (["right.encoder=hashing", "right.vectors=a.npy"], {}, "right.encoder and right.vectors were both given"),
        (["right.encoder=hashing", "right.encoder.dim=64"], {}, "are of this encoder already .*; name another"),
        (["right.encoder=hog"], {}, "right.encoder 'hog' takes image, but the .* items are text"),
        (["right.encoder=hashink"], {}, "right.encoder=hashink: no such encoder; did you mean hashing"),
        (NEW, {"sample": 100_000}, r"--sample 100000: there are \d+ .* items outside the test split .*type --sample"),
        (NEW, {"sample": 5}, "--sample 5: an adapter needs 40 items or more; type --sample 40"),
        (["right.vectors=nowhere.npy"], {}, "no file nowhere.npy"),
    ],
)
def test_what_cannot_be_migrated_is_refused_and_changes_nothing(first, keys, options, message):
    with pytest.raises(SensoriumError, match=message):
        migrate.migrate(first, keys, quiet=True, **options)
    assert not (first / "migration").exists()


def test_verbs_of_a_run_that_was_never_migrated(first):
    for arguments, message in (
        ([], "was never migrated; type: sensorium migrate"),
        (["--swap"], "is not being migrated; type: sensorium migrate"),
        (["--embed"], "is not being migrated; type: sensorium migrate"),
        (["--rollback"], "nothing to roll back"),
        (["--rollback", "--swap"], "--rollback undoes a migration; give it alone"),
    ):
        with pytest.raises(BadRecipe, match=message):
            said("migrate", first, *arguments)


def test_missing_media_files_are_named_and_nothing_is_lost(tmp_path):
    from PIL import Image

    random, rows = np.random.default_rng(0), ["id,path,caption"]
    for i in range(80):
        Image.fromarray(random.integers(0, 255, (16, 16), np.uint8)).save(tmp_path / f"{i}.png")
        rows.append(f"{i},{tmp_path / f'{i}.png'},caption {i}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    keys = [f"data.file={tmp_path / 'pairs.csv'}", "data.left=path", "data.right=caption", "left.encoder=hog",
            "right.encoder=hashing", "objective=ridge", "evaluate.plots=false", "evaluate.resamples=20",
            "evaluate.baselines=[]"]  # fmt: skip
    run = sensorium.run("pairs", keys, out=tmp_path / "runs" / "run", quiet=True)
    (tmp_path / "7.png").unlink()
    with pytest.raises(SensoriumError, match=r"7\.png"):
        migrate.migrate(run.folder, ["left.encoder=hashing", "left.encoder.takes=image"], quiet=True)
    assert not (run.folder / "migration").exists() and len(sensorium.open(run.folder).search(text="caption 3")) == 10


def arrays(n=400, d=12, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, d)).astype(np.float32)
    return x, (x @ random.normal(size=(d, 9)) + 0.3 * random.normal(size=(n, 9))).astype(np.float32)


def test_vectors_that_came_from_elsewhere_are_migrated_by_a_sample_with_ids(tmp_path):
    """NEW is OLD turned: every ranking of the run comes back, in its own order, for every item."""
    x, y = arrays()
    run = sensorium.fit(x, y, out=tmp_path / "runs" / "run", evaluate={"baselines": []})
    turned = (2 * x @ np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))[0] + 1).astype(np.float32)
    some = np.random.default_rng(1).permutation(400)[:250]
    np.savez(tmp_path / "new.npz", image=turned[some], names=some.astype(str))
    before = [[hit["id"] for hit in run.search(vector=x[i], side="left", k=20)] for i in range(0, 400, 20)]
    (record,) = said("migrate", run.folder, f"left.vectors={tmp_path / 'new.npz'}:image",
                     f"left.ids={tmp_path / 'new.npz'}:names", "-q")  # fmt: skip
    assert record["adapter"]["name"] == "procrustes" and record["kept"]["value"] == 1.0
    assert record["sample"] + record["test_items"] == 250
    moved = sensorium.open(run.folder)
    assert [
        [hit["id"] for hit in moved.search(vector=turned[i], side="left", k=20)] for i in range(0, 400, 20)
    ] == before
    moved.add(turned[:1], ids=["new"], side="left")
    assert {"new", "0"} == {hit["id"] for hit in moved.search(vector=turned[0], side="left", to="left", k=2)}

    with pytest.raises(BadData, match="lacks 150 of 400 left items; make their vectors, then"):
        swap.swap(run.folder, quiet=True)
    swap.roll_back(run.folder)
    np.save(tmp_path / "all.npy", turned)
    said("migrate", run.folder, f"left.vectors={tmp_path / 'all.npy'}", "--no-refit", "--swap", "-q")
    made = sensorium.open(run.folder)
    assert made.metrics["results"] and "new" in made.index("left").table.ids
    mean = [np.mean([r["value"] for r in one.metrics["results"] if r["measure"] == "MRR"]) for one in (run, made)]
    assert abs(mean[0] - mean[1]) < 0.02
    swap.roll_back(run.folder)
    assert [[hit["id"] for hit in sensorium.open(run.folder).search(vector=x[i], side="left", k=20)]
            for i in range(0, 400, 20)] == [[h for h in one] for one in before]  # fmt: skip


@pytest.mark.parametrize(
    ("saved", "ids", "message"),
    [
        ({"v": np.ones((30, 5))}, "", "has 30 rows and no ids, the left side has 400 items; name their ids"),
        ({"v": np.ones(30)}, "", "expected numbers|no array|holds"),
        ({"v": np.ones((3, 5)), "i": np.array(["1", "2"])}, "i", "2 ids for 3 vectors; they must be as many"),
        ({"v": np.ones((2, 5)), "i": np.array(["1", "1"])}, "i", "left.ids: 1 duplicate ids"),
        ({"v": np.full((2, 5), np.nan), "i": np.array(["1", "2"])}, "i", "left.vectors: 2 of 2 rows hold NaN"),
        ({"v": np.ones((2, 5)), "i": np.array(["a", "b"])}, "i", "none of 2 ids is an item of the left side"),
        ({"v": np.ones((2, 5)), "i": np.array(["1", "2"])}, "i", "too few to fit an adapter: . .* items outside the test split have a new"),
        ({"v": np.ones((2, 5))}, "nowhere", "left.ids=nowhere: no such file, nor an array of new.npz"),
    ],
)  # fmt: skip
def test_files_of_vectors_that_cannot_be_used_are_refused(vectors_run, tmp_path, saved, ids, message):
    np.savez(tmp_path / "new.npz", **saved)
    keys = [f"left.vectors={tmp_path / 'new.npz'}:v", *([f"left.ids={ids}"] if ids else [])]
    with pytest.raises(SensoriumError, match=message):
        migrate.migrate(vectors_run, keys, quiet=True)


@pytest.fixture(scope="module")
def vectors_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors") / "run"
    return sensorium.fit(*arrays(), out=folder, evaluate={"baselines": []}).folder


def test_vectors_take_no_encoder(vectors_run):
    with pytest.raises(BadRecipe, match=r"came as vectors, which no encoder takes; give the new vectors of a sample"):
        migrate.migrate(vectors_run, ["left.encoder=hashing"], quiet=True)


def test_the_items_of_one_table_are_migrated_together(tmp_path):
    """Both sides are one table: queries of the new encoder among items of the old one."""
    x, _ = arrays(300)
    x[150:] = x[:150] + 0.05 * np.random.default_rng(2).normal(size=(150, 12))
    pairs = (np.arange(150), np.arange(150, 300))
    run = sensorium.fit(x, pairs=pairs, objective="cca", out=tmp_path / "run", evaluate={"baselines": []})
    with pytest.raises(BadRecipe, match=r"has one table for both sides; type: left\.vectors=NEW"):
        migrate.migrate(run.folder, ["right.vectors=a.npy"], quiet=True)
    turned = x @ np.linalg.qr(np.random.default_rng(5).normal(size=(12, 12)))[0]
    np.save(tmp_path / "new.npy", turned)
    record = migrate.migrate(run.folder, [f"left.vectors={tmp_path / 'new.npy'}"], quiet=True)
    assert record["adapter"]["name"] == "procrustes" and record["kept"]["value"] == 1.0
    hits = sensorium.open(run.folder).search(vector=turned[3], k=2)
    assert {hit["id"] for hit in hits} == {"3", "153"}


def test_a_server_follows_each_step_and_says_which_encoder_answers(run):
    from sensorium.serve.engine.registry import Registry
    from sensorium.serve.routes.health import state
    from sensorium.serve.settings import Settings

    registry = Registry([run], Settings())

    def told():
        assert registry.refresh() == ["run"]
        served = registry.get()
        side = state(served)["sides"]["right"]
        assert set(served.run.index("right").table.ids.tolist()) >= {"old1"}
        return served.run.encoder("right").dim, served.workers.has_raw("right"), side["migration"]

    assert told() == (64, True, None)
    migrate.migrate(run, NEW, sample=60, refit=False, quiet=True)
    dim, raw, one = told()
    assert (dim, raw, one["state"], one["answers"]) == (96, False, "side by side", "hashing dim=96")
    swap.swap(run, quiet=True)
    dim, raw, one = told()
    assert (dim, raw, one["state"]) == (96, True, "swapped")
    swap.roll_back(run)
    dim, raw, one = told()
    assert (dim, raw, one["state"], one["answers"]) == (64, True, "rolled back", "hashing dim=64")


def test_a_migrated_run_is_packed_when_its_migration_is_over(run, tmp_path):
    from sensorium.search import packing

    migrate.migrate(run, NEW, sample=60, refit=False, quiet=True)
    sensorium.open(run).add(["added by new"], side="right", ids=["new1"])
    with pytest.raises(BadRecipe, match="so it cannot be packed; finish with: sensorium migrate"):
        packing.pack(run, tmp_path / "a.zip")
    swap.roll_back(run)
    packing.pack(run, tmp_path / "a.zip")
    opened = sensorium.open(tmp_path / "a.zip")
    assert {"old1", "new1"} <= set(opened.index("right").table.ids.tolist())
    assert opened.migrations.by_side["right"].state == "rolled back"


def test_items_of_every_earlier_encoder_are_found_after_two_migrations(run):
    for k, dim in enumerate((96, 80)):
        migrate.migrate(run, [NEW[0], f"right.encoder.dim={dim}"], refit=False, quiet=True)
        sensorium.open(run).add([f"added {k}"], side="right", ids=[f"new{k}"])
        swap.swap(run, quiet=True)
    opened = sensorium.open(run)
    assert opened.encoder("right").dim == 80 and len(opened.migrations.stems) == 2
    assert {"old1", "new0", "new1"} <= set(opened.index("right").table.ids.tolist())
    swap.roll_back(run)  # one step back: to the encoder of 96
    opened = sensorium.open(run)
    assert opened.encoder("right").dim == 96
    assert {"old1", "new0", "new1"} <= set(opened.index("right").table.ids.tolist())
