"""Tests that a run that is killed repeatedly ends with exactly the weights of an undisturbed run."""

import pathlib
import random
import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from harness import commands, processes
from harness.tables import read_rows

from kits_tf import config as configs
from kits_tf import models
from kits_tf.files import runs

TIMES = {"samples_per_second", "input_wait", "seconds"}  # columns that differ between runs


def history(folder):
    return [{name: value for name, value in row.items() if name not in TIMES}
            for row in read_rows(folder / runs.HISTORY)]


def weights(config, path):
    return models.load(configs.from_json(config), "fine", path).get_weights()


def wait_for_an_epoch(process, output):
    """Waits until a process reports an epoch; returns False if it ends first."""
    until = time.monotonic() + 120
    while time.monotonic() < until and process.is_alive():
        if "  epoch " in output.read_text():
            return True
        time.sleep(0.02)
    return False


def assert_whole(folder):
    """Checks that every checkpoint can be read and that the history has each epoch once."""
    for path in runs.checkpoints(folder):
        reader = tf.train.load_checkpoint(str(path))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    if (folder / runs.HISTORY).exists():
        epochs = [int(row["epoch"]) for row in history(folder)]
        assert epochs == list(range(1, len(epochs) + 1))


def train_alone(folder, epochs):
    """Trains without interruption; returns (config, records, run folder)."""
    folder = pathlib.Path(folder)
    config, data_dir = processes.prepared(folder, epochs=epochs, steps_per_epoch=8, learning_rate=1e-3, clip_norm=1.0,
                                          average_decay=0.9)
    with commands.started(folder / "whole.txt", processes.train, config, data_dir, folder / "whole") as process:
        process.join(300)
    assert process.exitcode == 0, (folder / "whole.txt").read_text()
    return config, data_dir, runs.stage_folder(folder / "whole", "fine", 0)


def interrupt_and_compare(alone, folder, kinds):
    """Interrupts a run with one signal per process at random moments, lets it finish, and compares with `alone`."""
    config, data_dir, whole = alone
    rng = random.Random(len(kinds))
    place, output = runs.stage_folder(folder / "parts", "fine", 0), folder / "parts.txt"
    for number, kind in enumerate(kinds):
        output.write_text("")
        with commands.started(output, processes.train, config, data_dir, folder / "parts") as process:
            if number % 4 == 3 and kind == signal.SIGKILL:
                time.sleep(rng.uniform(0.0, 4.0))  # while it starts
            else:
                assert wait_for_an_epoch(process, output), output.read_text()
                time.sleep(rng.uniform(0.0, 0.3))
            assert process.is_alive()
            if kind == signal.SIGKILL:
                process.kill()
            else:
                process.terminate()
            process.join(60)
            assert process.exitcode == (143 if kind == signal.SIGTERM else -signal.SIGKILL)
            if kind == signal.SIGTERM:
                assert "stopped by SIGTERM and saved" in output.read_text().splitlines()[-1]
        assert_whole(place)
    with commands.started(output, processes.train, config, data_dir, folder / "parts") as process:
        process.join(300)
    assert process.exitcode == 0, output.read_text()
    assert "resumes after epoch" in output.read_text()

    assert history(place) == history(whole)
    for name in (runs.BEST, runs.LAST):
        for one, other in zip(weights(config, place / name), weights(config, whole / name), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train_alone(tmp_path_factory.mktemp("alone"), epochs=12)


def test_a_run_that_is_killed_and_stopped_ends_as_one_left_alone(alone, tmp_path):
    interrupt_and_compare(alone, tmp_path, [signal.SIGKILL, signal.SIGTERM])


@pytest.mark.soak
def test_a_run_killed_twenty_times_ends_as_one_left_alone(tmp_path):
    kinds = [signal.SIGKILL] * 20 + [signal.SIGTERM] * 5
    random.Random(20).shuffle(kinds)
    interrupt_and_compare(train_alone(tmp_path, epochs=120), tmp_path, kinds)
