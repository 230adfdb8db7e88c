"""Tests the outcome of cases in this process, in local processes and on an existing cluster."""

import re
import subprocess
import sys

import pytest
from dask.system import CPU_COUNT
from harness import chores
from harness.dask_processes import ROOT

from kits_tf import cluster, device
from kits_tf.cluster import Place, on_dask
from kits_tf.errors import InputError, RunError

TWO = Place(workers=2)


def jobs(count, **arguments):
    return [cluster.Job(f"case_{number}", {"number": number, **arguments}) for number in range(count)]


def done(function, jobs, place, **more):
    return {found.name: found for found in cluster.run(getattr(chores, function), jobs, "working", place, **more)}


@pytest.mark.parametrize(("place", "overlap"), [(cluster.HERE, False), (cluster.HERE, True), (TWO, False)],
                         ids=["here", "overlapping", "two workers"])
def test_every_case_is_done_once_and_a_bad_one_is_one_line(place, overlap, tmp_path, capfd):
    found = done("stumble", jobs(6, folder=str(tmp_path)), place, overlap=overlap)
    assert {name: one.result and one.result["number"] for name, one in found.items()} == {
        "case_0": 0, "case_1": 1, "case_2": None, "case_3": None, "case_4": 4, "case_5": 5}
    assert sorted(path.name.split()[0] for path in tmp_path.iterdir()) == ["0", "1", "4", "5"]
    assert found["case_2"].failure == "case2/imaging.nii.gz: is no scan"
    assert found["case_3"].failure.startswith("case_3: KeyError: 'no\\nkidney' (in ")
    assert "chores.py, line" in found["case_3"].failure
    said = [line for line in capfd.readouterr().err.splitlines() if "failed" in line or "Error" in line]
    assert sorted(said) == sorted(f"failed: {found[name].failure}" for name in ("case_2", "case_3"))


def test_a_failure_is_printed_although_an_import_silences_stderr_meanwhile(tmp_path, capfd, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "long_to_import.py").write_text("import time\ntime.sleep(1)\n\ndef work():\n    return 1\n")
    found = done("fail_or_import", jobs(2), cluster.HERE, overlap=True)
    assert found["case_1"].result == {"number": 1}
    assert capfd.readouterr().err.splitlines().count("failed: case_0: is no scan") == 1


def test_two_workers_are_two_processes_that_share_the_cores_and_load_a_model_once(tmp_path, capfd):
    found = done("use_model", jobs(12, name=str(tmp_path / "loads")), TWO)
    by_process = {one.result["pid"]: one.result["model"] for one in found.values()}
    assert len(by_process) == 2
    assert all(one.result["model"] == by_process[one.result["pid"]] for one in found.values())
    assert (tmp_path / "loads").read_text() == "xx"
    assert {one.result["threads"] for one in found.values()} == {str(max(1, CPU_COUNT // 2))}
    assert re.search(r"^dashboard: http://127.0.0.1:\d+/status$", capfd.readouterr().err, re.MULTILINE)


def test_what_is_started_here_listens_on_loopback_alone():
    found = done("listening", jobs(1), TWO)
    assert found["case_0"].result["addresses"] == ["127.0.0.1"]


def test_a_case_whose_workers_keep_dying_is_named_and_the_others_are_done(tmp_path):
    found = done("die", jobs(4, folder=str(tmp_path)), TWO)
    assert found["case_1"].failure.startswith("case_1: its worker died 2 times while it ran alone")
    assert (tmp_path / "deaths").read_text() == "xxxx"  # two of them while other cases ran
    assert {path.name.split()[0] for path in tmp_path.iterdir()} == {"0", "2", "3", "deaths"}


@pytest.mark.parametrize(("place", "overlap"), [(cluster.HERE, False), (cluster.HERE, True), (TWO, False)],
                         ids=["here", "overlapping", "two workers"])
def test_a_full_disk_ends_the_run(place, overlap):
    with pytest.raises(RunError, match=r"out/\d: cannot be written"):
        done("fill_the_disk", jobs(3), place, overlap=overlap)


def test_in_one_process_two_cases_overlap_if_they_may(tmp_path):
    found = done("meet", jobs(4, folder=str(tmp_path)), cluster.HERE, overlap=True)
    assert list(found) == ["case_0", "case_1", "case_2", "case_3"]
    assert all(one.result["met"] for one in found.values())
    assert len({one.result["pid"] for one in found.values()}) == 1


def test_only_workers_with_a_gpu_get_what_wants_one_and_no_others_are_started(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    found = done("note", jobs(4, folder=str(tmp_path)), TWO, gpu=True)
    assert len({one.result["pid"] for one in found.values()}) == 1
    assert {one.result["gpus"] for one in found.values()} == {"3"}
    assert "--workers=2: starting 1, one for each GPU" in capfd.readouterr().err
    found = done("note", jobs(4, folder=str(tmp_path)), TWO)
    assert {one.result["gpus"] for one in found.values()} == {"3", ""}


def test_no_worker_is_idle_for_a_gpu_that_tensorflow_cannot_use(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(device, "has_gpu", lambda: False)
    found = done("note", jobs(4, folder=str(tmp_path)), TWO, gpu=True)
    assert len({one.result["pid"] for one in found.values()}) == 2


def test_a_scheduler_that_is_not_there_is_one_line(capfd, monkeypatch):
    monkeypatch.setattr(on_dask, "PATIENCE", "1s")
    with pytest.raises(RunError, match=r"--scheduler=tcp://127.0.0.1:1: no dask scheduler answers") as caught:
        done("note", jobs(1, folder="."), Place(scheduler="tcp://127.0.0.1:1"))
    assert len(str(caught.value).splitlines()) == 1
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("flags", "said"), [
    ({"workers": -1}, "--workers=-1"), ({"workers": 2, "scheduler": "tcp://h:1"}, "one of the two"),
    ({"scheduler": "banana"}, "--scheduler=banana: expected an address"), ({"scheduler": "foo://h:1"}, "foo://h:1")])
def test_flags_that_make_no_sense_are_one_line(flags, said):
    with pytest.raises(InputError, match=said):
        Place(**flags)


def test_without_flags_dask_is_not_imported():
    program = ("import os.path, sys; from kits_tf import cluster; "
               "list(cluster.run(os.path.abspath, [cluster.Job('a', {'path': '.'})], '')); "
               "sys.exit('dask' in sys.modules or 'tensorflow' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("command", [["predict.py"], ["-m", "data_prep"], ["-m", "kits_tf.evaluation"]])
def test_help_lists_both_flags(command):
    done = subprocess.run([sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert re.search(r"--workers.*--scheduler|--scheduler.*--workers", done.stdout, re.DOTALL)
