"""Tests the warm start of tumor2d from the fine network's weights, which must exist and fit."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from harness import commands, ellipses, processes

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
def with_fine(tmp_path_factory, data_dir):
    run_dir = tmp_path_factory.mktemp("run")
    train("fine", data_dir, run_dir)
    return run_dir


@pytest.fixture
def run_dir(tmp_path, with_fine):
    """A private copy of a run folder in which fine is trained."""
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


def test_training_begins_there_and_says_so(data_dir, run_dir, tmp_path):
    config = ellipses.with_training(CONFIG, "tumor2d", epochs=1, steps_per_epoch=1)
    task = make_task(config, "tumor2d", data_dir, 0, 0)
    fresh = dataclasses.replace(task, config=dataclasses.replace(config, tumor2d=dataclasses.replace(
        config.tumor2d, start_from_fine=False)))
    lines = []
    warm, = loop.train(task, run_dir, report=lines.append)
    cold, = loop.train(fresh, tmp_path / "cold", report=lines.append)
    assert "1 epochs, starting from the fine net's weights, 4 training cases" in lines[0]
    assert warm["loss"] != cold["loss"] and warm["val_loss"] != cold["val_loss"]


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


def test_a_run_goes_on_from_its_own_weights_though_fine_is_gone(data_dir, run_dir, tmp_path, killed_once_saved):
    shutil.copytree(run_dir, tmp_path / "whole")
    whole = loop.train(make_task(CONFIG, "tumor2d", data_dir, 0, 0), tmp_path / "whole", report=str)
    with killed_once_saved():
        train("tumor2d", data_dir, run_dir)
    shutil.rmtree(run_dir / "fine")
    lines = []
    parts = loop.train(make_task(CONFIG, "tumor2d", data_dir, 0, 0), run_dir, report=lines.append)
    assert "resumes after epoch 1 of 2" in lines[0]
    for one, other in zip(whole, parts, strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)


def test_a_run_from_fresh_weights_is_another_run(data_dir, run_dir):
    train("tumor2d", data_dir, run_dir)
    fresh = dataclasses.replace(CONFIG, tumor2d=dataclasses.replace(CONFIG.tumor2d, start_from_fine=False))
    with pytest.raises(InputError, match=r"tumor2d\.start_from_fine=True, now False"):
        train("tumor2d", data_dir, run_dir, fresh)


def test_two_replicas_start_where_one_device_does(data_dir, run_dir, tmp_path):
    config = configs.to_json(ellipses.with_training(CONFIG, "tumor2d", epochs=1, steps_per_epoch=2))
    told = {}
    for strategy, devices in (("one", 1), ("mirrored", 2)):
        place, output = tmp_path / strategy, tmp_path / f"{strategy}.txt"
        shutil.copytree(run_dir, place)
        with commands.started(output, processes.train, config, data_dir, place, strategy, devices, None,
                               "tumor2d") as process:
            process.join(120)
        assert process.exitcode == 0, output.read_text()
        said = output.read_text()
        assert "from the fine net's weights" in said
        told[strategy] = [float(loss) for loss in re.findall(r"^step \S+ loss (\S+)$", said, re.MULTILINE)]
    assert len(told["one"]) == 2
    assert told["mirrored"] == pytest.approx(told["one"], abs=1e-4)
