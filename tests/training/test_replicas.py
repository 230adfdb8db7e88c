"""Tests that several replicas and workers train as one device does, and name a worker that dies."""

import contextlib
import shutil
import time

import numpy as np
import pytest
from harness import commands, dask_processes, events, processes

from kits_tf import config as configs
from kits_tf import models
from kits_tf.files import runs

STEPS = 20
LOSSES = {"dice_weight": 0.5, "example_dice_weight": 0.25, "cross_entropy_weight": 0.5}


@contextlib.contextmanager
def two_workers(folder, config, data_dir, run_dir):
    ports = dask_processes.free_ports(2)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(commands.started(folder / f"worker{index}.txt", processes.train, config, data_dir,
                                                     run_dir, "multiworker", 1, (ports, index))) for index in (0, 1)]


def outcome(config, run_dir):
    """Returns the loss of every step, and the last weights per layer, with batch statistics separate."""
    model = models.load(configs.from_json(config), "fine", runs.stage_folder(run_dir, "fine", 0) / runs.LAST)
    parts = {}
    for layer in model.layers:
        numbers = {weight.name: np.array(weight).ravel() for weight in layer.weights}
        statistics = {name: numbers.pop(name) for name in list(numbers) if "moving" in name}
        parts |= {(layer.name, name): values for name, values in statistics.items()}
        if numbers:
            parts[layer.name] = np.concatenate(list(numbers.values()))
    return events.step_losses(run_dir), parts


@pytest.fixture(scope="module")
def study(request, tmp_path_factory):
    """A config of 20 steps of an optimizer, and its records.

    With batches of 16, batch norm averages over n >= 2304 voxels. One device uses the fused kernel, whose moving
    variance is larger than the synchronized one by a factor of n / (n - 1).
    """
    return processes.prepared(tmp_path_factory.mktemp("study"), epochs=4, steps_per_epoch=STEPS // 4, batch_size=16,
                              optimizer=request.param, momentum=0.9, learning_rate=0.01, clip_norm=1.0,
                              average_decay=0.5, **LOSSES)


@pytest.fixture(scope="module")
def one_device(study, tmp_path_factory):
    """The config and the records of `study`, and the result of training on one device."""
    config, data_dir = study
    folder = tmp_path_factory.mktemp("one")
    with commands.started(folder / "one.txt", processes.train, config, data_dir, folder / "run") as process:
        process.join(120)
    assert process.exitcode == 0, (folder / "one.txt").read_text()
    return config, data_dir, outcome(config, folder / "run")


def assert_same(found, expected):
    """Compares losses to 1e-4, and each layer's weights and each batch statistic to 1e-3 of their norm."""
    assert len(found[0]) == STEPS
    assert found[0] == pytest.approx(expected[0], abs=1e-4)
    assert len(found[1]) == len(expected[1]) > 20
    for part, wanted in expected[1].items():
        assert np.linalg.norm(found[1][part] - wanted) <= 1e-3 * np.linalg.norm(wanted), part


@pytest.mark.soak  # make test: test_start.py
@pytest.mark.parametrize("study", ["adam", "sgd"], indirect=True)
def test_two_replicas_learn_what_one_device_learns(one_device, tmp_path):
    config, data_dir, expected = one_device
    with commands.started(tmp_path / "two.txt", processes.train, config, data_dir, tmp_path, "mirrored", 2) as process:
        process.join(120)
    assert process.exitcode == 0, (tmp_path / "two.txt").read_text()
    assert_same(outcome(config, tmp_path), expected)


@pytest.fixture(scope="module")
def died(study, tmp_path_factory):
    """Two workers, one of which is killed after the first epoch: (run folder, the chief's status, its output)."""
    config, data_dir = study
    folder = tmp_path_factory.mktemp("died")
    with two_workers(folder, config, data_dir, folder / "run") as (chief, other):
        while not (runs.stage_folder(folder / "run", "fine", 0) / runs.HISTORY).exists() and chief.is_alive():
            time.sleep(0.02)
        other.kill()
        chief.join(60)
    return folder / "run", chief.exitcode, (folder / "worker0.txt").read_text()


@pytest.mark.parametrize("study", ["sgd"], indirect=True)
def test_the_worker_that_dies_is_named(died):
    _, status, said = died
    assert status == 1
    assert said.splitlines()[-1].startswith("worker 1 (127.0.0.1:")


@pytest.mark.soak
@pytest.mark.parametrize("study", ["sgd"], indirect=True)
def test_two_workers_learn_what_one_device_learns_though_one_died_in_between(one_device, died, tmp_path):
    config, data_dir, expected = one_device
    run_dir = shutil.copytree(died[0], tmp_path / "run")
    with two_workers(tmp_path, config, data_dir, run_dir) as both:
        for process in both:
            process.join(120)
            assert process.exitcode == 0
    after = (tmp_path / "worker0.txt").read_text()
    assert "resumes after epoch" in after
    assert "epoch" not in (tmp_path / "worker1.txt").read_text()  # only the chief reports and writes
    assert_same(outcome(config, run_dir), expected)
