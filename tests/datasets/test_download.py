"""Archives from a local server: resume, checksums, and zip files that mean harm."""

import hashlib
import http.server
import io
import json
import random
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import Server
from typer.testing import CliRunner

from sensorium import parts, progress
from sensorium.cli import app
from sensorium.datasets import _download, _unpack, emodb, ravdess, tess
from sensorium.errors import BadData, BadRecipe, Corrupt, SensoriumError


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.server.shutdown()
    server.server.server_close()


CONTENT = bytes(range(256)) * 40
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


def zipped(files: dict[str, bytes], folder: Path | None = None) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.files["a.bin"], server.breaks, server.ranges = CONTENT, 2, ranges
    path = _download.download(f"{server.url}/a.bin", tmp_path / "a.bin", MD5, wait=0.01)
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000-", "bytes=2000-" if ranges else "bytes=1000-"]
    assert list(tmp_path.iterdir()) == [path]
    _download.download(f"{server.url}/a.bin", path, MD5)
    assert len(server.asked) == 3  # what is there and whole is not fetched again


def test_a_slow_download_says_how_far_it_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    server.files["a.zip"] = bytes(3 << 20)
    monkeypatch.setattr(progress, "EVERY", 0.0)
    _download.download(
        f"{server.url}/a.zip", tmp_path / "a.zip", "md5:" + hashlib.md5(bytes(3 << 20)).hexdigest(), 0.01
    )
    assert "a.zip, MiB  1 of 3" in capsys.readouterr().err


def test_what_came_before_a_kill_is_used(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:5000])
    assert _download.download(f"{server.url}/a.bin", tmp_path / "a.bin", MD5).read_bytes() == CONTENT
    assert server.asked == ["bytes=5000-"]
    (tmp_path / "b.bin.part").write_bytes(CONTENT)  # all came, but it was not renamed any more
    server.files["b.bin"] = CONTENT
    assert _download.download(f"{server.url}/b.bin", tmp_path / "b.bin", MD5).read_bytes() == CONTENT


def test_a_beginning_of_another_version_is_thrown_away(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(b"x" * 5000)
    assert _download.download(f"{server.url}/a.bin", tmp_path / "a.bin", MD5).read_bytes() == CONTENT


def test_trouble_is_named(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT + b"tampered"
    with pytest.raises(Corrupt, match="expected md5:.*another mirror"):
        _download.download(f"{server.url}/a.bin", tmp_path / "a.bin", MD5)
    assert not any(tmp_path.iterdir())
    with pytest.raises(BadData, match="answered 404"):
        _download.download(f"{server.url}/nothing", tmp_path / "a.bin", MD5)
    server.status = 503
    with pytest.raises(BadData, match="answered 503; check the connection and run again"):
        _download.download(f"{server.url}/a.bin", tmp_path / "a.bin", MD5, wait=0.001)
    with pytest.raises(BadData, match="http:// or https://"):
        _download.download("file:///etc/passwd", tmp_path / "a.bin", MD5)
    with pytest.raises(BadData, match="expected md5"):
        _download.digest(__file__, "crc:1")


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "..\\out.txt", "C:/out.txt"])
def test_paths_that_lead_out(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({"good.txt": b"good", name: b"bad"}))
    with pytest.raises(BadData, match="leads out of the folder; nothing was unpacked"):
        _unpack.unpack(archive, tmp_path / "to")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_links_bombs_and_damage(tmp_path: Path) -> None:
    archive, to = tmp_path / "a.zip", tmp_path / "to"
    with zipfile.ZipFile(archive, "w") as packed:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    with pytest.raises(BadData, match="'link' is a link"):
        _unpack.unpack(archive, to)
    archive.write_bytes(zipped({"bomb": bytes(30_000_000)}))
    with pytest.raises(BadData, match="as bombs do"):
        _unpack.unpack(archive, to)
    archive.write_bytes(zipped({str(i): b"1" for i in range(9)}))
    with pytest.raises(BadData, match="holds 9 files of 9 bytes; at most 8"):
        _unpack.unpack(archive, to, max_files=8)
    with pytest.raises(BadData, match="at most 1000000 of 8"):
        _unpack.unpack(archive, to, max_bytes=8)
    whole = zipped({"a": CONTENT})
    for damaged in (whole[:100], b"no zip", whole[:60] + b"???" + whole[63:]):
        archive.write_bytes(damaged)
        with pytest.raises(Corrupt, match="not a whole zip file"):
            _unpack.unpack(archive, to)
    assert not to.exists()


def test_a_file_larger_than_it_says(tmp_path: Path) -> None:
    whole = zipped({"a": CONTENT})
    size = len(CONTENT).to_bytes(4, "little")
    lying = whole.replace(size, (100).to_bytes(4, "little"))
    (tmp_path / "a.zip").write_bytes(lying)
    with pytest.raises((BadData, Corrupt)):
        _unpack.unpack(tmp_path / "a.zip", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_the_download_step_of_ravdess(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"Actor_{a:02d}/03-01-0{e}-01-01-01-{a:02d}.wav" for a in range(1, 25) for e in (1, 5)]
    content = zipped(dict.fromkeys(names, b"sound is read later"))
    name = ravdess.ARCHIVES["speech"].name
    server.files[name], server.breaks = content, 1
    checksum = "sha256:" + hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(ravdess.ARCHIVES, "speech", ravdess.ARCHIVES["speech"]._replace(checksum=checksum))
    data = ravdess.Ravdess(str(tmp_path), download=True, mirror=server.url).load()
    assert len(data.left) == 48
    asked = len(server.asked)
    ravdess.Ravdess(str(tmp_path), download=True, mirror=server.url).load()
    assert len(server.asked) == asked  # what is there is left alone


def test_the_download_step_of_emodb_asks_the_record(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (archive,) = emodb.ARCHIVES
    content = zipped({"emodb/wav/03a01Fa.wav": b"sound is read later", "emodb/wav/08a01Wa.wav": b"and this"})
    server.files[archive.name], server.breaks = content, 1
    files = [
        {"key": "other.zip", "checksum": "md5:0"},
        {"key": archive.name, "checksum": "md5:" + hashlib.md5(content).hexdigest()},
    ]
    server.files["record"] = json.dumps({"files": files}).encode()
    made = _download.Archive(f"{server.url}/{archive.name}", f"{server.url}/record")
    monkeypatch.setattr(_download, "_TRIES", 2)
    assert _download.obtain([made], tmp_path / "data", wait=0.001) == [tmp_path / "data" / "emodb"]
    assert len(parts.make("datasets", {"name": "emodb", "root": str(tmp_path / "data")}).load().left) == 2
    for record in (b"{}", b"no json", json.dumps({"files": files[:1]}).encode()):
        server.files["record"] = record
        with pytest.raises(BadData, match="does not say what emodb.zip should be"):
            _download.published(made)
    with pytest.raises(BadData, match="check the connection"):
        _download.published(made._replace(checksum=f"{server.url}/nothing"))


def test_the_verb_verifies_what_it_downloads(server: Server, tmp_path: Path) -> None:
    content = zipped({"OAF_angry/OAF_back_angry.wav": b"sound is read later"})
    (archive,) = tess.ARCHIVES
    server.files[archive.name] = content
    words = ["download", "ravdess", "data=tess", f"data.root={tmp_path / 'to'}", f"data.mirror={server.url}", "--json"]
    with pytest.raises(Corrupt, match="expected md5:1465311b"):  # what lies there is not what its publisher put up
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert not (tmp_path / "to" / "TESS_Toronto_emotional_speech_set").exists()


@pytest.mark.parametrize(
    ("name", "where"), [("cremad", "git lfs clone https://github.com/"), ("savee", "register at http")]
)
def test_what_only_people_may_fetch_says_where(name: str, where: str, tmp_path: Path) -> None:
    data = [f"data={name}", f"data.root={tmp_path}"]
    for words in (["download", "ravdess", *data], ["run", "ravdess", *data, "data.download=true"]):
        with pytest.raises(BadRecipe, match=f"no public archive that can be fetched: .*{where}"):
            CliRunner().invoke(app, [*words], catch_exceptions=False)
    with pytest.raises(BadRecipe, match="'arrays' has nothing to fetch"):
        CliRunner().invoke(
            app, ["download", "arrays", "data.file=x.npz", "data.left=a", "data.right=b"], catch_exceptions=False
        )


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadData, match="is a file; type: data.root=FOLDER"):
        parts.make("datasets", {"name": "ravdess", "root": str(tmp_path / "file")}).obtain()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "said"),
    [(["a", "a"], "stands there twice"), (["a", "a/b"], "as a file and as a folder"),
     (["a/b", "a"], "as a file and as a folder"), (["x" * 300], "longer name than a file can have")],
)  # fmt: skip
def test_names_that_cannot_all_be(tmp_path: Path, names: list[str], said: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"sound")
    with pytest.raises(BadData, match=f"{said}.*; nothing was unpacked"):
        _unpack.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_an_answer_in_pieces_that_ends_early(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a length, as servers send what they pack anew: a cut is noticed, and the file is asked for again."""
    whole = Server.answer

    def answer(self: Server, request: http.server.BaseHTTPRequestHandler) -> None:
        if self.asked:
            whole(self, request)
            return
        self.asked.append(None)
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"1000\r\n" + CONTENT[:100])
        request.close_connection = True

    monkeypatch.setattr(Server, "answer", answer)
    server.files["a.zip"] = CONTENT
    assert _download.download(f"{server.url}/a.zip", tmp_path / "a.zip", MD5, 0.01).read_bytes() == CONTENT


def test_a_redirect_to_another_scheme_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Server.answer

    def answer(self: Server, request: http.server.BaseHTTPRequestHandler) -> None:
        if "=" not in request.path:
            whole(self, request)
            return
        request.send_response(302)
        request.send_header("Location", request.path.partition("=")[2])
        request.end_headers()

    monkeypatch.setattr(Server, "answer", answer)
    server.files["a.bin"] = CONTENT
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/a.bin", "gopher://x", "data:text/plain,x"):
        with pytest.raises(BadData, match=f"(redirects to|[Rr]edirection to url) '{target}"):
            _download.download(f"{server.url}/to={target}", tmp_path / "a.bin", MD5, 0.001)
    assert not any(tmp_path.iterdir())
    found = _download.download(f"{server.url}/to={server.url}/a.bin", tmp_path / "a.bin", MD5, 0.001)
    assert found.read_bytes() == CONTENT
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(BadData, match="expected https://"):
        _download._Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_limits_of_size_and_time(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["a.bin"] = CONTENT
    monkeypatch.setattr(_download, "MAX_BYTES", len(CONTENT) - 1)
    with pytest.raises(BadData, match=f"has {len(CONTENT)} bytes; at most {len(CONTENT) - 1} are downloaded"):
        _download.download(f"{server.url}/a.bin", tmp_path / "a.bin", MD5, 0.001)
    whole = Server.answer

    def answer(self: Server, request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)  # and no length
        request.end_headers()
        for at in range(0, len(CONTENT), 1000):
            request.wfile.write(CONTENT[at : at + 1000])
            time.sleep(0.01)

    monkeypatch.setattr(Server, "answer", answer)
    with pytest.raises(BadData, match="sends more than the"):
        _download.download(f"{server.url}/a.bin", tmp_path / "a.bin", MD5, 0.001)
    monkeypatch.setattr(_download, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(_download, "MAX_SECONDS", 0.03)
    with pytest.raises(BadData, match="bytes came within 0 s; run again to go on"):
        _download.download(f"{server.url}/b.bin", tmp_path / "b.bin", MD5, 0.001)
    assert whole is not answer and (tmp_path / "b.bin.part").stat().st_size > 0


def test_a_zip_file_of_too_many_members(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({f"{i}.wav": b"" for i in range(20)}))
    with pytest.raises(BadData, match="holds 20 files of 0 bytes; at most 19 of"):
        _unpack.unpack(tmp_path / "a.zip", tmp_path / "out", max_files=19)
    assert not (tmp_path / "out").exists()


def test_mutated_zip_files_are_unpacked_or_refused(tmp_path: Path) -> None:
    whole = zipped({"a/b.wav": CONTENT, "a/c.wav": bytes(3000), "d.txt": b"text"})
    chance = random.Random(0)
    for i in range(150):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(content))
            if chance.random() < 0.2:
                del content[at : at + chance.randint(1, 60)]
            else:
                content[at] = chance.choice([0, 255, chance.randrange(256), content[at] ^ 1 << chance.randrange(8)])
        (tmp_path / "a.zip").write_bytes(content)
        try:
            _unpack.unpack(tmp_path / "a.zip", tmp_path / "out" / str(i))
        except SensoriumError:
            assert not (tmp_path / "out" / str(i)).exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"a.zip", "out"}
