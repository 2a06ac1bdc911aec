"""A run taken elsewhere: its media in it, no path of this machine, every byte checked, no code executed unasked."""

import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import processes
import pytest

import sensorium
from sensorium.errors import BadData, BadRecipe, Corrupt, SensoriumError
from sensorium.search import media, packing, unpacking
from sensorium.search.run import open as open_run

Image = pytest.importorskip("PIL.Image", reason="type: pip install 'sensorium[image]'")
KEYS = ["objective=ridge", "evaluate.plots=false", "evaluate.resamples=20", "evaluate.baselines=[]",
        "left.head=linear", "right.head=linear"]  # fmt: skip
SECRET = "author-of-this"  # a folder name that no pack may hold


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """An author's folder: pictures of 700 × 600 in a sub-folder, and a table of them."""
    folder = tmp_path_factory.mktemp(SECRET)
    (folder / "pictures").mkdir()
    rows, dice = ["file,caption,shade"], np.random.default_rng(0)
    for i in range(60):
        blocks = np.where(dice.random((6, 7)) < 0.4, i * 2, 255).astype(np.uint8)
        blocks[2:4, 3] = 0, 255
        pixels = np.kron(blocks, np.ones((100, 100), np.uint8))
        Image.fromarray(pixels).save(folder / "pictures" / f"p{i}.jpg")
        rows.append(f"pictures/p{i}.jpg,stripes of width {i % 7} and shade {i},{i}")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder


def made(home: Path, out: Path, *keys: str):
    table = [f"data.file={home / 'table.csv'}", "data.left=file", "data.right=caption", "left.encoder=hog",
             "right.encoder=hashing"]  # fmt: skip
    return sensorium.run("pairs", [*table, *KEYS, *keys], out=out, quiet=True)


@pytest.fixture(scope="module")
def linked(home):
    """A run whose media are paths of the author's own files."""
    return made(home, home / "runs" / "stripes").folder


def names_in(archive: Path) -> list[str]:
    """Files of a pack, unpacked byte for byte, that name the author's folder, home or the working folder."""
    told = [SECRET, str(Path.home()) + "/", str(Path.cwd())]
    found = []
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            content = file.read(name)
            if name.endswith(".parquet"):
                import pyarrow.parquet as pq

                content = str(pq.read_table(io.BytesIO(content)).to_pydict()).encode()
            found += [f"{name}: {one}" for one in told if one.encode() in content]
    return found


def test_a_pack_shows_its_pictures_elsewhere_and_names_no_folder(home, linked, tmp_path):
    told = packing.pack(linked, tmp_path / "stripes.zip")
    assert (told["media"], told["code"], "media_lost" in told, "named" in told) == (60, [], False, False)
    assert names_in(tmp_path / "stripes.zip") == []
    before = open_run(linked)
    hits = before.search(text="stripes of width 3 and shade 24", k=5)
    elsewhere = tmp_path / "other machine" / "run"
    assert unpacking.unpack(tmp_path / "stripes.zip", elsewhere)["files"] == told["files"]
    moved = home.with_name("gone")
    home.rename(moved)  # the other machine has none of the author's files
    try:
        run = sensorium.open(elsewhere)
        assert run.search(text="stripes of width 3 and shade 24", k=5) == hits
        stored = media.open(elsewhere, "left")
        kind, content = stored.get("pictures/p24.jpg")
        picture = Image.open(io.BytesIO(content))
        assert (kind, picture.format, picture.size) == ("image/webp", "WEBP", (512, 439))
        original = Image.open(moved / "pictures" / "p24.jpg").resize(picture.size)
        assert np.abs(np.asarray(picture.convert("L"), float) - np.asarray(original, float)).mean() < 12
        assert len(content) < (moved / "pictures" / "p24.jpg").stat().st_size
        assert sensorium.open(tmp_path / "stripes.zip").search(text="stripes of width 3 and shade 24", k=5) == hits
        with pytest.raises(BadData, match=r"stripes.zip is a packed run; type: sensorium unpack"):
            open_run(tmp_path / "stripes.zip")
        again = packing.pack(elsewhere, tmp_path / "again.zip")
        assert again["media"] == 60 and names_in(tmp_path / "again.zip") == []
    finally:
        moved.rename(home)


def test_a_run_with_media_pack_travels_as_a_folder_and_is_indexed_again(home, tmp_path):
    run = made(home, tmp_path / "here" / "run", "media=pack")
    assert run.recipe.media == "pack"
    record = json.loads((run.folder / "media" / "left.json").read_text())
    assert record["root"] is None and record["type"] == "image/webp"
    shutil.copytree(run.folder, tmp_path / "there")
    assert media.open(tmp_path / "there", "left").get("pictures/p7.jpg")[0] == "image/webp"
    assert packing.pack(run.folder, tmp_path / "x.zip")["media"] == 60 and names_in(tmp_path / "x.zip") == []
    again = sensorium.pipeline.index_again(run.folder, ["media=paths"], quiet=True)
    assert media.open(again.folder, "left").get("pictures/p7.jpg")[1] == home / "pictures" / "p7.jpg"
    with pytest.raises(BadRecipe, match="media='zip'; expected paths or pack"):
        made(home, tmp_path / "no", "media=zip")


def test_sounds_become_mp3_of_thirty_seconds_at_most(tmp_path):
    sf = pytest.importorskip("soundfile")
    from sensorium.search import copies

    t = np.arange(45 * 44_100) / 44_100
    content = copies.sound((0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), 44_100)
    samples, rate = sf.read(io.BytesIO(content))
    assert rate == 24_000 and abs(len(samples) / rate - 30) < 0.2 and len(content) < 400_000
    spectrum = np.abs(np.fft.rfft(samples[24_000:48_000]))
    assert abs(int(spectrum.argmax()) - 440) <= 1


def test_pictures_that_are_gone_are_counted_and_live_items_travel(home, linked, tmp_path):
    shutil.copytree(linked, tmp_path / "run")
    from sensorium.search import adding
    from sensorium.types import Items, as_ids

    adding.add(open_run(tmp_path / "run"), "right", Items(as_ids(["mine"]), ["my own words"], "text"))
    (home / "pictures" / "p3.jpg").rename(home / "aside.jpg")
    try:
        told = packing.pack(tmp_path / "run", tmp_path / "run.zip")
    finally:
        (home / "aside.jpg").rename(home / "pictures" / "p3.jpg")
    assert told["media"] == 59 and told["media_lost"] == 1
    run = sensorium.open(tmp_path / "run.zip")
    place = run.folder
    assert run.search(text="my own words", side="right", to="right", k=1)[0]["id"] == "mine"
    del run
    assert not place.exists(), "the temporary folder ends with the run"


CODE = """
from pathlib import Path
from sensorium.contracts import Encoder
import numpy as np
Path({mark!r}).touch()

class Vowels(Encoder):
    takes, dim = "text", 6
    fingerprint = {{"name": "vowels"}}
    def encode(self, values):
        return np.array([[1 + text.count(v) for v in "aeiou "] for text in values], np.float32).reshape(-1, 6)
"""


def test_parts_from_outside_travel_when_asked_and_run_when_allowed(home, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    parts, mark = home / "parts", tmp_path / "executed"
    parts.mkdir(exist_ok=True)
    (parts / "vowels.py").write_text(CODE.format(mark=str(mark)))
    run = made(home, tmp_path / "run", f"right.encoder={parts / 'vowels.py'}:Vowels")
    without = packing.pack(run.folder, tmp_path / "without.zip")
    sha = subprocess.run(["sha256sum", parts / "vowels.py"], capture_output=True, text=True).stdout.split()[0]
    assert without["code"] == [{"name": "vowels.py:Vowels", "sha256": sha, "file": None}]
    assert names_in(tmp_path / "without.zip") == []
    told = packing.pack(run.folder, tmp_path / "with.zip", with_code=True)
    assert told["code"] == [{"name": "vowels.py:Vowels", "sha256": sha, "file": "code/vowels.py"}]
    assert names_in(tmp_path / "with.zip") == []
    mark.unlink()
    shutil.move(parts, tmp_path / "hidden")
    script = f"""
import sensorium
from sensorium.errors import SensoriumError, Untrusted
from sensorium.search import unpacking
told = unpacking.unpack({str(tmp_path / "with.zip")!r}, {str(tmp_path / "there")!r})
print(unpacking.needs(told["code"], {str(tmp_path / "there")!r}))
try:
    sensorium.open({str(tmp_path / "there")!r})
except Untrusted as error:
    print("refused", error)
import os
assert not os.path.exists({str(mark)!r}), "nothing was executed"
print(sensorium.open({str(tmp_path / "there")!r}, trust=True).search(text="stripes", k=1)[0]["rank"])
assert os.path.exists({str(mark)!r})
unpacking.unpack({str(tmp_path / "without.zip")!r}, {str(tmp_path / "alone")!r})
try:
    sensorium.open({str(tmp_path / "alone")!r}, trust=True)
except SensoriumError as error:
    print("alone", error)
"""
    done = processes.run(code=script, text=True, cwd=tmp_path)
    shutil.move(tmp_path / "hidden", parts)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert f"vowels.py:Vowels (sha256 {sha}); read " in lines[0] and "--trust" in lines[0]
    assert lines[1].startswith("refused") and sha in lines[1] and str(tmp_path / "there" / "code") in lines[1]
    assert lines[2] == "1" and "vowels.py" in lines[3]


@pytest.fixture(scope="module")
def archive(linked, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "run.zip"
    packing.pack(linked, path)
    return path


def rewritten(archive: Path, to: Path, change) -> Path:
    """A copy of a pack whose entries went through a function of {name: bytes}."""
    with zipfile.ZipFile(archive) as file:
        content = {name: file.read(name) for name in file.namelist()}
    entries = change(content) or content
    with zipfile.ZipFile(to, "w") as file:
        for name, data in entries.items() if isinstance(entries, dict) else entries:
            file.writestr(name, data)
    return to


def slipped(name):
    return lambda content: {**content, name: b"x"}


def link(content):
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16
    return [*content.items(), (entry, b"/etc/passwd")]


def listed_as_well(name):
    def change(content):
        manifest = json.loads(content["pack.json"])
        manifest["files"][name] = {"bytes": 1, "sha256": "0"}
        return {**content, "pack.json": json.dumps(manifest).encode(), name: b"x"}

    return change


def bomb(content):
    manifest = json.loads(content["pack.json"])
    manifest["files"]["README.md"]["bytes"] = 1 << 60
    return {**content, "pack.json": json.dumps(manifest).encode()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (slipped("../outside"), "holds '../outside', which is no file inside of a run"),
        (listed_as_well("../outside"), "holds '../outside', which is no file inside of a run"),
        (listed_as_well("/outside"), "holds '/outside', which is no file inside of a run"),
        (listed_as_well("a/../../outside"), "which is no file inside of a run"),
        (listed_as_well("..\\outside"), "which is no file inside of a run"),
        (listed_as_well("c:outside"), "which is no file inside of a run"),
        (listed_as_well(".lock"), "which is no file inside of a run"),
        (link, "holds 'link', which is no file inside of a run"),
        (slipped("more.txt"), "does not hold the files of its own list, such as 'more.txt'"),
        (lambda content: {k: v for k, v in content.items() if k != "README.md"}, "such as 'README.md'"),
        (lambda content: {**content, "README.md": b"other"}, "'README.md' is damaged"),
        (lambda content: {**content, "README.md": content["README.md"] + b"x" * 100}, "'README.md' is damaged"),
        (bomb, "bytes do not fit on the disk; nothing was written"),
        (lambda content: {"a.txt": b"a"}, "is no packed run"),
        (lambda content: {"pack.json": b'{"format": 9, "files": {}, "code": []}'}, "is no packed run of format 1"),
    ],
)
def test_a_hostile_or_damaged_pack_is_refused_and_leaves_nothing(archive, tmp_path, change, says):
    bad = rewritten(archive, tmp_path / "bad.zip", change)
    with pytest.raises(SensoriumError, match=says):
        unpacking.unpack(bad, tmp_path / "place" / "run")
    assert not (tmp_path / "place" / "run").exists() and not (tmp_path / "outside").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) in (["bad.zip"], ["bad.zip", "place"])
    assert not list((tmp_path / "place").glob("*")), "nothing is left"


def test_any_damaged_byte_is_refused(archive, tmp_path):
    whole, dice = archive.read_bytes(), np.random.default_rng(0)
    for _ in range(10):
        content = bytearray(whole)
        content[int(dice.integers(len(content)))] ^= 1 << int(dice.integers(8))
        (tmp_path / "bad.zip").write_bytes(content)
        try:
            unpacking.unpack(tmp_path / "bad.zip", tmp_path / "run")
        except Corrupt:
            assert not (tmp_path / "run").exists()
        else:  # a time or an attribute of the zip file itself: the files are those of the list
            assert open_run(tmp_path / "run").search(text="stripes", k=1)
            shutil.rmtree(tmp_path / "run")
    (tmp_path / "bad.zip").write_bytes(whole[:-100])
    with pytest.raises(Corrupt):
        unpacking.unpack(tmp_path / "bad.zip", tmp_path / "run")


def test_where_packs_are_written_and_unpacked(archive, linked, tmp_path):
    with pytest.raises(BadRecipe, match="--out .*run.tar; expected a file that ends in .zip"):
        packing.pack(linked, tmp_path / "run.tar")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("keep")
    with pytest.raises(BadRecipe, match="is there already; choose another folder with --out"):
        unpacking.unpack(archive, tmp_path / "there")
    with pytest.raises(BadRecipe, match="no file .*none.zip"):
        unpacking.unpack(tmp_path / "none.zip")
    assert packing.pack(linked, tmp_path / "a.zip")["bytes"] == (tmp_path / "a.zip").stat().st_size
    packing.pack(linked, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes(), "equal runs make equal packs"


@pytest.mark.slow
def test_ids_that_are_paths_of_this_machine_are_named(home, tmp_path):
    table = (home / "table.csv").read_text().replace("pictures/", f"{home}/pictures/")
    (home / "absolute.csv").write_text(table)
    keys = [f"data.file={home / 'absolute.csv'}", "data.left=file", "data.right=caption", "left.encoder=hog",
            "right.encoder=hashing"]  # fmt: skip
    run = sensorium.run("pairs", [*keys, *KEYS], out=tmp_path / "run", quiet=True)
    assert "index/left/items.parquet" in packing.pack(run.folder, tmp_path / "run.zip")["named"]
