"""Tests the server with its worker: results, the queue, cancels, crashes, restarts, and uploads that break off."""

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import socket
import time

import numpy as np
import psutil
import pytest
from harness import commands, web

from kits_tf.scans.dicom import read_series
from kits_tf.scans.nifti import read_labels, read_volume

ALLOWED = {"Authorization": "Bearer a b+c&"}


def predict(model, scan, output):
    """Runs predict.py on a file or the folder of a series, and returns its files by their endings."""
    done = commands.run("predict.py", f"--model={model}", f"--input={scan}", f"--output={output}", "--nooverlay",
                        "--output_format=nifti,dicomseg" if scan.is_dir() else "--output_format=nifti")
    assert done.returncode == 0, done.stderr
    return {path.name.partition(".")[2]: path.read_bytes() for path in output.glob("prediction_*")}


def wait_until(true, seconds=100):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def files_of(server, scan_id):
    """Returns (status, bytes) of each of a scan's files."""
    names = ("labels.nii.gz", "labels.dcm", "report.json", "scan.nii.gz")
    answers = {name: server.http.get(f"api/scans/{scan_id}/{name}") for name in names}
    return {name: (answer.status_code, answer.content) for name, answer in answers.items()}


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
def test_labels_of_a_nifti_are_those_of_predict_py_byte_for_byte(server, patient_model, tmp_path, name):
    path = web.nifti(tmp_path, name=name)
    expected = predict(patient_model, path, tmp_path / "predictions")
    scan_id = server.upload(path)
    shown = server.wait(scan_id)
    assert (shown["status"], shown["stage"]) == ("done", "")
    found = files_of(server, scan_id)
    assert found["labels.nii.gz"] == (200, expected["nii.gz"])
    assert set(np.unique(read_labels_of(found, tmp_path).voxels)) == {0, 1, 2}
    assert found["labels.dcm"][0] == 404
    report, theirs = json.loads(found["report.json"][1]), json.loads(expected["json"])
    assert report == shown["report"]
    assert report["input"] is None
    own = ("input", "case", "files")
    assert {key: value for key, value in report.items() if key not in own} == {
        key: value for key, value in theirs.items() if key not in own}
    (tmp_path / "view.nii.gz").write_bytes(found["scan.nii.gz"][1])
    np.testing.assert_array_equal(read_volume(tmp_path / "view.nii.gz").voxels, web.hu())


def read_labels_of(found, folder):
    (folder / "labels.nii.gz").write_bytes(found["labels.nii.gz"][1])
    return read_labels(folder / "labels.nii.gz")


@pytest.mark.parametrize("packed", [False, True])
def test_labels_of_a_series_are_those_of_predict_py_byte_for_byte(server, patient_model, tmp_path, packed):
    folder = web.series(tmp_path / "patient")
    expected = predict(patient_model, folder, tmp_path / "predictions")
    files = sorted(folder.iterdir())
    scan_id = server.upload([("file", ("a.zip", web.zipped({f"a/b/{file.name}": file.read_bytes() for file in files})))]
                            if packed else web.parts(*files))
    assert server.wait(scan_id)["status"] == "done"
    found = files_of(server, scan_id)
    assert found["labels.nii.gz"] == (200, expected["nii.gz"])
    assert found["labels.dcm"] == (200, expected["dcm"])
    (tmp_path / "view.nii.gz").write_bytes(found["scan.nii.gz"][1])
    view, series = read_volume(tmp_path / "view.nii.gz"), read_series(folder)[0]
    np.testing.assert_array_equal(view.voxels, series.voxels)
    np.testing.assert_allclose(view.affine, read_labels_of(found, tmp_path).affine)
    assert sorted(path.name for path in (server.data / scan_id).iterdir()) == [
        "result", "scan.json", "scan.nii.gz", "view.json"]


def test_twenty_uploads_at_once_are_all_done_one_after_another(server, tmp_path):
    paths = [web.nifti(tmp_path, seed, name=f"{seed}.nii.gz") for seed in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        ids = list(pool.map(server.upload, paths))
    assert len(set(ids)) == 20
    statuses, most = ["queued"], 0
    while {"queued", "running"} & set(statuses):
        statuses = [shown["status"] for shown in server.http.get("api/scans").json()]
        most = max(most, statuses.count("running"))
    assert most == 1
    assert [server.wait(scan_id)["status"] for scan_id in ids] == ["done"] * 20


def test_a_scan_that_cannot_be_read_fails_in_a_sentence_with_the_users_name(server, tmp_path):
    path = web.nifti(tmp_path, name="patient.nii.gz")
    path.write_bytes(path.read_bytes()[:-100])
    scan_id = server.upload(path)
    shown = server.wait(scan_id)
    assert (shown["status"], shown["report"]) == ("failed", None)
    assert shown["message"].startswith("patient.nii.gz: its voxels cannot be read (") and "\n" not in shown["message"]
    answer = server.http.get(f"api/scans/{scan_id}/labels.nii.gz")
    assert (answer.status_code, answer.json()["detail"]) == (409, "The scan failed and has no labels.nii.gz.")
    assert [path.name for path in (server.data / scan_id).iterdir()] == ["scan.json"]


def test_a_running_scan_is_canceled_and_the_next_one_is_done(server, tmp_path):
    endless = server.upload(web.nifti(tmp_path, endless=True))
    waiting = server.upload(web.nifti(tmp_path))
    assert server.wait(endless, "running")["stage"] in ("loading the model", "reading the scan",
                                                        "finding kidneys and tumors")
    wait_until(lambda: server.wait(endless, "running")["stage"] == "finding kidneys and tumors")
    shown = server.wait(waiting, "queued")
    assert (shown["stage"], shown["message"]) == ("waiting", "1 before it.")
    worker = server.worker()
    assert server.http.delete(f"api/scans/{endless}").status_code == 204
    assert server.http.get(f"api/scans/{endless}").status_code == 404
    assert not (server.data / endless).exists()
    assert server.wait(waiting)["status"] == "done"
    assert not worker.is_running()


def test_a_worker_that_the_system_kills_fails_its_scan_alone(server, tmp_path):
    endless = server.upload(web.nifti(tmp_path, endless=True))
    wait_until(lambda: server.wait(endless, "running")["stage"] == "finding kidneys and tumors")
    server.worker().kill()
    shown = server.wait(endless)
    assert shown["status"] == "failed" and "most likely because the memory was full" in shown["message"]
    assert server.wait(server.upload(web.nifti(tmp_path)))["status"] == "done"


def test_an_upload_that_breaks_off_leaves_nothing(server):
    host, port = server.http.base_url.host, server.http.base_url.port
    before = {path.name for path in server.data.iterdir()}
    with socket.create_connection((host, port)) as connection:
        lines = ["POST /api/scans HTTP/1.1", f"Host: {host}:{port}", "Content-Length: 1000000",
                 "Content-Type: multipart/form-data; boundary=x", "", "--x",
                 'Content-Disposition: form-data; name="file"; filename="a"', "", "a" * 100000]
        connection.sendall("\r\n".join(lines).encode())
        wait_until(lambda: any(path.name == "file-00001" and path.stat().st_size > 50000
                               for path in server.data.glob(".writing-*/upload/*")))
    wait_until(lambda: {path.name for path in server.data.iterdir()} == before)


def test_a_large_upload_is_not_held_in_memory(server):
    chunk, count = bytes(2**20), 200

    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        yield from (chunk for _ in range(count))
        yield b"\r\n--x--\r\n"

    def kilobytes(field):
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)[1])

    before = kilobytes("VmRSS")
    answer = server.http.post("api/scans", content=body(),
                              headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 400
    assert kilobytes("VmHWM") - before < count * 2**10 / 4


def test_an_upload_over_the_limit_is_answered_although_more_is_sent(secret_server):
    answer = secret_server.http.post("api/scans", files={"file": ("a", bytes(2**25))}, headers=ALLOWED)
    assert (answer.status_code, answer.json()["detail"][:30]) == (413, "The upload is larger than 1 MB")
    assert [path.name for path in secret_server.data.iterdir()] == [".kits_tf.lock"]


def test_the_printed_address_has_the_token_that_calls_need(secret_server, tmp_path):
    assert secret_server.address.partition("#")[2] == "token=a%20b%2Bc%26"
    for headers, status in (({}, 403), (ALLOWED, 200)):
        assert secret_server.http.get("api/scans", headers=headers).status_code == status
    answer = secret_server.http.post("api/scans", files=web.parts(web.nifti(tmp_path)))
    assert answer.status_code == 403
    assert [path.name for path in secret_server.data.iterdir()] == [".kits_tf.lock"]


def test_what_is_stored_is_for_its_user_alone(server, tmp_path):
    server.wait(server.upload(web.nifti(tmp_path)))
    assert {path.stat().st_mode & 0o077 for path in server.data.rglob("*")} == {0}


def test_a_folder_in_use_is_one_line(server, patient_model):
    done = commands.run("-m", "kits_tf.web", f"--model={patient_model}", "--port=0", f"--data_dir={server.data}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{server.data}: is in use by process") and done.stderr.count("\n") == 1


def test_a_killed_server_leaves_no_worker_and_its_restart_continues(patient_model, tmp_path):
    with web.serving(tmp_path, patient_model) as server:
        done = server.upload(web.nifti(tmp_path))
        server.wait(done)
        labels = files_of(server, done)
        endless = server.upload(web.nifti(tmp_path, endless=True))
        waiting = server.upload(web.nifti(tmp_path))
        wait_until(lambda: server.wait(endless, "running")["stage"] == "finding kidneys and tumors")
        worker = server.worker()
        (server.data / ".writing-0123456789abcdef").mkdir()
        server.process.kill()
        server.process.join()
        psutil.wait_procs([worker], timeout=10)
        assert not worker.is_running()
    with web.serving(tmp_path, patient_model) as server:
        assert files_of(server, done) == labels
        assert server.wait(endless, "running")["report"] is None
        assert server.http.delete(f"api/scans/{endless}").status_code == 204
        assert server.wait(waiting)["status"] == "done"
        assert {path.name for path in server.data.iterdir()} == {".kits_tf.lock", done, waiting}


def test_ctrl_c_ends_the_server_at_once_and_the_running_scan_is_queued_again(patient_model, tmp_path):
    with web.serving(tmp_path, patient_model) as server:
        endless = server.upload(web.nifti(tmp_path, endless=True))
        server.wait(endless, "running")
        children = psutil.Process(server.process.pid).children()
        os.kill(server.process.pid, signal.SIGINT)
        server.process.join(10)
        assert server.process.exitcode == 130
        psutil.wait_procs(children, timeout=10)
        assert not any(child.is_running() for child in children)
    record = json.loads((server.data / endless / "scan.json").read_text())
    assert (record["status"], record["starts"]) == ("queued", 0)
    said = "".join(path.read_text() for path in tmp_path.glob("said-*"))
    assert said.endswith("stopped; scans that are not done are queued again at the next start\n")


def test_scans_are_deleted_after_their_hours_done_or_not(patient_model, tmp_path):
    with web.serving(tmp_path, patient_model, f"--keep_hours={3 / 3600}") as server:
        server.upload(web.nifti(tmp_path))
        assert len(server.http.get("api/scans").json()) == 1
        wait_until(lambda: server.http.get("api/scans").json() == [])
        wait_until(lambda: [path.name for path in server.data.iterdir()] == [".kits_tf.lock"])
