"""7z files: whole, cut short, damaged, and made to do harm."""

import io
import random
from pathlib import Path

import pytest

from sensorium.datasets import _unpack
from sensorium.errors import BadData, Corrupt, MissingExtra

py7zr = pytest.importorskip("py7zr", reason="to run this, type: pip install 'sensorium[clotho]'")
FILES = {"development/a.wav": bytes(range(256)) * 300, "development/ b é.wav": b"x" * 5000, "development/in/c.wav": b""}


def packed(path: Path, files: dict[str, bytes], link: str = "") -> Path:
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writef(io.BytesIO(content), name)
        if link:
            (path.parent / "link").symlink_to(link)
            archive.write(path.parent / "link", "link")
            (path.parent / "link").unlink()
    return path


def renamed(path: Path, old: str, new: str) -> Path:
    """The archive with another name of the same length in its header, and the header's checksums made right again."""
    import struct
    import zlib

    content = bytearray(path.read_bytes())
    offset, size, _ = struct.unpack_from("<QQI", content, 12)
    header = bytes(content[32 + offset : 32 + offset + size]).replace(old.encode("utf-16le"), new.encode("utf-16le"))
    content[32 + offset : 32 + offset + size] = header
    struct.pack_into("<I", content, 28, zlib.crc32(header))
    struct.pack_into("<I", content, 8, zlib.crc32(bytes(content[12:32])))
    path.write_bytes(content)
    return path


def plain(path: Path, files: dict[str, bytes]) -> Path:
    """An archive whose header is not compressed, so that it can be changed."""
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.set_encoded_header_mode(False)
        for name, content in files.items():
            archive.writef(io.BytesIO(content), name)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_7z_file_is_unpacked_whole_with_or_without_its_top_folder(tmp_path):
    archive = packed(tmp_path / "a.7z", FILES)
    _unpack.unpack(archive, tmp_path / "to")
    assert contents(tmp_path / "to") == FILES
    _unpack.unpack(archive, tmp_path / "inner", top="development")
    assert contents(tmp_path / "inner") == {name.partition("/")[2]: content for name, content in FILES.items()}
    _unpack.unpack(archive, tmp_path / "other", top="evaluation")
    assert contents(tmp_path / "other") == FILES


@pytest.mark.parametrize("name", ["../out.wav", "/x/out.wav", "a/../../o.wav", "..\\out.wav", "C:/out.wav"])
def test_names_that_lead_out_of_the_folder_are_refused_before_anything_is_written(tmp_path, name):
    archive = renamed(plain(tmp_path / "a.7z", {"good.wav": b"1", "Q" * len(name): b"2"}), "Q" * len(name), name)
    with pytest.raises(BadData, match="leads out of the folder; nothing was unpacked"):
        _unpack.unpack(archive, tmp_path / "to")
    assert [p.name for p in tmp_path.iterdir()] == ["a.7z"]


def test_links_bombs_limits_repeated_names_and_passwords(tmp_path):
    to = tmp_path / "to"
    with pytest.raises(BadData, match="'link' is a link; nothing was unpacked"):
        _unpack.unpack(packed(tmp_path / "l.7z", {}, link="/etc"), to)
    with pytest.raises(BadData, match="as bombs do; nothing was unpacked"):
        _unpack.unpack(packed(tmp_path / "b.7z", {"zeros": bytes(30_000_000)}), to)
    many = packed(tmp_path / "m.7z", {str(i): b"1" for i in range(9)})
    with pytest.raises(BadData, match="holds 9 files of 9 bytes; at most 8"):
        _unpack.unpack(many, to, max_files=8)
    with pytest.raises(BadData, match="at most 1000000 of 8 are unpacked"):
        _unpack.unpack(many, to, max_bytes=8)
    twice = renamed(plain(tmp_path / "t.7z", {"aa": b"1", "bb": b"2"}), "bb", "aa")
    with pytest.raises(BadData, match="'aa' stands there twice"):
        _unpack.unpack(twice, to)
    both = renamed(plain(tmp_path / "f.7z", {"aa": b"1", "bb/c": b"2"}), "bb/c", "aa/c")
    with pytest.raises(BadData, match="as a file and as a folder; nothing was unpacked"):
        _unpack.unpack(both, to)
    with py7zr.SevenZipFile(tmp_path / "p.7z", "w", password="secret") as archive:
        archive.writef(io.BytesIO(b"1"), "a")
    with pytest.raises(BadData, match="is encrypted"):
        _unpack.unpack(tmp_path / "p.7z", to)
    assert not to.exists()


def test_cut_short_or_damaged_anywhere_it_is_corrupt_and_nothing_is_left(tmp_path):
    noise = random.Random(0).randbytes(20_000)
    whole = packed(tmp_path / "a.7z", {"a.wav": noise, "b.wav": noise[::-1]}).read_bytes()
    rng = random.Random(1)
    damaged = [whole[:n] for n in (0, 5, 31, 100, len(whole) // 2, len(whole) - 1)]
    for _ in range(25):
        at = rng.randrange(6, len(whole))
        damaged.append(whole[:at] + bytes([whole[at] ^ (1 + rng.randrange(255))]) + whole[at + 1 :])
    refused = 0
    for content in damaged:
        (tmp_path / "a.7z").write_bytes(content)
        try:
            _unpack.unpack(tmp_path / "a.7z", tmp_path / "to")
        except (Corrupt, BadData) as error:
            refused += "a.7z" in str(error)
            assert not (tmp_path / "to").exists()
        else:  # a byte that says nothing of the files, such as of a time
            assert contents(tmp_path / "to") == {"a.wav": noise, "b.wav": noise[::-1]}
            for path in (tmp_path / "to").iterdir():
                path.unlink()
            (tmp_path / "to").rmdir()
    assert refused >= 25 and [p.name for p in tmp_path.iterdir()] == ["a.7z"]


def test_without_py7zr_the_line_that_installs_it_is_shown(tmp_path, monkeypatch):
    archive = packed(tmp_path / "a.7z", {"a": b"1"})
    monkeypatch.setitem(__import__("sys").modules, "py7zr", None)
    with pytest.raises(MissingExtra, match=r"'py7zr' is not installed; type: pip install 'sensorium\[clotho\]'"):
        _unpack.unpack(archive, tmp_path / "to")
