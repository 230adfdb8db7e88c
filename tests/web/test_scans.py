"""Tests how long scans are held, and what a restart of the server keeps; nothing is computed."""

import json
import shutil
import threading
import time

import pytest
from harness import web

from kits_tf.web.errors import RefusalError
from kits_tf.web.recognize import recognize
from kits_tf.web.scans import Scans
from kits_tf.web.upload import Upload


def opened(tmp_path, keep_hours=24, cancel=lambda: None):
    (tmp_path / "data").mkdir(exist_ok=True)
    return Scans(tmp_path / "data", keep_hours, cancel)


def add(scans, tmp_path, seed=0):
    with scans.receiving() as folder:
        upload = Upload(folder / "upload")
        shutil.copy(web.nifti(tmp_path, seed), upload.place("scan.nii.gz"))
        return scans.add(folder, upload, recognize(upload))


def made(scan):
    """Writes what the worker writes."""
    (scan.folder / "result").mkdir()
    (scan.folder / "result" / "prediction_scan.json").write_text('{"warnings": ["Odd."]}')


def left(tmp_path):
    return sorted(path.name for path in (tmp_path / "data").iterdir())


def test_scans_run_in_the_order_they_came_and_each_says_how_many_are_before_it(tmp_path):
    scans = opened(tmp_path)
    first, second, third = (add(scans, tmp_path) for _ in range(3))
    with scans.next_one() as running:
        assert running is first
        scans.tell(first, "reading")
        assert [(shown["status"], shown["stage"], shown["message"]) for shown in scans.shown()] == [
            ("running", "reading", ""), ("queued", "waiting", "1 before it."), ("queued", "waiting", "2 before it.")]
        scans.finish(first, "It is odd.", 1.5)
    with scans.next_one() as running:
        assert running is second
    assert scans.show(first)["message"] == "It is odd." and third.status == "queued"


def test_the_uploaded_files_go_when_the_scan_is_done_or_failed(tmp_path):
    scans = opened(tmp_path)
    for failure, expected in (("", "done"), ("It is odd.", "failed")):
        scan = add(scans, tmp_path)
        with scans.next_one():
            made(scan)
            scans.finish(scan, failure, 1.0)
        assert scan.status == expected
        assert not (scan.folder / "upload").exists()


def test_a_restart_keeps_finished_scans_and_queues_the_others_again_in_order(tmp_path):
    scans = opened(tmp_path)
    done, failed, running, queued = (add(scans, tmp_path) for _ in range(4))
    for scan, failure in ((done, ""), (failed, "It is odd.")):
        with scans.next_one():
            made(scan)
            scans.finish(scan, failure, 2.5)
    with scans.next_one():
        again = opened(tmp_path)
        assert [(shown["id"], shown["status"]) for shown in again.shown()] == [
            (done.id, "done"), (failed.id, "failed"), (running.id, "queued"), (queued.id, "queued")]
    assert again.show(again.get(done.id))["report"] == {"warnings": ["Odd."]}
    assert again.show(again.get(failed.id))["message"] == "It is odd."
    assert [shown["title"] for shown in again.shown()] == [""] * 4


def test_a_scan_that_the_server_was_killed_at_twice_is_not_tried_again(tmp_path):
    scan = add(opened(tmp_path), tmp_path)
    for expected in ("queued", "failed"):
        with opened(tmp_path).next_one():
            pass
        assert opened(tmp_path).get(scan.id).status == expected
    assert opened(tmp_path).get(scan.id).message.startswith("The server was killed 2 times while it computed this scan")


def test_a_server_that_ends_in_order_does_not_count_as_killed(tmp_path):
    scan = add(opened(tmp_path), tmp_path)
    for _ in range(4):
        scans = opened(tmp_path)
        with scans.next_one() as running:
            scans.close()
            scans.finish(running, "It was ended.", 1.0)
    assert opened(tmp_path).get(scan.id).status == "queued"


def test_a_running_scan_is_canceled_and_removed_when_its_computation_has_ended(tmp_path):
    canceled, ended = threading.Event(), threading.Event()
    scans = opened(tmp_path, cancel=canceled.set)
    scan = add(scans, tmp_path)

    def run():
        with scans.next_one() as running:
            canceled.wait(10)
            assert running.status == scans.show(running)["status"] == "canceled" and running.folder.exists()
            scans.finish(running, "It was killed.", 1.0)
            ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    while scan.status != "running":
        time.sleep(0.01)
    scans.remove(scan.id)
    assert ended.is_set() and left(tmp_path) == []
    thread.join()
    with pytest.raises(RefusalError, match="There is no such scan"):
        scans.get(scan.id)


@pytest.mark.parametrize("status", ["queued", "done", "failed"])
def test_old_scans_are_removed_whatever_their_status_also_after_a_restart(tmp_path, status):
    scans = opened(tmp_path, keep_hours=2)
    scan, young = add(scans, tmp_path), add(scans, tmp_path)
    if status != "queued":
        with scans.next_one():
            made(scan)
            scans.finish(scan, "" if status == "done" else "It is odd.", 1.0)
    scan.created -= 2 * 3600 + 1
    young.created -= 2 * 3600 - 60
    scan.write()
    young.write()
    again = opened(tmp_path, keep_hours=2)
    assert again.get(scan.id).status == status
    again.remove_old()
    assert left(tmp_path) == [young.id]


def test_files_that_are_not_the_servers_are_left_alone(tmp_path):
    scans = opened(tmp_path)
    foreign = tmp_path / "data" / ("0" * 32)
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    (tmp_path / "data" / ("1" * 32)).mkdir()
    (tmp_path / "data" / ("1" * 32) / "scan.json").write_text(json.dumps({"created": 0}))
    scan = add(scans, tmp_path)
    again = opened(tmp_path, keep_hours=0)
    again.remove_old()
    assert scan.id not in left(tmp_path) and left(tmp_path) == ["0" * 32, "1" * 32]
    assert (foreign / "thesis.txt").exists()


def test_a_message_names_the_users_file_and_no_folder_of_the_server(tmp_path):
    scans = opened(tmp_path)
    scan = add(scans, tmp_path)
    with scans.next_one():
        scans.finish(scan, f"{scan.folder}/upload/file-00001.nii.gz: is odd; {scan.folder}/upload: has more", 1.0)
    assert scans.show(scan)["message"] == "scan.nii.gz: is odd; the upload: has more"
    assert opened(tmp_path).shown()[0]["message"] == "file-00001.nii.gz: is odd; the upload: has more"
