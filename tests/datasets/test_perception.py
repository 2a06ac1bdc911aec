"""Pictures and videos of faces as a data set: labels, prompts, what is left out, what is kept, and who is where."""

import csv
from pathlib import Path

import made_faces
import numpy as np
import pytest
from PIL import Image
from seen_faces import SeenFaces, picture, write_video
from typer.testing import CliRunner

from sensorium import pipeline
from sensorium import recipe as recipes
from sensorium.cli import app
from sensorium.datasets.perception import Perception
from sensorium.errors import BadData, BadRecipe
from sensorium.modalities.face import video
from sensorium.modalities.face.layout import EMOTIONS
from sensorium.types import FoundFace, VideoFrame

ENCODER = "seen_faces:SeenFaces"


@pytest.fixture(autouse=True)
def _count():
    SeenFaces.looked, SeenFaces.stop_at = 0, -1


def save(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)


def folder(root, labels=("happy", "04_sad", "Anger"), each=3):
    for number, label in enumerate(labels):
        for k in range(each):
            save(root / label / f"{k}.png", picture(person=number * each + k, smile=0.33 * number))
    return root


def load(stores=None, **keys):
    made = Perception(**{key: str(value) if isinstance(value, Path) else value for key, value in keys.items()})
    made.encoder, made.stores = SeenFaces(), stores
    return made.load()


def groups(data):
    """The group of each face by its id."""
    names = {}
    for row, group in zip(data.pairs.left.tolist(), data.pairs.group.tolist(), strict=True):
        names[data.left.ids[row]] = group
    return names


def table(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_folder_of_pictures_becomes_faces_and_prompts(tmp_path):
    data = load(root=folder(tmp_path / "p"))
    assert (data.left.kind, data.left.name, data.right.kind, data.right.name) == ("face", "face", "text", "prompt")
    assert data.right.values == ["a person looking sad", "a person looking angry", "a person looking happy"]
    assert data.right.meta["label"].tolist() == ["sad", "angry", "happy"]
    assert data.left.ids.tolist()[:2] == ["04_sad/0.png", "04_sad/1.png"]
    assert data.left.meta["label"].tolist() == ["sad"] * 3 + ["angry"] * 3 + ["happy"] * 3
    assert isinstance(data.left.values[0], FoundFace) and data.left.values[0].picture.endswith("04_sad/0.png")
    assert np.array_equal(data.left.values[0].landmarks, made_faces.face(person=3, smile=0.33))
    assert [data.right.values[j] for j in data.pairs.right] == [
        f"a person looking {one}" for one in data.left.meta["label"]
    ]


def test_pictures_without_a_face_are_listed_counted_and_left_out(tmp_path):
    root = folder(tmp_path / "p")
    save(root / "happy" / "tree.png", picture(faces=0))
    data = load(tmp_path / "stores", root=root)
    assert len(data.left) == 9 and data.notes["no_face"] == 1
    where = data.notes["left_out_list"]
    rows = list(csv.DictReader(Path(where).read_text().splitlines()))
    assert rows == [
        {"id": "happy/tree.png", "path": str(root / "happy/tree.png"), "second": "", "reason": "no face was found"}
    ]
    assert "1 of 10 pictures and frames show no face and are left out, such as happy/tree.png" in data.notes["said"][0]
    with pytest.raises(BadData, match=r"1 of 10 .*show no face, such as happy/tree.png.*data.no_face=skip"):
        load(root=root, no_face="stop")
    for path in sorted(root.glob("*/[0-9].png")):
        save(path, picture(faces=0))
    with pytest.raises(BadData, match="no face is left of 10 pictures and videos: 10 pictures and frames show none"):
        load(root=root)


def test_files_that_cannot_be_read(tmp_path):
    root = folder(tmp_path / "p")
    (root / "happy" / "9.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (root / "happy" / "v.mp4").write_bytes(b"no video")
    with pytest.raises(BadData, match=r"2 of 11 files cannot be used, such as: .*data.bad=skip"):
        load(root=root)
    data = load(tmp_path / "stores", root=root, bad="skip")
    assert (len(data.left), data.notes["unreadable"]) == (9, 2)
    listed = list(csv.DictReader(Path(data.notes["left_out_list"]).read_text().splitlines()))
    assert [row["id"] for row in listed] == ["happy/9.png", "happy/v.mp4"] and "9.png" in listed[0]["reason"]


def test_each_picture_is_searched_once_and_again_when_it_changed(tmp_path):
    root, stores = folder(tmp_path / "p"), tmp_path / "stores"
    first = load(stores, root=root)
    assert SeenFaces.looked == 9
    again = load(stores, root=root)
    assert SeenFaces.looked == 9
    assert all(
        np.array_equal(a.landmarks, b.landmarks) for a, b in zip(first.left.values, again.left.values, strict=True)
    )
    save(root / "happy" / "1.png", picture(faces=0, person=33))
    assert len(load(stores, root=root).left) == 8 and SeenFaces.looked == 10
    for part in stores.rglob("part-*.npy"):
        part.write_bytes(part.read_bytes()[:-100])
    assert len(load(stores, root=root).left) == 8 and SeenFaces.looked == 19, "damaged files are passed over"


def test_an_interruption_loses_no_finished_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})  # one thread
    root, stores = folder(tmp_path / "p", each=10), tmp_path / "stores"
    SeenFaces.stop_at = 21
    with pytest.raises(KeyboardInterrupt):
        load(stores, root=root)
    looked = SeenFaces.looked
    assert len(load(stores, root=root).left) == 30
    assert SeenFaces.looked - looked <= 11


def test_every_face_of_a_picture(tmp_path):
    root = folder(tmp_path / "p")
    save(root / "happy" / "two.png", picture(faces=2, person=20))
    data = load(root=root, faces="each")
    assert data.left.ids.tolist()[-2:] == ["happy/two.png", "happy/two.png#2"]
    assert data.left.meta["face"].tolist()[-2:] == [1, 2]
    assert len(load(root=root).left) == 10, "the largest alone"


def test_frames_of_videos(tmp_path):
    for number, label in enumerate(("happy", "sad", "angry")):
        write_video(tmp_path / "v" / label / "a.mkv", [picture(person=number, smile=k / 40) for k in range(20)])
    data = load(tmp_path / "stores", root=tmp_path / "v", every=5)
    assert data.left.ids.tolist()[:4] == [f"angry/a.mkv@{t:.3f}" for t in (0, 0.5, 1, 1.5)]
    assert data.left.values[1].picture == VideoFrame(str(tmp_path / "v/angry/a.mkv"), 0.5)
    assert data.left.meta["second"].tolist()[:2] == [0, 0.5]
    assert len(set(groups(data).values())) == 3 and data.notes["frames"] == 12
    assert SeenFaces.looked == 12
    load(tmp_path / "stores", root=tmp_path / "v", every=5)
    assert SeenFaces.looked == 12, "the frames are kept"
    shown = SeenFaces().find(video.read(data.left.values[1].picture))[0]
    assert np.array_equal(shown, data.left.values[1].landmarks), "the item is the frame in which the face was found"


def test_a_video_with_a_label_track(tmp_path):
    write_video(tmp_path / "a.mkv", [picture(person=1, smile=k / 60) for k in range(40)])
    write_video(tmp_path / "b.mkv", [picture(person=5, smile=k / 60) for k in range(20)])
    rows = [{"path": "a.mkv", "begin": 0, "end": 1, "label": "happy"}, {"path": "a.mkv", "begin": "0:02", "end": 3, "label": "sad"},
            {"path": "b.mkv", "begin": "", "end": "", "label": "happy"}]  # fmt: skip
    data = load(table=table(tmp_path / "t.csv", rows), every=5)
    of = dict(zip(data.left.ids.tolist(), data.left.meta["label"].tolist(), strict=True))
    assert [id for id in of if id.startswith("a.mkv")] == [f"a.mkv@{t:.3f}" for t in (0, 0.5, 2, 2.5)]
    assert of["a.mkv@0.500"] == "happy" and of["a.mkv@2.000"] == "sad"
    assert len({group for id, group in groups(data).items() if id.startswith("a.mkv")}) == 1
    table(tmp_path / "t.csv", [*rows, {"path": "a.mkv", "begin": 0.5, "end": 2, "label": "sad"}])
    with pytest.raises(BadData, match=r"rows 2, 5 are of one video, and the parts from 0 s and from 0\.5 s overlap"):
        load(table=tmp_path / "t.csv")


def test_videos_named_as_ravdess_does(tmp_path):
    """Emotion and actor by the name; no actor is on both sides of a split, whatever is drawn."""
    for actor in range(1, 7):
        for emotion in (3, 5, 8):
            name = f"01-{emotion:02d}-01-01-01-{actor:02d}.mkv"
            shown = [picture(person=actor, smile=emotion / 10)] * 3
            write_video(tmp_path / f"Actor_{actor:02d}" / f"01-{name}", shown)
    write_video(tmp_path / "Actor_01" / "02-01-03-01-01-01-01.mkv", [picture()] * 3)
    data = load(root=tmp_path)
    assert data.right.meta["label"].tolist() == ["happy", "angry", "surprise"]
    assert data.right.values[2] == "a person looking surprised"
    assert len(data.left) == 18 and data.notes["takes_without_sound_left_out"] == 1
    assert data.left.meta["intensity"][0] == "normal" and data.notes["group"] == "person"
    plan = recipes.load("perception", [f"data.root={tmp_path}", "data.test=0.3", "data.validation=0.3"])
    for seed in range(5):
        plan.values["data"]["split_seed"] = seed
        split = pipeline.split(plan, data.pairs)
        persons = [
            {data.left.meta["person"][i] for i in split.where(word).left} for word in ("train", "validation", "test")
        ]
        assert all(persons) and not (persons[0] & persons[1] | persons[0] & persons[2] | persons[1] & persons[2])


def test_pictures_of_one_shot_are_one_group_and_persons_come_first(tmp_path):
    """Frames that somebody saved as pictures are of one video, although nothing says so."""
    for label, person in (("happy", 1), ("sad", 50)):
        for k in range(6):
            save(tmp_path / "p" / label / f"frame{k}.png", picture(person=person, smile=k / 60))
    data = load(root=tmp_path / "p")
    assert data.notes["group"] == "shots" and len(set(groups(data).values())) <= 2
    rows = [{"path": str(path), "label": path.parent.name, "person": "ab"[k % 2], "camera": k % 3}
            for k, path in enumerate(sorted((tmp_path / "p").rglob("*.png")))]  # fmt: skip
    listed = load(table=table(tmp_path / "t.csv", rows))
    assert len(set(groups(listed).values())) == 2 and listed.notes["group"] == "person"
    assert len(set(groups(load(table=tmp_path / "t.csv", group="camera")).values())) == 3
    assert len(set(groups(load(table=tmp_path / "t.csv", group="row")).values())) == 12
    assert len(set(groups(load(table=tmp_path / "t.csv", group="folder")).values())) == 2
    assert listed.left.meta["camera"].tolist() == [k % 3 for k in range(12)]
    with pytest.raises(BadData, match="no file lies in a folder below that of its label"):
        load(root=tmp_path / "p", group="folder")
    for path in sorted((tmp_path / "p").rglob("*.png")):
        below = path.parent / f"person{int(path.stem[-1]) % 3}"
        below.mkdir(exist_ok=True)
        path.rename(below / path.name)
    nested = load(root=tmp_path / "p")
    assert nested.notes["group"] == "folder" and len(set(groups(nested).values())) == 3


def test_folders_of_splits(tmp_path):
    for split in ("train", "dev", "test"):
        folder(tmp_path / split, each=2)
    data = load(root=tmp_path)
    assert data.left.ids[0].startswith("dev/") and len(data.left) == 18
    assert sorted(set(data.pairs.split.tolist())) == ["test", "train", "validation"]


def test_fer2013s_list(tmp_path):
    rng = np.random.default_rng(0)
    rows = [{"emotion": k % 7, " pixels": " ".join(map(str, rng.integers(0, 256, 48 * 48))),
             " Usage": ("Training", "PublicTest", "PrivateTest")[k // 7]} for k in range(21)]  # fmt: skip
    made = Perception(table=str(table(tmp_path / "fer2013.csv", rows)))
    data = made.load()
    assert data.left.values[3].shape == (48, 48) and data.left.values[3].dtype == np.uint8
    assert data.left.values[3].ravel().tolist() == [int(v) for v in rows[3][" pixels"].split()]
    assert data.left.meta["label"].tolist()[:7] == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert data.pairs.split.tolist() == ["train"] * 7 + ["validation"] * 7 + ["test"] * 7
    assert data.left.ids[0] == "row-00002"
    rows[2][" pixels"] = "1 2 3"
    with pytest.raises(BadData, match="row 4 has no 48 x 48 pixels of 0 to 255"):
        Perception(table=str(table(tmp_path / "fer2013.csv", rows))).load()
    rows[2] = {**rows[1], "emotion": 9}
    with pytest.raises(BadData, match="the code 9 of an emotion; expected 0 to 6"):
        Perception(table=str(table(tmp_path / "fer2013.csv", rows))).load()


def test_prompts(tmp_path):
    root = folder(tmp_path / "p")
    described = load(root=root, prompts="descriptions")
    assert len(described.right) == 12 and len(described.pairs) == 36
    assert all(described.left.meta["label"][i] == described.right.meta["label"][j]
               for i, j in zip(described.pairs.left, described.pairs.right, strict=True))  # fmt: skip
    own = table(tmp_path / "own.csv", [{"label": "Happiness", "prompt": "a grin"}, {"label": "sad", "prompt": "tears"},
                                       {"label": "angry", "prompt": "a scowl"}])  # fmt: skip
    assert sorted(load(root=root, prompts=own).right.values) == ["a grin", "a scowl", "tears"]
    rows = [{"path": str(path), "label": "sad", "age": 30 + k} for k, path in enumerate(sorted(root.rglob("*.png")))]
    listed = table(tmp_path / "t.csv", rows)
    assert load(table=listed, prompts="{label} at {age}").right.values[:2] == ["sad at 30", "sad at 31"]
    table(listed, [{"path": row["path"], "prompt": f"face {k % 3}"} for k, row in enumerate(rows)])
    assert load(table=listed).right.values == ["face 0", "face 1", "face 2"]


FAULTS = [
    ({}, BadRecipe, "no faces are named; type: data.root=FOLDER"),
    ({"root": "p", "file": "t.npz"}, BadRecipe, "data.file and data.root are given"),
    ({"root": "nowhere"}, BadData, "no folder nowhere"),
    ({"root": "p", "every": 0}, BadRecipe, "data.every=0; expected 1 or more"),
    ({"root": "p", "faces": "largst"}, BadRecipe, "did you mean 'largest'"),
    ({"root": "p", "no_face": "keep"}, BadRecipe, "expected skip or stop"),
    ({"root": "p", "group": "actor"}, BadRecipe, "data.group=actor: folders have no columns"),
    ({"root": "p", "prompts": "a face"}, BadRecipe, r"no \{label\}, is no file.*known: descriptions"),
    ({"root": "p", "prompts": "a {0}"}, BadRecipe, "expected the names of columns in braces"),
    ({"root": "p", "prompts": "a {label"}, BadRecipe, "type: data.prompts="),
    ({"root": "p", "prompts": "a {age} face"}, BadRecipe, "has no 'age'"),
    ({"root": "p", "prompts": "two.csv"}, BadData, "no prompt for the label 'sad'"),
    ({"root": "p", "prompts": "bare.csv"}, BadRecipe, "has no column 'prompt'"),
    ({"root": "bare"}, BadData, "1 of 1 files lie in no folder of a label"),
    ({"root": "empty"}, BadData, "no picture or video below it"),
    ({"table": "bare.csv"}, BadRecipe, "no column path; expected path and label or prompt"),
    ({"table": "unlabelled.csv"}, BadData, "row 3 has no label or prompt"),
    ({"table": "twice.csv"}, BadData, "rows 2, 3 are of one picture and say different things"),
    ({"table": "words.csv"}, BadData, "row 2: split 'some'; expected train"),
    ({"table": "times.csv"}, BadData, "begin is 'soon'; expected seconds"),
    ({"table": "ends.csv"}, BadData, "from 3 s to 1 s; the end must be later"),
    ({"table": "twice.csv", "group": "actor"}, BadRecipe, "data.group=actor: .*no column"),
]


@pytest.mark.parametrize(("keys", "error", "said"), FAULTS, ids=[str(one[0]) for one in FAULTS])
def test_what_cannot_be_used_is_refused(tmp_path, monkeypatch, keys, error, said):
    monkeypatch.chdir(tmp_path)
    folder(Path("p"), ("happy", "sad"))
    save(Path("bare/a.png"), picture())
    Path("empty").mkdir()
    table("two.csv", [{"label": "happy", "prompt": "a grin"}])
    table("bare.csv", [{"label": "happy"}])
    table("unlabelled.csv", [{"path": "a.png", "label": "x"}, {"path": "b.png", "label": ""}])
    table("twice.csv", [{"path": "a.png", "label": "x"}, {"path": "a.png", "label": "y"}])
    table("words.csv", [{"path": "a.png", "label": "x", "split": "some"}])
    table("times.csv", [{"path": "a.mp4", "label": "x", "begin": "soon", "end": 3}])
    table("ends.csv", [{"path": "a.mp4", "label": "x", "begin": 3, "end": 1}])
    with pytest.raises(error, match=f"(?s){said}"):
        load(**keys)


def test_embed_then_run_uses_the_stores(tmp_path, monkeypatch):
    """As typed: both stores once; the run searches no picture and encodes nothing anew."""
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "p", ("happy", "sad", "angry", "fear"), each=5)
    save(tmp_path / "p" / "sad" / "tree.png", picture(faces=0))
    keys = ["perception", "data.root=p", "data.group=row", "data.prompts=a person looking {label}",
            f"left.encoder={ENCODER}", "right.encoder=hashing"]  # fmt: skip
    done = CliRunner().invoke(app, ["embed", *keys])
    assert done.exit_code == 0, done.output
    assert "1 of 21 pictures and frames show no face" in done.output
    assert SeenFaces.looked == 21
    encoded = []
    monkeypatch.setattr(SeenFaces, "encode", lambda self, values: encoded.append(values))
    run = pipeline.run(
        "perception", [*keys[1:], "train.epochs=2", "left.head.hidden=8", "evaluate.plots=false"], quiet=True
    )
    assert SeenFaces.looked == 21 and not encoded
    assert run.metrics["dataset"]["no_face"] == 1 and run.metrics["dataset"]["faces"] == 20
    assert run.search(id="sad/1.png", side="left", k=4)[0]["text"].startswith("a person looking")


def test_landmarks_as_files_need_no_model(tmp_path):
    """The whole way with numbers: perception vectors, one file a face, in folders of labels."""
    for number, label in enumerate(EMOTIONS[:4]):
        for k in range(8):
            path = tmp_path / "p" / label / f"person{k}" / "a.npy"
            path.parent.mkdir(parents=True)
            np.save(path, made_faces.vector(label, seed=number * 8 + k, person=k))
    keys = [
        f"data.root={tmp_path / 'p'}",
        "right.encoder=hashing",
        "train.epochs=2",
        "left.head.hidden=8",
        "evaluate.plots=false",
    ]
    run = pipeline.run("perception", keys, out=tmp_path / "run", quiet=True)
    assert run.metrics["dataset"]["group"] == "folder" and run.metrics["dataset"]["groups"] == 8
    for name, label in (("new1", "happy"), ("new2", "sad")):
        np.save(tmp_path / f"{name}.npy", made_faces.vector(label, seed=99, person=3))
    rows = [{"path": f"{name}.npy", "label": label} for name, label in (("new1", "happy"), ("new2", "sad"))]
    listed = table(tmp_path / "more.csv", rows)
    done = CliRunner().invoke(app, ["add", str(tmp_path / "run"), str(listed), "--side", "left"])
    assert done.exit_code == 0, done.output
    assert pipeline.open_run(tmp_path / "run").search(id="new1.npy", side="left", k=1)
    np.save(tmp_path / "p" / "angry" / "person1" / "b.npy", np.full((478, 3), np.nan))
    with pytest.raises(BadData, match="1 of 33 files cannot be used.*NaN"):
        pipeline.run("perception", keys, out=tmp_path / "run", quiet=True)
