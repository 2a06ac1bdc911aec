"""Folders of recordings as disks have them: hidden ones, Unicode forms, Git LFS pointers, closed ones, odd names."""

import contextlib
import os
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sensorium.datasets.cremad import Cremad
from sensorium.datasets.ravdess import Ravdess
from sensorium.datasets.speech_folder import SpeechFolder
from sensorium.errors import BadData, SensoriumError
from sensorium.modalities import walk
from sensorium.search import media

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
HIDDEN = [
    ".ipynb_checkpoints",
    ".Trash-1000/files",
    ".git",
    "@eaDir",
    "__MACOSX",
    "#recycle",
    "$RECYCLE.BIN",
    "$Recycle.Bin",
    "@Recycle",
    "#snapshot",
    "@tmp",
    ".hidden",
]


def put(path: Path, content: bytes | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        soundfile.write(path, np.zeros(80, np.float32), 8000)
    else:
        path.write_bytes(content)


def test_hidden_folders_are_no_emotions_and_take_no_place(tmp_path: Path) -> None:
    for emotion in ("happy", "angry"):
        put(tmp_path / "s" / emotion / "a" / "1.wav")
    for actor in ("01", "02"):
        put(tmp_path / "r" / f"Actor_{actor}" / f"03-01-03-01-01-01-{actor}.wav")
    for folder in HIDDEN:
        put(tmp_path / "s" / folder / "1-checkpoint.wav")
        put(tmp_path / "s" / "happy" / folder / "1.wav")
        put(tmp_path / "r" / folder / "03-01-03-01-01-01-01.wav")
        put(tmp_path / "r" / folder / "03-01-08-01-01-01-02.wav")
    put(tmp_path / "s" / "happy" / "a" / "._1.wav", b"resource fork")
    data = SpeechFolder(root=str(tmp_path / "s")).load()
    assert data.right.ids.tolist() == ["happy", "angry"] and len(data.left) == 2
    data = Ravdess(root=str(tmp_path / "r"), protocol="leaky-random").load()
    assert data.left.ids.tolist() == [f"Actor_{a}/03-01-03-01-01-01-{a}.wav" for a in ("01", "02")]
    # A root that is hidden itself is what was asked for.
    put(tmp_path / ".cache" / "happy" / "a" / "1.wav")
    assert len(SpeechFolder(root=str(tmp_path / ".cache")).load().left) == 1


def test_two_unicode_forms_of_a_word_are_one_class(tmp_path: Path) -> None:
    for form, clip in (("NFC", "1"), ("NFD", "2")):
        put(
            tmp_path
            / "n"
            / unicodedata.normalize(form, "fröhlich")
            / unicodedata.normalize(form, "Zoë")
            / f"{clip}.wav"
        )
    data = SpeechFolder(root=str(tmp_path / "n"), classes=[unicodedata.normalize("NFD", "fröhlich")]).load()
    assert data.right.ids.tolist() == ["fröhlich"] and len(data.left) == 2
    assert set(data.left.meta["speaker"].tolist()) == {"Zoë"}
    assert all(unicodedata.is_normalized("NFC", one) for one in data.left.ids.tolist())
    # The same path in both forms: ids stay apart.
    for form in ("NFC", "NFD"):
        put(tmp_path / "m" / unicodedata.normalize(form, "fröhlich") / "a" / "1.wav")
    assert len(SpeechFolder(root=str(tmp_path / "m")).load().left) == 2


def test_a_table_may_write_names_in_the_other_form(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "höflich.wav")
    put(tmp_path / name)
    put(tmp_path / "b.wav")
    table = tmp_path / "t.csv"
    rows = f"path,emotion,speaker\n{unicodedata.normalize('NFC', name)},fröhlich,a\n"
    table.write_text(rows + f"b.wav,{unicodedata.normalize('NFD', 'fröhlich')},b\n", "utf-8")
    data = SpeechFolder(csv=str(table), test_actors=[unicodedata.normalize("NFD", "a")]).load()
    assert data.right.ids.tolist() == ["fröhlich"] and Path(data.left.values[0]).is_file()


def test_a_pointer_never_stands_for_the_sound_beside_it(tmp_path: Path) -> None:
    put(tmp_path / "c" / "AudioWAV" / "1001_DFA_ANG_XX.wav")
    put(tmp_path / "c" / "AudioMP3" / "1001_DFA_ANG_XX.mp3", POINTER)
    for bad in ("stop", "skip"):
        data = Cremad(root=str(tmp_path / "c"), bad=bad).load()
        assert data.left.ids.tolist() == ["AudioWAV/1001_DFA_ANG_XX.wav"] and data.notes["lfs_pointers"] == 1
    put(tmp_path / "c" / "AudioWAV" / "1002_DFA_ANG_XX.wav", POINTER)
    with pytest.raises(BadData, match=r"1 recordings are Git LFS pointers .* type: git lfs pull, or .*bad=skip"):
        Cremad(root=str(tmp_path / "c")).load()
    data = Cremad(root=str(tmp_path / "c"), bad="skip").load()
    assert len(data.left) == 1 and data.notes["lfs_pointers"] == 2
    put(tmp_path / "f" / "happy" / "1.wav", POINTER)
    put(tmp_path / "f" / "happy" / "2.wav")
    with pytest.raises(BadData, match="git lfs pull"):
        SpeechFolder(root=str(tmp_path / "f")).load()
    assert SpeechFolder(root=str(tmp_path / "f"), bad="skip").load().notes["lfs_pointers"] == 1
    put(tmp_path / "p" / "1001_DFA_ANG_XX.wav", POINTER)
    with pytest.raises(BadData, match="git lfs pull"):
        Cremad(root=str(tmp_path / "p"), bad="skip").load()


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder with three clips, one of them in a folder that may not be entered."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        root = Path(folder)
        for clip in ("happy/a/1", "happy/b/1", "sad/a/1"):
            put(root / f"{clip}.wav")
        os.chmod(root, 0o755)
        os.chmod(root / "happy/b", 0)
        user = os.geteuid()
        try:
            if user == 0:  # who may enter everything
                os.seteuid(65534)
            yield root
        finally:
            os.seteuid(user)
            os.chmod(root / "happy/b", 0o755)


def test_a_folder_that_may_not_be_entered_is_reported(closed: Path) -> None:
    with pytest.raises(BadData, match=r"1 of its folders may not be entered, such as .*happy/b; .*data.bad=skip"):
        SpeechFolder(root=str(closed)).load()
    data = SpeechFolder(root=str(closed), bad="skip").load()
    assert len(data.left) == 2 and data.notes["folders_unreadable"] == 1
    assert data.notes["folders_unreadable_such_as"] == [f"{closed}/happy/b"]


def test_names_that_are_not_utf8_are_read(tmp_path: Path) -> None:
    put(tmp_path / "happy" / "a" / "1.wav")
    put(tmp_path / "happy" / "a" / "2.wav")
    os.rename(tmp_path / "happy/a/1.wav", os.fsencode(tmp_path) + b"/happy/a/caf\xe9.wav")
    os.rename(tmp_path / "happy", os.fsencode(tmp_path) + b"/fr\xf6hlich")
    data = SpeechFolder(root=str(tmp_path), bad="skip").load()
    assert data.left.ids.tolist() == [r"fr\xf6hlich/a/2.wav", r"fr\xf6hlich/a/caf\xe9.wav"]
    assert data.right.ids.tolist() == [r"fr\xf6hlich"]
    media.build(data.left, np.arange(2), tmp_path / "run", "left")
    shown = media.open(tmp_path / "run", "left")
    assert r"fr\xf6hlich/a/caf\xe9.wav" not in shown  # it cannot be written into the table of media


def test_links_and_loops(tmp_path: Path) -> None:
    put(tmp_path / "happy" / "a" / "1.wav")
    (tmp_path / "happy" / "loop").symlink_to(tmp_path / "happy")
    (tmp_path / "happy" / "a" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    found = walk.files_below(tmp_path, {".wav"})
    assert [path.name for path in found.paths] == ["1.wav"] and [path.name for path in found.broken] == ["gone.wav"]
    assert found.notes() == {"links_broken": 1, "links_broken_such_as": [f"{tmp_path}/happy/a/gone.wav"]}


def test_tables_of_other_encodings_and_long_fields(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / f"{name}.wav")
    text = "path,emotion,speaker,caption\na.wav,fröhlich,x,short\nb.wav,sad,y," + "w" * 200_000 + "\n"
    table = tmp_path / "t.csv"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        table.write_text(text, encoding)
        data = SpeechFolder(csv=str(table)).load()
        assert data.right.ids.tolist() == ["sad", "fröhlich"] and len(str(data.left.meta["caption"][1])) == 200_000
    table.write_text(text, "cp1252")
    with pytest.raises(BadData, match=r"t.csv is not UTF-8 \(line 2, byte 0xf6\); save it as 'CSV UTF-8'"):
        SpeechFolder(csv=str(table)).load()
    table.write_bytes(text.encode("utf-16-le"))  # without its mark
    with pytest.raises(BadData, match="no column 'path'|is not UTF-8"):
        SpeechFolder(csv=str(table)).load()
    table.write_bytes(b"path,emotion\na.wav,\xed\xa0\x80\n")  # a lone surrogate
    with pytest.raises(BadData, match="is not UTF-8"):
        SpeechFolder(csv=str(table)).load()


def test_mutated_tables_are_read_or_refused(tmp_path: Path) -> None:
    import random

    put(tmp_path / "a.wav")
    whole = 'path,emotion,speaker,split\na.wav,"glad, or so",Zoë,train\na.wav,sad,b,test\n'.encode()
    chance, table = random.Random(0), tmp_path / "t.csv"
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(content))
            if chance.random() < 0.2:
                del content[at : at + chance.randint(1, 9)]
            else:
                content[at] = chance.choice([0, 10, 13, 34, 44, 255, chance.randrange(256)])
        table.write_bytes(content)
        with contextlib.suppress(SensoriumError):
            SpeechFolder(csv=str(table)).load()
