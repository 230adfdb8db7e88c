"""Tests the command train.py from a user's view."""

import functools
import json
import os
import pty
import re
import select
import shutil
import termios
import time

import pytest
from harness import commands, disks, ellipses

from kits_tf import config as configs
from kits_tf.records import dataset

run = functools.partial(commands.run, "train.py")


def test_unknown_stage_names_the_known_ones():
    done = run("--stage=kidney")
    assert done.returncode != 0
    assert "coarse|correction|fine|tumor3d|tumor2d|all" in done.stderr


def test_describe_prints_a_line_per_stage():
    done = run("--describe", "--preset=demo")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["stage", *configs.STAGES]


def test_without_records_one_line_says_how_to_make_them(tmp_path):
    done = run("--stage=fine", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("data: no fine records; make them with: python -m data_prep")


@pytest.fixture(scope="module")
def demo_data(tmp_path_factory):
    config = configs.PRESETS["demo"]
    return ellipses.write(tmp_path_factory.mktemp("demo"), config, stages=["coarse"], per_case=3)


FLAGS = ["--stage=coarse", "--preset=demo", "--epochs=1", "--steps_per_epoch=2", "--batch_size=2", "--base_filters=2",
         "--warm_up_steps=0", "--seed=4", "--fold=1", "--deterministic", "--set=all.training.augment.blur_voxels=0.7",
         "--set=coarse.training.augment.flip_y=true"]


@pytest.fixture(scope="module")
def trained(demo_data, tmp_path_factory):
    """(working folder, process) of a training of coarse, fold 1, with FLAGS, into the default runs/demo."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, run(*FLAGS, f"--data_dir={demo_data}", cwd=folder)


def test_flags_replace_the_presets_settings_and_the_run_is_written(trained):
    cwd, done = trained
    assert done.returncode == 0, done.stderr
    folder = cwd / "runs" / "demo" / "coarse" / "fold1"
    saved = configs.from_json((folder / "config.json").read_text())
    assert saved.preset == "demo"
    assert (saved.coarse.training.epochs, saved.coarse.training.batch_size) == (1, 2)
    assert saved.coarse.net.base_filters == 2
    augment = saved.coarse.training.augment
    assert (augment.blur_voxels, augment.flip_y, augment.noise) == (0.7, True, 0.03)
    assert saved.tumor3d.net.filters == (2, 4, 8)  # in the proportions of the preset, 8-16-32
    assert json.loads((folder / "training.json").read_text())["seed"] == 4
    assert "epoch 1/1" in done.stdout


@pytest.mark.parametrize(("flags", "said"), [
    (["--batch_size=4"], "coarse.training.batch_size=2, now 4"),
    (["--steps_per_epoch=1", "--fold=all"], "fold1: was trained with different settings: "
                                            "coarse.training.steps_per_epoch=2, now 1")])
def test_a_folder_of_another_run_is_refused_before_any_stage_or_fold_is_trained(trained, demo_data, flags, said):
    cwd, _ = trained
    other = run(*FLAGS, *flags, f"--data_dir={demo_data}", cwd=cwd)
    assert other.returncode == 1
    assert "Traceback" not in other.stderr
    assert said in other.stderr.splitlines()[-1]
    assert [path.name for path in (cwd / "runs" / "demo" / "coarse").iterdir()] == ["fold1"]


@pytest.mark.parametrize(("room", "full"), [
    pytest.param("60k", "checkpoints", marks=pytest.mark.soak), ("200k", "best.weights.h5")])
def test_a_full_disk_is_one_line(demo_data, tmp_path, room, full):
    disk, out, err = (tmp_path / name for name in ("disk", "out.txt", "err.txt"))
    flags = [f"--data_dir={demo_data}", "--epochs=2", "--steps_per_epoch=1", "--batch_size=2", "--base_filters=2"]
    with commands.started(out, disks.command, str(disk), room, "train.py", "--stage=coarse", "--preset=demo",
                          f"--run_dir={disk}", *flags, errors=err) as process:
        process.join(120)
    if process.exitcode == disks.NOT_ALLOWED:
        pytest.skip("this system lets nobody mount a tmpfs")
    assert process.exitcode == 1, err.read_text()
    place = disk / "coarse" / "fold0" / full
    said, = err.read_text().splitlines()
    assert said.startswith(f"{place}: cannot be written (") and "No space left on device" in said
    listed = out.read_text()
    assert f"{disk}/coarse/fold0/config.json" in listed and f"{disk}/coarse/fold0/.writing" not in listed


def at_terminal(*arguments, cwd, columns):
    """Returns the terminal output of a successful train.py with `columns` columns and a bar update at every step."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))  # a new terminal is 0 x 0, where tqdm draws nothing
    received = b""
    with commands.started(os.ttyname(theirs), commands.command, "train.py", *arguments, cwd=cwd) as process:
        while process.is_alive() or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.1)[0]:
                received += os.read(ours, 4096)
    os.close(theirs)
    os.close(ours)
    assert process.exitcode == 0, received.decode()
    return received.decode()


def test_a_terminal_shows_loss_dice_speed_and_time_left_and_a_pipe_no_bar(trained, demo_data, tmp_path):
    arguments = ["--stage=coarse", "--preset=demo", f"--data_dir={demo_data}", "--epochs=1", "--steps_per_epoch=4",
                 "--batch_size=2", "--base_filters=2"]
    shown = at_terminal(*arguments, "--run_dir=terminal", cwd=tmp_path, columns=160)
    bars = [bar for bar in shown.split("\r") if re.search(r"epoch 1/1 .* 3/4 ", bar)]
    assert len(bars) == 1, shown
    for told in (r"\bloss \d+\.\d+", r"\bDice 0\.\d+", r"\b[1-9]\d* samples/s", r"\[\d\d:\d\d<\d\d:\d\d,"):
        assert re.search(told, bars[0]), bars[0]  # the last part is elapsed and remaining time
    piped = trained[1]
    assert piped.returncode == 0 and piped.stderr == ""
    assert "\r" not in piped.stdout and " 1/2 " not in piped.stdout


@pytest.mark.parametrize(("flag", "said"), [
    ("--optimizer=lamb", "optimizer must be one of adam, adamw, sgd, got lamb"),
    ("--warm_up_steps=9999", "warm_up_steps must be zero or more and below the run's"),
    ("--set=fine.training.weight_decay=0.1", "fine.training.weight_decay must be zero for the optimizer adam"),
])
def test_a_setting_that_breaks_a_rule_is_one_line(flag, said):
    done = run("--stage=fine", "--preset=demo", flag)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert said in done.stderr.splitlines()[-1]


def test_workers_without_tf_config_are_one_line(demo_data, tmp_path):
    done = run("--stage=coarse", "--preset=demo", f"--data_dir={demo_data}", "--strategy=multiworker", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "--strategy=multiworker needs two workers or more in TF_CONFIG"


@pytest.mark.soak
def test_all_folds_are_trained_one_after_another(demo_data, tmp_path):
    done = run("--stage=coarse", "--preset=demo", f"--data_dir={demo_data}", "--fold=all", "--epochs=1",
               "--steps_per_epoch=1", "--batch_size=2", "--base_filters=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = sorted(path.parent.name for path in tmp_path.glob("runs/demo/coarse/*/best.weights.h5"))
    assert written == [f"fold{number}" for number in range(5)]


def test_a_shard_that_goes_bad_in_the_middle_is_named(demo_data, tmp_path):
    data = shutil.copytree(demo_data, tmp_path / "data")
    arguments = ["--stage=coarse", "--preset=demo", f"--data_dir={data}", "--epochs=5000", "--steps_per_epoch=4",
                 "--batch_size=2", "--base_filters=1"]
    out, err = tmp_path / "out.txt", tmp_path / "err.txt"
    with commands.started(out, commands.command, "train.py", *arguments, cwd=tmp_path, errors=err) as process:
        while "epoch 2/" not in (out.read_text() if out.exists() else "") and process.is_alive():
            time.sleep(0.02)
        shard = dataset.shard_path(data, "coarse", "case_00003")
        with open(shard, "r+b") as file:
            file.seek(shard.stat().st_size // 2)
            file.write(b"damage")
        process.join(120)
        said = err.read_text()
    assert process.exitcode == 1, said
    assert "Traceback" not in said
    # Found while it is read, or when the epoch's end looks after the shards.
    assert said.splitlines()[-1].startswith((
        f"{shard}: is damaged (DataLossError); rerun python -m data_prep to rewrite it", f"{shard}: is damaged, its "))
