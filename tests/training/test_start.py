"""Tests the warm start of tumor2d from the fine network's weights, which must exist and fit."""

import contextlib
import dataclasses
import json
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
from kits_tf.models import unfold
from kits_tf.models.fold import folded
from kits_tf.records import dataset
from kits_tf.training import checks, loop, start, step
from kits_tf.training.task import Run, make_task

TINY = ellipses.tiny_config()
CONFIG = dataclasses.replace(TINY, tumor2d=dataclasses.replace(TINY.tumor2d, start_from_fine=True))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return ellipses.write(tmp_path_factory.mktemp("data"), CONFIG, stages=["fine", "tumor2d"])


def train(stage, data_dir, run_dir, config=CONFIG):
    lines = []
    loop.train(Run(make_task(config, stage, data_dir, 0, 0), run_dir), report=lines.append)
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
    return loop.train(Run(make_task(CONFIG, "tumor2d", data_dir, 0, 0), run_dir), report=lines.append), lines, run_dir


@pytest.fixture
def run_dir(tmp_path, with_fine):
    """A private copy of `with_fine`."""
    shutil.copytree(with_fine, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    """A run folder in which the fine net was trained."""
    run_dir = tmp_path_factory.mktemp("trained")
    train("fine", data_dir, run_dir)
    return run_dir


@pytest.fixture
def fine_run(tmp_path, trained):
    """A private copy of `trained`."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.mark.parametrize("average_decay", [0.0, 0.9])
def test_what_the_nets_have_alike_is_fines_and_the_rest_is_fresh(data_dir, with_fine, average_decay):
    config = ellipses.with_training(CONFIG, "tumor2d", average_decay=average_decay)
    task = make_task(config, "tumor2d", data_dir, 0, 0)
    fresh, *_ = task.build()
    one = step.TrainStep(task, tf.distribute.get_strategy())
    start.begin(Run(task, with_fine), one)
    fine = models.load(config, "fine", runs.stage_folder(with_fine, "fine", 0) / runs.BEST)
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
    start.begin(Run(task, run_dir), one)
    first = events.step_losses(run_dir, "tumor2d")[0]
    assert first == pytest.approx(loss(), rel=1e-5) and first != pytest.approx(fresh, rel=1e-3)


def test_without_the_fine_net_one_line_says_how_to_train_it(data_dir, tmp_path):
    with pytest.raises(InputError, match=r"^tumor2d fold 0: needs the weights of the fine net, which is not "
                                         r"trained \(\S*/fine/fold0/best.weights.h5: no such file\); train it first: "
                                         r"the same command with --stage=fine; or give --nostart_from_fine$"):
        train("tumor2d", data_dir, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_fine_net_that_will_be_trained_before_is_no_error(data_dir, tmp_path):
    fine, tumor2d = (make_task(CONFIG, stage, data_dir, 0, 0) for stage in ("fine", "tumor2d"))
    other_fold = make_task(CONFIG, "fine", data_dir, 1, 0)
    one = tf.distribute.get_strategy()
    checks.check(Run(tumor2d, tmp_path), one, [other_fold, fine])
    with pytest.raises(InputError, match="is not trained"):
        checks.check(Run(tumor2d, tmp_path), one, [other_fold])


def test_a_fine_net_of_another_shape_is_one_line(data_dir, run_dir, tmp_path):
    wider = configs.UNetConfig(base_filters=6, levels=2)
    config = dataclasses.replace(CONFIG, tumor2d=dataclasses.replace(CONFIG.tumor2d, net=wider))
    said = (r"\(\S*/fine/fold0\), which has UNetConfig\(base_filters=4,.*\), not UNetConfig\(base_filters=6,.*\); "
            r"train both with the same net settings, or give --nostart_from_fine$")
    with pytest.raises(InputError, match=said):
        train("tumor2d", data_dir, run_dir, config)
    fine, tumor2d = (make_task(config, stage, data_dir, 0, 0) for stage in ("fine", "tumor2d"))
    with pytest.raises(InputError, match=said):  # reported before fine is trained
        checks.check(Run(tumor2d, tmp_path), tf.distribute.get_strategy(), [fine])


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
    parts = loop.train(Run(make_task(CONFIG, "tumor2d", data_dir, 0, 0), run_dir), report=lines.append)
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


def started(stage, data_dir, run_dir, given, config=TINY):
    run = start.starting_from(Run(make_task(config, stage, data_dir, 0, 0), run_dir), given)
    lines = []
    return loop.train(run, report=lines.append), lines


def as_export(folder, weights):
    """Writes a version folder that has the fine net of a weights file as an export has it."""
    net = models.load(TINY, "fine", weights)
    kept = [tf.Variable(values) for values in folded(net, TINY, "fine").get_weights()]
    tf.train.Checkpoint(net_variables=kept).write(str(folder / "variables" / "variables"))
    runs.save_config(folder / "assets", TINY)
    (folder / "saved_model.pb").write_text("a graph, which training does not read")
    unfold.save({"fine": net}, folder, TINY)


@pytest.mark.parametrize("given", [
    "run/fine/fold0/best.weights.h5", pytest.param("model", marks=pytest.mark.soak), "export"])
def test_a_run_starts_from_given_weights_and_continues_without_them(data_dir, fine_run, tmp_path, given,
                                                                   killed_once_saved):
    best = runs.stage_folder(fine_run, "fine", 0) / runs.BEST
    if given == "model":
        shutil.copytree(best.parent, tmp_path / "model" / "fine", ignore=shutil.ignore_patterns("config.json"))
    as_export(tmp_path / "export" / "1", best)
    place, own = tmp_path / "own", runs.stage_folder(tmp_path / "own", "fine", 0)
    still = ellipses.with_training(TINY, "fine", learning_rate=1e-12)
    with killed_once_saved():
        started("fine", data_dir, place, tmp_path / given, still)
    for name in ("run", "model", "export"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    lines = started("fine", data_dir, place, tmp_path / given, still)[1]
    assert "resumes after epoch 1 of 2" in lines[0]
    recorded = json.loads((own / "training.json").read_text())["start_from"]
    assert recorded["given"] == str(tmp_path / given) and len(recorded["sha256"]) == 64
    with pytest.raises(InputError, match=r"it began from \S*(?:best.weights.h5|export/1) \(SHA-256 \w{8}\.\.\.\), "
                                         r"now from no --start_from"):
        train("fine", data_dir, place, still)


def test_training_from_given_weights_begins_with_their_score(data_dir, with_fine, tmp_path):
    still = ellipses.with_training(TINY, "fine", epochs=1, learning_rate=1e-12)
    net = dataclasses.replace(still.fine.net, normalization="none")  # batch statistics would change the score
    still = dataclasses.replace(still, fine=dataclasses.replace(still.fine, net=net))
    learned = ellipses.with_training(still, "fine", learning_rate=1e-2)
    before = loop.train(Run(make_task(learned, "fine", data_dir, 0, 0), tmp_path / "before"), report=str)
    history, lines = started("fine", data_dir, tmp_path / "own", tmp_path / "before", still)
    assert f"1 epochs, starting from {tmp_path}/before/fine/fold0/best.weights.h5's weights" in lines[0]
    assert history[0]["val_loss"] == pytest.approx(before[0]["val_loss"], abs=1e-5)


def test_tumor2d_takes_the_given_weights_rather_than_fines(data_dir, whole, tmp_path):
    run = start.starting_from(Run(make_task(CONFIG, "tumor2d", data_dir, 0, 0), tmp_path), whole[2])
    assert run.origin == runs.stage_folder(whole[2], "tumor2d", 0) / runs.BEST
    checks.check(run, tf.distribute.get_strategy())  # without a fine net in that run folder


@pytest.mark.parametrize(("given", "said"), [
    ("nowhere", "nowhere: no such file or folder; give a weights file, an export, or a folder that has "
                "coarse/best.weights.h5 or"),
    ("run", "holds no weights of the coarse net and none of fold 0; give"),
    ("run/fine/fold0/history.csv", "history.csv: cannot be read as weights of the coarse net"),
    ("wider/fine/fold0/best.weights.h5", "--start_from expects a coarse net like that to be trained, but "
                                         "base_filters=6, now 4; give its settings"),
    ("wider.weights.h5", r"of the coarse net \(array 0 of layer down0_1_norm has shape \(6,\), expected \(4,\)\)"),
    ("deeper.weights.h5", r"of the coarse net \(array 0 of layer \S+ has shape"),
], ids=["nowhere", "no such stage", "no weights", "wider run", "wider file", "deeper file"])
def test_weights_that_do_not_fit_are_one_line_that_says_what_differs(data_dir, fine_run, tmp_path, given, said):
    for name, net in (("wider", configs.UNetConfig(base_filters=6, levels=2)),
                      ("deeper", configs.UNetConfig(base_filters=4, levels=3))):
        config = dataclasses.replace(TINY, **{stage: dataclasses.replace(TINY.stage(stage), net=net)
                                              for stage in ("coarse", "fine")})
        folder = runs.stage_folder(tmp_path / name, "fine", 0)
        runs.save_config(folder, config)
        models.build(config, "fine").save_weights(str(folder / runs.BEST))
        shutil.copy(folder / runs.BEST, tmp_path / f"{name}.weights.h5")
    ellipses.write(tmp_path / "data", TINY, stages=["coarse"], per_case=1)
    task = make_task(TINY, "coarse", tmp_path / "data", 0, 0)
    with pytest.raises(InputError, match=re.escape(said) if "(" not in said else said) as caught:
        checks.check(start.starting_from(Run(task, tmp_path / "own"), tmp_path / given), tf.distribute.get_strategy())
    assert "\n" not in str(caught.value) and not (tmp_path / "own").exists()


@pytest.mark.parametrize(("stage", "warned"), [("coarse", True), ("fine", False)])
def test_weights_that_are_another_stages_by_their_place_are_warned_of(stage, warned, data_dir, fine_run, tmp_path,
                                                                      capsys):
    ellipses.write(tmp_path / "data", TINY, stages=[stage], per_case=1)
    task = make_task(TINY, stage, tmp_path / "data", 0, 0)
    start.starting_from(Run(task, tmp_path / "own"), fine_run / "fine" / "fold0" / runs.BEST)
    assert ("which seems to be the fine net" in capsys.readouterr().err) == warned


def deal(data_dir, folds):
    """Writes folds of the cases with these numbers."""
    named = [[f"case_0000{number}" for number in fold] for fold in folds]
    dataset.folds_path(data_dir).write_text(json.dumps({"folds": named}))


@pytest.mark.parametrize(("folds", "said"), [
    ([[1], [0], [2], [3], [4]], r"\S*/fine/fold0 is validated on case_00000, on which tumor2d fold 0 was trained"),
    ([[0, 1], [], [2], [3], [4]], r"tumor2d fold 0 is validated on case_00001, on which \S*/fine/fold0 was trained")])
def test_tumor2d_does_not_train_on_what_fine_is_validated_on_nor_the_other_way_round(folds, said, data_dir, fine_run,
                                                                                     tmp_path):
    data = shutil.copytree(data_dir, tmp_path / "dealt anew")
    deal(data, folds)
    before = sorted(fine_run.rglob("*"))
    with pytest.raises(InputError, match=rf"^tumor2d fold 0: {said}, so that its scores would be too good; train all "
                                         r"nets of a fold on the same folds into another --run_dir$"):
        train("tumor2d", data, fine_run)
    assert sorted(fine_run.rglob("*")) == before


def test_one_scan_to_train_on_and_to_validate_on_under_two_names_is_refused(data_dir, tmp_path):
    task = make_task(TINY, "fine", data_dir, 3, 0)
    twins = {name: {"records": "-", "scan": "one"} for name in ("case_00000", "case_00003")}
    run = Run(dataclasses.replace(task, records=task.records | twins), tmp_path / "run")
    with pytest.raises(InputError, match=r"^fine fold 3: case_00003 is validated on, and a training case has the same "
                                         r"scan under another name, .* take one of the two out of the study"):
        checks.check(run, tf.distribute.get_strategy())


def test_cases_that_were_added_after_fine_was_trained_refuse_nothing(data_dir, fine_run, tmp_path):
    config = ellipses.with_training(CONFIG, "tumor2d", epochs=1, steps_per_epoch=1)
    more = ellipses.write(tmp_path / "more", config, stages=["tumor2d"], cases=7)  # one held out, one to train on
    assert "5 training cases, 2 validation cases" in train("tumor2d", more, fine_run, config)[0]


def test_weights_trained_on_the_validation_cases_are_refused_under_any_name(data_dir, trained, tmp_path):
    scans = {f"case_0000{number}": {"records": "-", "scan": f"scan {number}"} for number in range(5)}
    place = runs.stage_folder(shutil.copytree(trained, tmp_path / "run"), "fine", 0)
    identity = json.loads((place / runs.IDENTITY).read_text())
    (place / runs.IDENTITY).write_text(json.dumps(identity | {"train": {"patient": scans["case_00003"]}}))
    task = make_task(TINY, "fine", data_dir, 3, 0)
    others = {name: facts | {"scan": f"another {name}"} for name, facts in scans.items()}
    for records, refused in ((scans, True), (others, False)):
        own = start.starting_from(Run(dataclasses.replace(task, records=records), tmp_path / "own"), tmp_path / "run")
        said = r"^fine fold 3: fine fold 3 is validated on case_00003, on which \S*best.weights.h5 was .* weights$"
        with pytest.raises(InputError, match=said) if refused else contextlib.nullcontext():
            checks.check(own, tf.distribute.get_strategy())
