"""Tests what an upload may be, in the app alone: nothing is computed."""

import json
import stat
import zipfile

import pytest
from harness import web

from kits_tf.web import unpack, upload
from kits_tf.web.app import make_app
from kits_tf.web.scans import Scans

LIMIT = 2**20
PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
NO_SCAN = "The upload has no scan that can be read; expected a NIfTI (.nii or .nii.gz), a zip, or the files of one"


@pytest.fixture
def client(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return web.Client(make_app(Scans(folder, 24, lambda: None), LIMIT, {}))


@pytest.fixture
def left(tmp_path):
    """Returns what the server's folder holds: paths below it, sorted."""
    data = tmp_path / "data"
    return lambda: sorted(path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file())


def post(client, files):
    return client.post("/api/scans", files=files)


def assert_refused(answer, left, status, said):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert said in answer.json()["detail"]
    assert left() == []


def test_a_nifti_is_queued_under_a_random_id_and_a_name_of_ours(client, left, tmp_path):
    path = web.nifti(tmp_path)
    answers = [post(client, web.parts(path, names=["../../o'Hara <b>.nii.gz"])) for _ in range(2)]
    ids = [answer.json()["id"] for answer in answers]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert ids[0] != ids[1] and all(len(one) == 32 for one in ids)
    names = ("scan.json", "upload/folder-00001/file-00001.nii.gz")
    assert left() == sorted(f"{one}/{name}" for one in ids for name in names)
    assert "Hara" not in (tmp_path / "data" / ids[0] / "scan.json").read_text()
    shown = client.get(f"/api/scans/{ids[1]}").json()
    assert (shown["status"], shown["report"], shown["title"]) == ("queued", None, "o'Hara <b>.nii.gz")
    assert client.get("/api/scans").json() == [client.get(f"/api/scans/{one}").json() for one in ids]


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan", "scan.dcm"])
def test_a_nifti_is_known_by_its_content(client, left, tmp_path, name):
    assert post(client, web.parts(web.nifti(tmp_path), names=[name])).status_code == 201
    assert left()[-1].endswith("upload/file-00001.nii.gz")


def test_an_uncompressed_nifti_is_taken(client, left, tmp_path):
    assert post(client, web.parts(web.nifti(tmp_path, name="scan.nii"))).status_code == 201
    assert left()[-1].endswith("upload/file-00001.nii")


def test_the_parts_of_a_series_are_one_scan(client, tmp_path):
    files = sorted(web.series(tmp_path / "a").iterdir())
    answer = post(client, web.parts(*files, names=[f"CD/PA0/{file.name}" for file in files]))
    record = json.loads((tmp_path / "data" / answer.json()["id"] / "scan.json").read_text())
    assert record["kind"] == "DICOM" and len(record["files"]) == 6
    assert client.get(f"/api/scans/{answer.json()['id']}").json()["title"] == "CD"


def test_a_zip_of_a_series_beside_a_viewer_is_one_scan(client, left, tmp_path):
    slices = {f"CD/DICOM/{file.name}": file.read_bytes() for file in web.series(tmp_path / "a").iterdir()}
    packed = web.zipped({**slices, "CD/VIEWER/viewer.exe": b"MZ\0\1", "__MACOSX/._x": b"\0", "CD/README.TXT": b"hello"})
    answer = post(client, {"file": ("CD.zip", packed)})
    assert answer.status_code == 201, answer.text
    assert len(json.loads((tmp_path / "data" / answer.json()["id"] / "scan.json").read_text())["files"]) == 6
    assert [name for name in left() if "zip" in name] == []


def test_a_series_without_a_folder_is_called_by_its_headers(client, tmp_path):
    scan_id = post(client, web.parts(*web.series(tmp_path / "a").iterdir())).json()["id"]
    assert client.get(f"/api/scans/{scan_id}").json()["title"] == "CT 1 'phase 1' with 6 files"


def test_a_zip_of_a_nifti_is_one_scan(client, tmp_path):
    packed = web.zipped({"a/b.nii.gz": web.nifti(tmp_path).read_bytes(), "a/notes.txt": b"x"})
    scan_id = post(client, {"file": ("x.zip", packed)}).json()["id"]
    assert client.get(f"/api/scans/{scan_id}").json()["kind"] == "NIfTI"


def test_of_several_series_one_must_be_chosen(client, left, tmp_path):
    folders = [web.series(tmp_path / number, number=number) for number in "12"]
    files = web.parts(*(file for folder in folders for file in sorted(folder.iterdir())))
    refused = post(client, files)
    assert refused.status_code == 400 and left() == []
    assert "has 2 CT series (CT 1 'phase 1' with 6 files, CT 2 'phase 2' with 6 files)" in refused.json()["detail"]
    assert [choice["text"] for choice in refused.json()["choices"]] == [
        "CT 1 'phase 1' with 6 files", "CT 2 'phase 2' with 6 files"]
    chosen = client.post("/api/scans", files=files, data={"series": refused.json()["choices"][1]["series"]})
    record = json.loads((tmp_path / "data" / chosen.json()["id"] / "scan.json").read_text())
    assert len(record["files"]) == 6
    assert record["notes"] == ["Beside the scan, the upload had 1 other CT series, left out."]


@pytest.mark.parametrize(("files", "said"), [
    ([("file", ("scan.nii.gz", b"no gzip"))], NO_SCAN),
    ([("file", ("scan.nii.gz", b""))], NO_SCAN),
    ([("file", ("scan.nii.gz", b"\x1f\x8b\x08" + bytes(9)))], NO_SCAN),
    ([("file", ("a.zip", b"PK\3\4" + bytes(200)))], "The zip cannot be unpacked"),
    ([("file", ("a.zip", web.zipped({})))], NO_SCAN),
    ([("file", ("a.zip", web.zipped({"notes.txt": b"hello"})))], NO_SCAN),
    ([("scan", ("scan.nii.gz", b"x"))], "The upload has no part named file."),
    ([("file", ("1.nii", (348).to_bytes(4, "little"))), ("file", ("2.nii", (348).to_bytes(4, "big")))],
     "The upload has 2 NIfTI files"),
])
def test_an_upload_without_one_scan_is_refused_and_leaves_nothing(client, left, files, said):
    assert_refused(post(client, files), left, 400, said)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil", "a/.."])
def test_a_zip_whose_paths_lead_out_of_it_is_refused(client, left, tmp_path, name):
    packed = web.zipped({"scan.nii.gz": web.nifti(tmp_path).read_bytes(), name: b"x"})
    assert_refused(post(client, {"file": ("x.zip", packed)}), left, 400, "has an entry whose path leads out of it")
    assert not list(tmp_path.rglob("*evil*"))


def test_a_zip_with_a_link_is_refused(client, left, tmp_path):
    link = zipfile.ZipInfo("scan.nii.gz")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert_refused(post(client, {"file": ("x.zip", web.zipped({link: b"/etc/passwd"}))}), left, 400, "that is a link")


def test_an_encrypted_zip_is_refused(client, left):
    packed = bytearray(web.zipped({"a": b"x"}))
    packed[6] |= 1
    packed[packed.rindex(b"PK\1\2") + 8] |= 1
    assert_refused(post(client, {"file": ("x.zip", bytes(packed))}), left, 400, "is encrypted")


def test_a_zip_bomb_is_refused_before_it_is_unpacked_whole(client, left, monkeypatch):
    monkeypatch.setattr(unpack, "is_bomb", lambda unpacked, packed: unpacked > 100 * packed)
    packed = web.zipped({"a": bytes(2**24)})
    assert_refused(post(client, {"file": ("x.zip", packed)}), left, 413, "unpacks to more than a CT series has")


def test_a_zip_of_too_many_entries_is_refused(client, left, monkeypatch):
    monkeypatch.setattr(unpack, "MOST_DIRECTORY_BYTES", 500)
    packed = web.zipped({f"{number}": b"" for number in range(20)})
    assert_refused(post(client, {"file": ("x.zip", packed)}), left, 413, "entries; upload one scan")


def test_too_many_files_are_refused(client, left, monkeypatch):
    monkeypatch.setattr(upload, "MOST_FILES", 3)
    assert_refused(post(client, [("file", ("x", b"x"))] * 4), left, 413, "has more than 3 files")


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_over_the_limit_is_refused(client, left, chunked):
    body = PART + bytes(3 * LIMIT) + b"\r\n--x--\r\n"

    async def pieces():
        for at in range(0, len(body), 2**16):
            yield body[at:at + 2**16]

    answer = client.post("/api/scans", content=pieces() if chunked else body,
                         headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert_refused(answer, left, 413, "is larger than 1 MB, the limit of this server (--max_upload_mb).")


@pytest.mark.parametrize(("kind", "body", "said"), [
    ("application/json", b"{}", "must be multipart/form-data"),
    ("multipart/form-data", b"x", "must be multipart/form-data"),
    ("multipart/form-data; boundary=x", b"", "ended early"),
    ("multipart/form-data; boundary=x", b"nonsense", "is no valid multipart/form-data"),
    ("multipart/form-data; boundary=x", PART + b"abc", "ended early"),
    ("multipart/form-data; boundary=" + "x" * 300, b"x", "boundary is invalid")])
def test_a_broken_request_is_refused(client, left, kind, body, said):
    assert_refused(client.post("/api/scans", content=body, headers={"Content-Type": kind}), left, 400, said)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/nothing", 404), ("GET", "/api", 404), ("PUT", "/api/scans", 404), ("GET", "/api/scans/1", 404),
    ("DELETE", "/api/scans/../scans/1", 404), ("GET", "/api/scans/1/labels.nii.gz", 404), ("GET", "/page.css", 404)])
def test_what_does_not_exist_is_reported_in_a_sentence(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"] and answer.json()["detail"].endswith(".")


def test_files_are_409_until_the_scan_is_done_and_unknown_ones_404(client, tmp_path):
    scan_id = post(client, web.parts(web.nifti(tmp_path))).json()["id"]
    for name in ("labels.nii.gz", "report.json", "scan.nii.gz", "labels.dcm"):
        answer = client.get(f"/api/scans/{scan_id}/{name}")
        assert (answer.status_code, answer.json()) == (409, {
            "detail": f"The scan is queued; {name} is there when it is done."})
    assert client.get(f"/api/scans/{scan_id}/scan.json").status_code == 404


def test_a_queued_scan_is_deleted_with_all_files(client, left, tmp_path):
    scan_id = post(client, web.parts(web.nifti(tmp_path))).json()["id"]
    assert client.delete(f"/api/scans/{scan_id}").status_code == 204
    assert client.delete(f"/api/scans/{scan_id}").status_code == 404
    assert left() == [] and client.get("/api/scans").json() == []
