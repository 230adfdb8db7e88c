"""Tests the warm start of tumor2d from the fine network's weights, which must exist and fit."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from harness import commands, ellipses, events, processes
from harness.tables import read_rows

from kits_tf import config as configs
from kits_tf import models
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.training import loop, start, step
from kits_tf.training.task import make_task

TINY = ellipses.tiny_config()
CONFIG = dataclasses.replace(TINY, tumor2d=dataclasses.replace(TINY.tumor2d, start_from_fine=True))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return ellipses.write(tmp_path_factory.mktemp("data"), CONFIG, stages=["fine", "tumor2d"])


def train(stage, data_dir, run_dir, config=CONFIG):
    lines = []
    loop.train(make_task(config, stage, data_dir, 0, 0), run_dir, report=lines.append)
    return lines


@pytest.fixture(scope="module")
def with_fine(tmp_path_factory):
    """A run folder with a fine net, of weights that no other net has."""
    run_dir = tmp_path_factory.mktemp("run")
    folder = runs.stage_folder(run_dir, "fine", 0)
    folder.mkdir(parents=True)
    fine = models.build(CONFIG, "fine")
    fine.set_weights([weight + 0.1 for weight in fine.get_weights()])
    fine.save_weights(str(folder / runs.BEST))
    runs.save_config(folder, CONFIG)
    return run_dir


@pytest.fixture(scope="module")
def whole(with_fine, data_dir, tmp_path_factory):
    """(history, printed lines, run folder) of a training of tumor2d in one go."""
    run_dir, lines = tmp_path_factory.mktemp("whole") / "run", []
    shutil.copytree(with_fine, run_dir)
    return loop.train(make_task(CONFIG, "tumor2d", data_dir, 0, 0), run_dir, report=lines.append), lines, run_dir


@pytest.fixture
def run_dir(tmp_path, with_fine):
    """A private copy of `with_fine`."""
    shutil.copytree(with_fine, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_what_the_nets_have_alike_is_fines_and_the_rest_is_fresh(data_dir, with_fine, average_decay):
    config = ellipses.with_training(CONFIG, "tumor2d", average_decay=average_decay)
    task = make_task(config, "tumor2d", data_dir, 0, 0)
    fresh, *_ = task.build()
    one = step.TrainStep(task, tf.distribute.get_strategy())
    weights = start.origin(task, with_fine)
    start.begin(one, weights)
    fine = models.load(config, "fine", weights)
    for layer in one.model.layers:
        for value, old, own in zip(layer.get_weights(), fine.get_layer(layer.name).get_weights(),
                                   fresh.get_layer(layer.name).get_weights(), strict=True):
            if layer.name == "logits":
                np.testing.assert_array_equal(value, own)
            elif layer.name == "down0_1_conv":
                assert value.shape == (3, 3, 2, 4)
                np.testing.assert_array_equal(value[:, :, :1], old)
                np.testing.assert_array_equal(value[:, :, 1:], own[:, :, 1:])
            else:
                np.testing.assert_array_equal(value, old)
    assert len(one.average) == (len(one.weights) if average_decay else 0)
    for mean, weight in zip(one.average, one.weights, strict=False):
        np.testing.assert_array_equal(mean.numpy(), weight.numpy())


def test_training_begins_there_and_says_so(data_dir, whole):
    _, lines, run_dir = whole
    assert "2 epochs, starting from the fine net's weights, 4 training cases" in lines[0]
    task = make_task(CONFIG, "tumor2d", data_dir, 0, 0)
    image, target, _ = next(iter(task.training_batches()))
    one = step.TrainStep(task, tf.distribute.get_strategy())

    def loss():
        return float(task.loss()(target, one.net(image, training=True)))

    fresh = loss()
    start.begin(one, start.origin(task, run_dir))
    first = events.step_losses(run_dir, "tumor2d")[0]
    assert first == pytest.approx(loss(), rel=1e-5) and first != pytest.approx(fresh, rel=1e-3)


def test_without_the_fine_net_one_line_says_how_to_train_it(data_dir, tmp_path):
    with pytest.raises(InputError, match=r"^tumor2d fold 0: needs the weights of the fine net, which is not "
                                         r"trained \(\S*/fine/fold0/best.weights.h5: no such file\); train it first: "
                                         r"python train.py --stage=fine --fold=0 --run_dir=\S*; or give "
                                         r"--nostart_from_fine$"):
        train("tumor2d", data_dir, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_fine_net_that_will_be_trained_before_is_no_error(data_dir, tmp_path):
    fine, tumor2d = (make_task(CONFIG, stage, data_dir, 0, 0) for stage in ("fine", "tumor2d"))
    other_fold = make_task(CONFIG, "fine", data_dir, 1, 0)
    one = tf.distribute.get_strategy()
    loop.check(tumor2d, tmp_path, one, [other_fold, fine])
    with pytest.raises(InputError, match="is not trained"):
        loop.check(tumor2d, tmp_path, one, [other_fold])


def test_a_fine_net_of_another_shape_is_one_line(data_dir, run_dir, tmp_path):
    wider = configs.UNetConfig(base_filters=6, levels=2)
    config = dataclasses.replace(CONFIG, tumor2d=dataclasses.replace(CONFIG.tumor2d, net=wider))
    said = (r"\(\S*/fine/fold0\), which has UNetConfig\(base_filters=4,.*\), not UNetConfig\(base_filters=6,.*\); "
            r"train both with the same net settings, or give --nostart_from_fine$")
    with pytest.raises(InputError, match=said):
        train("tumor2d", data_dir, run_dir, config)
    fine, tumor2d = (make_task(config, stage, data_dir, 0, 0) for stage in ("fine", "tumor2d"))
    with pytest.raises(InputError, match=said):  # reported before fine is trained
        loop.check(tumor2d, tmp_path, tf.distribute.get_strategy(), [fine])


def test_weights_that_cannot_be_read_are_one_line(data_dir, run_dir):
    weights = runs.stage_folder(run_dir, "fine", 0) / runs.BEST
    weights.write_bytes(b"nothing")
    with pytest.raises(InputError, match=rf"^{re.escape(str(weights))}: cannot be read as weights of the fine net"):
        train("tumor2d", data_dir, run_dir)


def test_a_resumed_run_ends_as_one_left_alone_though_fine_is_gone(data_dir, whole, run_dir, killed_once_saved):
    with killed_once_saved():
        train("tumor2d", data_dir, run_dir)
    folders = [runs.stage_folder(place, "tumor2d", 0) for place in (whole[2], run_dir)]
    assert not (folders[1] / runs.HISTORY).exists()
    shutil.rmtree(run_dir / "fine")
    lines = []
    parts = loop.train(make_task(CONFIG, "tumor2d", data_dir, 0, 0), run_dir, report=lines.append)
    assert "resumes after epoch 1 of 2" in lines[0]
    for one, other in zip(whole[0], parts, strict=True):
        for column in ("epoch", "loss", "val_loss", "val_dice", "learning_rate"):
            assert other[column] == pytest.approx(one[column], rel=1e-3), column
    assert len(read_rows(folders[1] / runs.HISTORY)) == 2
    for name in (runs.BEST, runs.LAST):
        one, other = (models.load(CONFIG, "tumor2d", folder / name) for folder in folders)
        for weight, again in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(weight, again, atol=1e-3)


def test_a_run_from_random_weights_is_another_run(data_dir, whole):
    other = dataclasses.replace(CONFIG, tumor2d=dataclasses.replace(CONFIG.tumor2d, start_from_fine=False))
    with pytest.raises(InputError, match=r"tumor2d\.start_from_fine=True, now False"):
        train("tumor2d", data_dir, whole[2], other)


def test_two_replicas_learn_with_adam_what_one_device_learns_from_the_same_start(data_dir, whole, run_dir, tmp_path):
    assert CONFIG.tumor2d.training.optimizer == "adam"
    output = tmp_path / "said.txt"
    with commands.started(output, processes.train, configs.to_json(CONFIG), data_dir, run_dir, "mirrored", 2, None,
                          "tumor2d") as process:
        process.join(120)
    assert process.exitcode == 0, output.read_text()
    assert "from the fine net's weights" in output.read_text()
    one, two = (events.step_losses(place, "tumor2d") for place in (whole[2], run_dir))
    assert two == pytest.approx(one, abs=1e-4) and len(two) == 12
    one, two = (models.load(CONFIG, "tumor2d", runs.stage_folder(place, "tumor2d", 0) / runs.LAST).layers
                for place in (whole[2], run_dir))
    for layer, other in zip(one, two, strict=True):
        if layer.weights:
            expected, found = (np.concatenate([weight.ravel() for weight in some.get_weights()])
                               for some in (layer, other))
            # One device's moving variance is larger by n / (n - 1), where n is 576 voxels or more.
            assert np.linalg.norm(found - expected) <= 3e-3 * np.linalg.norm(expected), layer.name
