"""Kills workers, schedulers and whole runs, and fills disks; nothing may be lost or half-written."""

import json
import random
import re
import subprocess
import sys
import time

import pytest
from harness import chores, commands, disks, killed, patients
from harness.dask_processes import ROOT, Processes, worker_processes
from harness.tables import read_rows

from kits_tf import cluster
from kits_tf.cluster import Place
from kits_tf.errors import RunError
from kits_tf.files.own import LIST
from kits_tf.serving.__main__ import predict


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    return patients.write_study(tmp_path_factory.mktemp("six") / "study", 6)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return patients.write_study(tmp_path_factory.mktemp("two") / "study", 2)


def command(what, study, output, model, *more):
    if what == "predict":
        return [sys.executable, "predict.py", f"--model={model}", f"--input={study}", f"--output={output}", *more]
    return [sys.executable, "-m", "data_prep", f"--input={study}", f"--output={output}", "--preset=demo", *more]


def start(arguments):
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(folder):
    """Returns every file that a run leaves, except summary.csv, which contains durations, and the list of files."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in ("summary.csv", LIST)}


def done_so_far(folder):
    """Returns the last file written for each case, with its modification time."""
    paths = [*folder.glob("prediction_*.json"), *folder.glob("records/tumor2d/case_*.tfrecord")]
    return {path: path.stat().st_mtime_ns for path in paths}


def statuses(folder):
    return [(row["case"], row["status"]) for row in read_rows(folder / "summary.csv")]


def test_a_worker_that_is_killed_costs_nothing_but_time(quick_export, six, tmp_path):
    assert predict(quick_export, six, tmp_path / "quiet", overlay=False) == 0
    words = command("predict", six, tmp_path / "out", quick_export, "--workers=2", "--nooverlay")[1:]
    with commands.started(tmp_path / "said.txt", commands.command, *words) as process:
        while len(done_so_far(tmp_path / "out")) < 1 and process.is_alive():
            time.sleep(0.005)
        worker_processes(process.pid)[0].kill()
        process.join(120)
    said = (tmp_path / "said.txt").read_text()
    assert process.exitcode == 0, said
    done, unchanged, failed = map(int, re.findall(r"(\d+) (?:done|unchanged|failed)", said.splitlines()[-1]))
    assert (done + unchanged, failed) == (6, 0)  # unchanged: done by a worker that was killed before it reported
    assert result(tmp_path / "out") == result(tmp_path / "quiet")
    assert [case for case, _ in statuses(tmp_path / "out")] == [f"case_0000{number}" for number in range(6)]


def test_a_cluster_that_is_joined_does_the_work_and_its_loss_is_one_line(tmp_path, capfd):
    jobs = [cluster.Job(f"case_{number}", {"number": number, "folder": str(tmp_path)}) for number in range(9)]
    with Processes(1) as processes:
        found = cluster.run(chores.note, jobs, "working", Place(scheduler=processes.address))
        worker = next(found).result["pid"]
        assert worker in [child.pid for child in worker_processes(processes.workers.pid)]
        processes.kill_scheduler()
        time.sleep(0.5)  # time to notice the closed connection; a request before that waits for all of dask's retries
        with pytest.raises(RunError, match=r"the dask scheduler was lost after \d of 9 cases") as caught:
            list(found)
    assert len(str(caught.value).splitlines()) == 1
    said = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("working")]
    assert {line.split(":")[0] for line in said} == {"waiting for a worker to join the cluster",
                                                     "dashboard"}


@pytest.mark.soak
@pytest.mark.parametrize("what", ["predict", "prepare"])
def test_40_cases_survive_dying_workers_and_a_dying_scheduler(what, quick_export, tmp_path):
    study = patients.write_study(tmp_path / "study", 40)
    quiet = start(command(what, study, tmp_path / "quiet", quick_export))
    assert quiet.wait() == 0, quiet.communicate()
    chance, kills, log = random.Random(0), 0, []
    with Processes(4) as processes:
        arguments = command(what, study, tmp_path / "out", quick_export, f"--scheduler={processes.address}")
        for round_ in range(6):
            before = done_so_far(tmp_path / "out")
            process, last, seen = start(arguments), time.monotonic(), len(before)
            while process.poll() is None:
                time.sleep(0.05)
                alive, done = worker_processes(processes.workers.pid), len(done_so_far(tmp_path / "out"))
                # Only after progress since the last kill: if TensorFlow starts slowly, all workers would be killed
                # before they begin.
                if alive and done > seen and time.monotonic() - last > 1.5:
                    chance.choice(alive).kill()
                    kills, last, seen = kills + 1, time.monotonic(), done
                if not round_ and processes.scheduler and done >= 10:
                    processes.kill_scheduler()
            said = process.communicate()[1].splitlines()
            log.append((process.returncode, kills, len(before), said[-1]))
            after = done_so_far(tmp_path / "out")
            again = [path.name for path, date in before.items() if after.get(path) != date]
            # A shard whose writer was killed before it recorded the shard is written again: at most four shards.
            assert len(again) <= (0 if what == "predict" else 4)
            if round_ == 0:
                assert process.returncode == 1
                assert "the dask scheduler was lost" in said[-1]
                assert not any("Traceback" in line for line in said)
                processes.start()
            elif process.returncode == 0:
                break
    print(json.dumps(log))
    assert process.returncode == 0
    assert kills >= 5
    assert result(tmp_path / "out") == result(tmp_path / "quiet")
    assert [case for case, _ in statuses(tmp_path / "out")] == sorted(path.name for path in study.iterdir())


def kill_again_and_again(what, study, tmp_path, model, kills, seed):
    """Returns the report that killed.main prints."""
    said = tmp_path / "said.txt"
    with commands.started(said, killed.main, what, study, tmp_path / "out", tmp_path / "quiet", kills, seed,
                          model) as process:
        process.join()
    assert process.exitcode == 0, said.read_text()[-3000:]
    return json.loads(said.read_text().splitlines()[-1])


@pytest.mark.parametrize("what", ["predict", "prepare"])
def test_a_run_that_is_killed_leaves_whole_files_and_the_next_continues(what, quick_export, two, tmp_path):
    assert kill_again_and_again(what, two, tmp_path, quick_export, 3, 1)["kills"] == 3


@pytest.mark.soak
@pytest.mark.parametrize(("what", "study"), [("predict", "six"), ("prepare", "two")])
def test_100_kills_leave_whole_files(what, study, quick_export, tmp_path, request):
    found = kill_again_and_again(what, request.getfixturevalue(study), tmp_path, quick_export, 100, 0)
    assert found["kills"] == 100
    assert found["partly done"] > 20


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(quick_export, two, tmp_path):
    """predict.py and data_prep each run on a full tmpfs, mounted in its own namespace."""
    out, err = tmp_path / "out.txt", tmp_path / "err.txt"
    with commands.started(out, killed.predict_and_prepare, str(tmp_path), str(quick_export), str(two),
                          errors=err) as process:
        process.join(120)
    if process.exitcode == disks.NOT_ALLOWED:
        pytest.skip("this system lets nobody mount a tmpfs")
    assert process.exitcode == 0, err.read_text()
    assert "Traceback" not in err.read_text() and "failed:" not in err.read_text()
    # The two predictions fill the small disk; their tables do not fit.
    wanted = (r"prediction_0000[01]\.nii\.gz", r"case_00000\.tfrecord")
    for line, some in zip(out.read_text().splitlines(), wanted, strict=True):
        found = json.loads(line)
        print(found)
        assert found["disk"]
        refused = re.search(
            r"(?:predicted|prepared)/?(.*): cannot be written \(.*No space left on device.*\); fix this",
            found["said"])
        assert len(found["said"].splitlines()) == 1
        assert found["whole"] == found["there"]
        assert refused and refused[1] not in found["there"]
        assert any(re.search(f"{some}$", name) for name in found["there"])
        assert found["hidden"] == []
