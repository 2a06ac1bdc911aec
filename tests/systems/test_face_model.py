"""The landmark model for browsers: which places are taken, what is refused, and the policy it is served with."""

import tarfile

import pytest
from served import client_of, problem

from sensorium.errors import BadData
from sensorium.serve import Settings, create_app
from sensorium.systems.perception import model_files


def package(folder, leave_out=()):
    """The files of the package by name, each with its own name as content."""
    folder.mkdir(parents=True)
    for name in model_files.FILES:
        if name not in leave_out:
            (folder / name).write_text(name)
    return folder


def packed(folder, path):
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, f"package/{file.name}")
    return path


@pytest.mark.parametrize("inside", model_files.INSIDE)
def test_the_files_are_found_in_a_folder_and_in_those_that_npm_makes(tmp_path, inside):
    package(tmp_path / "place" / inside if inside else tmp_path / "place")
    assert set(model_files.find(tmp_path / "place")) == set(model_files.FILES)


def test_the_archive_of_npm_pack_is_read_as_it_is(tmp_path):
    path = packed(package(tmp_path / "files"), tmp_path / "model.tgz")
    assert model_files.find(path) == {name: name.encode() for name in model_files.FILES}


def test_what_cannot_be_the_model_is_refused_with_what_to_type(tmp_path):
    with pytest.raises(BadData, match=r"no such folder or file.*npm pack @mediapipe/face_mesh"):
        model_files.find(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(BadData, match=r"cannot be read.*npm pack"):
        model_files.find(tmp_path / "notes.txt")
    less = package(tmp_path / "less", leave_out=("face_mesh.binarypb", "face_mesh.js"))
    with pytest.raises(BadData, match=r"lacks 2 of the 8 files .*such as face_mesh.js.*npm pack"):
        model_files.find(less)
    with pytest.raises(BadData, match="lacks 2 of the 8 files"):
        model_files.find(packed(less, tmp_path / "less.tgz"))
    with pytest.raises(BadData, match="--face-model"):
        create_app([tmp_path], Settings(log="off", browser_face_model=tmp_path / "nowhere"))


def test_links_of_an_archive_are_not_followed(tmp_path):
    path = tmp_path / "links.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in model_files.FILES:
            link = tarfile.TarInfo(f"package/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
    with pytest.raises(BadData, match="lacks 8 of the 8 files"):
        model_files.find(path)


def test_a_server_without_a_model_says_so(tmp_path):
    with client_of([tmp_path / "run"]) as client:
        told = client.get("/faces/model").json()
        assert told["kind"] is None and "npm pack @mediapipe/face_mesh" in told["why"]
        assert "--face-model" in problem(client.get("/faces/model/face_mesh.js"), 404)


def test_the_model_is_served_with_a_policy_of_its_own_and_without_the_token(tmp_path):
    place, token = package(tmp_path / "files"), "x" * 20
    with client_of([tmp_path / "run"], browser_face_model=place, token=token) as client:
        with_token = {"authorization": f"Bearer {token}"}
        assert client.get("/faces/model").status_code == 401
        assert client.get("/faces/model", headers=with_token).json()["url"] == "/faces/model/"
        for name in model_files.FILES:
            answer = client.get(f"/faces/model/{name}")
            assert answer.text == name and "unsafe-eval" not in answer.headers["content-security-policy"]
        wasm = client.get("/faces/model/face_mesh_solution_wasm_bin.wasm")
        assert wasm.headers["content-type"] == "application/wasm"
        for name in ("worker.js", "frame.html"):
            answer = client.get(f"/faces/model/{name}")
            policies = answer.headers.get_list("content-security-policy")
            assert len(policies) == 1 and "default-src 'none'" in policies[0] and "'unsafe-eval'" in policies[0]
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert "no file" in problem(client.get("/faces/model/package.json"), 404)
        assert client.get("/faces/model/../../runs").status_code in (401, 404)
        page = client.get("/").headers["content-security-policy"]
        assert "unsafe-eval" not in page  # the page itself stays strict
