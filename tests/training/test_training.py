"""Tests training on synthetic ellipses: it learns, resumes, and refuses runs that do not match."""

import dataclasses
import json
import math
import os
import re
import shutil
import signal
import types

import numpy as np
import pytest
import tensorflow as tf
from harness import ellipses, events
from harness.tables import read_rows

from kits_tf import config as configs
from kits_tf import models
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.files.lock import only_writer
from kits_tf.records import dataset
from kits_tf.training import checkpoints, checks, failures, loop, progress, scoring, step, watching
from kits_tf.training.task import Run, make_task


@pytest.fixture(scope="module")
def config():
    return ellipses.tiny_config()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, config):
    return ellipses.write(tmp_path_factory.mktemp("data"), config)


def train(config, stage, data_dir, run_dir, seed=0, strategy=None):
    lines = []
    history = loop.train(Run(make_task(config, stage, data_dir, 0, seed), run_dir), strategy, report=lines.append)
    return history, lines


def read_history(run_dir, stage):
    return read_rows(runs.stage_folder(run_dir, stage, 0) / runs.HISTORY)


@pytest.mark.parametrize(("stage", "learning_rate", "kidney_weight"), [
    ("fine", 1e-2, 0.0), ("tumor3d", 2e-2, 0.5), pytest.param("tumor3d", 2e-2, 0.0, marks=pytest.mark.soak)])
def test_a_few_dozen_steps_learn_to_find_ellipses(config, data_dir, tmp_path, stage, learning_rate, kidney_weight):
    config = ellipses.with_training(config, stage, epochs=3, steps_per_epoch=60, learning_rate=learning_rate)
    wider = configs.FCN3DConfig(filters=(6, 8, 10))
    config = dataclasses.replace(config, tumor3d=dataclasses.replace(config.tumor3d, net=wider,
                                                                     kidney_weight=kidney_weight))
    history, lines = train(config, stage, data_dir, tmp_path)
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert history[-1]["val_dice"] > 0.8
    assert "validation:" in lines[-2]
    assert "samples/s" in lines[-2]
    rows = read_history(tmp_path, stage)
    assert list(rows[0]) == list(watching.COLUMNS)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    rates = [float(row["learning_rate"]) for row in rows]
    assert learning_rate > rates[0] > rates[1] > rates[2] > 0
    assert list((runs.stage_folder(tmp_path, stage, 0) / "events").glob("events.*"))


def test_the_validation_loss_is_that_of_all_examples_as_one_batch(config, data_dir, tmp_path):
    task = make_task(config, "tumor2d", data_dir, 0, seed=1)
    _, net, _ = task.build()
    batches = list(task.held_out_batches())
    assert len(batches) > 1
    image, target = (tf.concat([batch[part] for batch in batches], axis=0) for part in (0, 1))
    expected = task.loss()(target, net(image, training=False))
    loss, _ = scoring.scorer(tf.distribute.get_strategy(), net, task, task.held_out_batches())()
    assert loss == pytest.approx(float(expected), rel=1e-4)


def test_tumor3d_may_learn_the_kidney_too_and_each_has_its_share_of_the_loss(config, data_dir):
    config = dataclasses.replace(config, tumor3d=dataclasses.replace(config.tumor3d, kidney_weight=0.3))
    task = make_task(config, "tumor3d", data_dir, 0, seed=1)
    _, net, _ = task.build()
    image, target, _ = next(iter(task.training_batches()))
    tumor, kidney = target[..., :1], target[..., 1:]
    assert kidney.shape == tumor.shape
    assert float(tf.reduce_min(kidney - tumor)) == 0 < float(tf.reduce_max(kidney - tumor)), "kidney with tumor"
    logits = net(image, training=False)
    alone = dataclasses.replace(task, config=dataclasses.replace(config, tumor3d=dataclasses.replace(
        config.tumor3d, kidney_weight=0.0))).loss()
    expected = 0.7 * alone(tumor, logits[..., :1]) + 0.3 * alone(kidney, logits[..., 1:])
    np.testing.assert_allclose(task.loss()(target, logits), expected, rtol=1e-5)
    for _, held_out, _, _ in task.held_out_batches():
        assert held_out.shape[-1] == 1  # only the tumor is scored


@pytest.fixture(scope="module")
def finished(tmp_path_factory, config, data_dir):
    run_dir = tmp_path_factory.mktemp("finished")
    train(config, "coarse", data_dir, run_dir)
    return run_dir


def test_weights_load_into_a_net_built_from_the_saved_config(config, data_dir, finished):
    folder = runs.stage_folder(finished, "coarse", 0)
    task = make_task(runs.load_config(folder), "coarse", data_dir, 0, seed=1)
    model = models.load(task.config, "coarse", folder / runs.BEST)
    score = scoring.scorer(tf.distribute.get_strategy(), models.logits_model(model), task, task.held_out_batches())
    best = max(read_history(finished, "coarse"), key=lambda row: float(row["val_dice"]))
    np.testing.assert_allclose(score(), (float(best["val_loss"]), float(best["val_dice"])), rtol=1e-4)


def test_a_finished_run_says_so_and_is_left_alone(config, data_dir, finished):
    folder = runs.stage_folder(finished, "coarse", 0)
    before = {path: path.read_bytes() for path in (folder / runs.HISTORY, folder / runs.CONFIG)}
    history, lines = train(config, "coarse", data_dir, finished)
    assert len(history) == 2
    assert len(lines) == 1
    assert "already trained, 2 epochs" in lines[0]
    assert before == {path: path.read_bytes() for path in before}


def test_sigterm_while_a_finished_run_is_looked_at_stops_what_comes_after_it(config, data_dir, finished, monkeypatch):
    restore = checkpoints.Checkpoints.restore

    def asked(saved):
        os.kill(os.getpid(), signal.SIGTERM)
        return restore(saved)

    monkeypatch.setattr(checkpoints.Checkpoints, "restore", asked)
    with pytest.raises(failures.StoppedError, match="stopped by SIGTERM; it was already trained"):
        train(config, "coarse", data_dir, finished)


@pytest.mark.parametrize(("change", "seed", "message"), [
    ({}, 3, "seed=0, now 3"),
    ({"preset": "other"}, 0, "preset=tiny, now other"),
    ({"coarse": {"epochs": 1}}, 0, "coarse.training.epochs=2, now 1"),
    ({"coarse": {"optimizer": "sgd"}}, 3, "training.optimizer=adam, now sgd; seed=0, now 3"),
], ids=["seed", "preset", "epochs", "both"])
def test_a_folder_of_another_run_is_refused_in_one_line(config, data_dir, finished, change, seed, message):
    for field, value in change.items():
        config = (ellipses.with_training(config, field, **value) if isinstance(value, dict)
                  else dataclasses.replace(config, **{field: value}))
    with pytest.raises(InputError, match=message) as caught:
        train(config, "coarse", data_dir, finished, seed=seed)
    assert "\n" not in str(caught.value)


def test_other_stages_settings_are_no_other_run(config, data_dir, finished):
    for field in ("fine", "tumor3d"):
        config = ellipses.with_training(config, field, epochs=99, learning_rate=1.0)
    assert "already trained, 2 epochs" in train(config, "coarse", data_dir, finished)[1][0]


def test_a_second_training_into_one_folder_is_refused_by_the_first_s_name(config, data_dir, tmp_path):
    place = runs.stage_folder(tmp_path, "coarse", 0)
    with only_writer(place), pytest.raises(InputError, match=r"coarse/fold0: is in use by process \d+ on .*; "
                                                             r"wait for its end, or choose another --run_dir$"):
        train(config, "coarse", data_dir, tmp_path)
    assert not list(place.iterdir())


def every_step_raises(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(step.TrainStep, "__call__", fail)


def test_a_record_that_can_be_read_at_a_second_look_is_one_line_too(config, data_dir, tmp_path, monkeypatch):
    every_step_raises(monkeypatch, tf.errors.DataLossError(None, None, "corrupted record at 0"))
    with pytest.raises(InputError, match=r"^fine fold 0: a record could not be read \(DataLossError\), but .*"):
        train(config, "fine", data_dir, tmp_path)


def test_a_run_continues_with_its_own_cases_when_others_are_added(config, finished, tmp_path):
    ellipses.write(tmp_path, config, stages=["coarse"], cases=7)
    _, lines = train(config, "coarse", tmp_path, finished)
    assert "cases added since the run began, left out: 2; to train on them, choose another --run_dir" in lines[0]
    assert "already trained" in lines[1]


def test_a_run_whose_case_left_or_changed_sides_is_refused(config, finished, tmp_path):
    ellipses.write(tmp_path, config, stages=["coarse"], cases=4)
    with pytest.raises(InputError, match=r"it was trained on case_00004, now missing"):
        train(config, "coarse", tmp_path, finished)
    ellipses.write(tmp_path, config, stages=["coarse"])
    names = [f"case_0000{number}" for number in range(5)]
    dataset.folds_path(tmp_path).write_text(json.dumps({"folds": [names[:2], names[2:], [], [], []]}))
    with pytest.raises(InputError, match=r"it was trained on case_00001, now missing"):
        train(config, "coarse", tmp_path, finished)


def test_a_run_whose_records_were_prepared_again_with_other_labels_is_refused(config, finished, tmp_path):
    ellipses.write(tmp_path, config, stages=["coarse"], kinds=(2, 1, 0))
    with pytest.raises(InputError, match=r"it was trained on other records of case_00001 and 3 more, which were "
                                         r"prepared again since; it was validated on other records of case_00000, "
                                         r".*; choose another --run_dir") as caught:
        train(config, "coarse", tmp_path, finished)
    assert "\n" not in str(caught.value)


def test_records_that_are_written_again_while_they_are_trained_on_end_the_run(config, tmp_path, monkeypatch):
    ellipses.write(tmp_path / "data", config, stages=["coarse"])
    save = checkpoints.Checkpoints.save

    def save_and_prepare(*arguments):
        save(*arguments)
        ellipses.write(tmp_path / "data", config, stages=["coarse"], kinds=(2, 1, 0))

    monkeypatch.setattr(checkpoints.Checkpoints, "save", save_and_prepare)
    with pytest.raises(InputError, match=r"^coarse fold 0: case_00001 and 4 more was prepared again with other"):
        train(config, "coarse", tmp_path / "data", tmp_path / "run")
    assert len(read_history(tmp_path / "run", "coarse")) == 1


def test_folders_of_older_versions_name_cases_without_checksums(config, data_dir, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    path = runs.stage_folder(tmp_path / "run", "coarse", 0) / runs.IDENTITY
    identity = json.loads(path.read_text())
    del identity["start_from"]
    path.write_text(json.dumps(identity | {side: list(identity[side]) for side in ("train", "held_out")}))
    assert "already trained" in train(config, "coarse", data_dir, tmp_path / "run")[1][0]


@pytest.fixture
def place(finished, tmp_path):
    """The folder of a finished run of two epochs, a private copy in tmp_path."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return runs.stage_folder(tmp_path, "coarse", 0)


def test_a_run_continues_from_the_newest_whole_checkpoint_and_keeps_all(config, data_dir, place, tmp_path, capsys):
    kept = {name: (place / name).read_bytes() for name in (runs.HISTORY, runs.BEST, runs.LAST)}
    before = runs.load_history(place)
    for path in (place / "checkpoints").glob("ckpt-12*"):
        path.write_bytes(b"not a checkpoint")
    history, lines = train(config, "coarse", data_dir, tmp_path)
    assert "resumes after epoch 1 of 2" in lines[0] and len(history) == 2
    assert [re.sub(r" \(.*\)", "", line) for line in capsys.readouterr().err.splitlines()] == [
        f"warning: {place}/checkpoints/ckpt-12: cannot be read; continuing from the one before it, ckpt-6",
        f"warning: {place}: 2 epochs were trained, but the newest whole checkpoint has 1; continuing from there, the "
        f"results so far are kept as history-of-2-epochs.csv, best-of-2-epochs.weights.h5, last-of-2-epochs.weights.h5"]
    for name, other in ((runs.HISTORY, "history-of-2-epochs.csv"), (runs.BEST, "best-of-2-epochs.weights.h5")):
        assert (place / other).read_bytes() == kept[name]
    again = [row["val_dice"] for row in runs.load_history(place)]
    assert again == pytest.approx([row["val_dice"] for row in before], rel=1e-3)


def test_a_checkpoint_that_is_empty_or_lacks_a_part_is_not_whole(config, data_dir, place):
    task = make_task(config, "coarse", data_dir, 0, 0)
    saved = checkpoints.Checkpoints(Run(task, place.parents[1]), step.TrainStep(task, tf.distribute.get_strategy()))
    newest = place / "checkpoints" / "ckpt-12"
    whole = {path: path.read_bytes() for path in newest.parent.glob("ckpt-12*")}
    spoiled = [lambda path, part=part, change=change: part in path.name and change(path)
               for part in ("data", "index") for change in (
                   lambda path: path.unlink(), lambda path: path.write_bytes(b""),
                   lambda path: path.write_bytes(whole[path][:-9]),
                   lambda path: path.write_bytes(whole[path][:100] + b"?" + whole[path][101:]))]
    for spoil in spoiled:
        assert len(saved.restore().history) == 2
        for path in whole:
            spoil(path)
        assert len(saved.restore().history) == 1
        for path, raw in whole.items():
            path.write_bytes(raw)
    assert len(list(place.glob("history-of-2-epochs*.csv"))) == len(spoiled)  # none takes the name of another


def test_the_best_weights_come_back_from_the_checkpoint(config, data_dir, place, tmp_path):
    best = runs.best_epoch(runs.load_history(place))
    for name in (runs.BEST, runs.HISTORY, watching.PLOT):
        (place / name).unlink()
    assert "already trained" in train(config, "coarse", data_dir, tmp_path)[1][0]
    assert (place / watching.PLOT).exists()
    task = make_task(config, "coarse", data_dir, 0, 0)
    model = models.load(config, "coarse", place / runs.BEST)
    score = scoring.scorer(tf.distribute.get_strategy(), models.logits_model(model), task, task.held_out_batches())
    assert score()[1] == pytest.approx(best["val_dice"], rel=1e-4)


@pytest.mark.parametrize("what", ["folder", "all damaged"])
def test_without_a_whole_checkpoint_a_begun_run_is_refused_and_left_alone(config, data_dir, place, tmp_path, what):
    history = (place / runs.HISTORY).read_text().splitlines()
    (place / runs.HISTORY).write_text("\n".join(history[:-1]))  # one epoch of two
    if what == "folder":
        shutil.rmtree(place / "checkpoints")
    else:
        for path in (place / "checkpoints").iterdir():
            path.write_bytes(b"")
    before = {path: path.read_bytes() for path in place.iterdir() if path.is_file()}
    with pytest.raises(InputError, match=rf"^{place}/checkpoints\S*: (holds no checkpoint|cannot be read \(.*\)), "
                                         rf"though {place} holds results of training; put its checkpoints back .* move "
                                         rf"{place} away: .* --start_from$"):
        train(config, "coarse", data_dir, tmp_path)
    assert before == {path: path.read_bytes() for path in place.iterdir() if path.is_file()}
    if what == "folder":  # told before any stage is trained
        with pytest.raises(InputError, match="holds no checkpoint"):
            checks.check(Run(make_task(config, "coarse", data_dir, 0, 0), tmp_path), tf.distribute.get_strategy())


def test_a_finished_run_whose_checkpoints_were_cleared_away_is_finished(config, data_dir, place, tmp_path):
    shutil.rmtree(place / "checkpoints")
    assert "already trained, 2 epochs" in train(config, "coarse", data_dir, tmp_path)[1][0]


def test_a_finished_run_takes_more_epochs_and_says_what_becomes_of_the_learning_rate(config, data_dir, place, tmp_path):
    longer = ellipses.with_training(config, "coarse", epochs=4)
    history, lines = train(longer, "coarse", data_dir, tmp_path)
    rate = 1e-2 * 0.5 ** 0.9
    assert (f"resumes after epoch 2 of 4 (before: 2; the learning rate now falls to zero over all 4 epochs, and is "
            f"{rate:.3g} here in place of 0)") in lines[0]
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert 0 < history[-1]["learning_rate"] < history[2]["learning_rate"] < rate
    assert runs.load_config(place).coarse.training.epochs == 4
    with pytest.raises(InputError, match="epochs=4, now 2"):
        train(config, "coarse", data_dir, tmp_path)


def test_a_loss_that_is_no_number_stops_the_run_names_the_records_and_saves_nothing(config, data_dir, tmp_path):
    config = ellipses.with_training(config, "fine", learning_rate=1e38)
    with pytest.raises(InputError, match=r"loss became \S+ in epoch 1; train this stage with a lower --lear") as caught:
        train(config, "fine", data_dir, tmp_path)
    step, *records = re.search(r"records of step (\d+): (.*)$", str(caught.value)).groups()
    batches = list(make_task(config, "fine", data_dir, 0, 0).training_batches())
    expected = [f"case_0000{1 + case} from ({z}, {y}, {x})" for case, z, y, x, _ in batches[int(step) - 1][2].numpy()]
    assert records == [", ".join(expected)]
    assert not (runs.stage_folder(tmp_path, "fine", 0) / runs.LAST).exists()


def test_weights_that_the_last_step_broke_are_not_saved(config, data_dir, tmp_path):
    config = ellipses.with_training(config, "fine", epochs=1, steps_per_epoch=1, learning_rate=1e38)
    with pytest.raises(InputError, match=r"validation loss became nan in epoch 1; train this stage with a"):
        train(config, "fine", data_dir, tmp_path)
    assert not (runs.stage_folder(tmp_path, "fine", 0) / runs.LAST).exists()
    task = make_task(config, "fine", data_dir, 0, 0)
    train_step = step.TrainStep(task, tf.distribute.get_strategy())
    saved = checkpoints.Checkpoints(Run(task, tmp_path), train_step)
    train_step.weights[0].assign(tf.fill(train_step.weights[0].shape, np.inf))
    with pytest.raises(InputError, match=r"weights are no longer numbers in epoch 1; train this stage with a lower"):
        saved.save(progress.Progress(steps=1))
    assert not list(tmp_path.rglob("ckpt*"))


def test_each_stage_is_trained_on_what_its_config_says(config, data_dir):
    for stage in configs.STAGES:
        task = make_task(config, stage, data_dir, 1, 0)
        assert [path.stem for path in task.held_out] == ["case_00001"]
        assert len(task.train) == 4
        assert {path.parent.name for path in task.train} == {stage}
    logits = tf.constant([[[1.0], [-2.0]]])
    labels = tf.constant([[[1.0], [0.0]]])
    entropy = math.log(1 + math.exp(-1)) / 2 + math.log(1 + math.exp(-2)) / 2
    assert float(make_task(config, "tumor3d", data_dir, 0, 0).loss()(labels, logits)) == pytest.approx(entropy)


def test_the_same_seed_starts_from_the_same_weights(config, data_dir):
    def fresh(seed):
        model, _, _ = make_task(config, "fine", data_dir, 0, seed).build()
        return model.get_weights()

    first, again, other = fresh(1), fresh(1), fresh(2)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(np.abs(one - two).max() > 0.01 for one, two in zip(first, other, strict=True))


def test_out_of_memory_says_which_setting_to_lower(config, data_dir, tmp_path, monkeypatch):
    every_step_raises(monkeypatch, tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"))
    with pytest.raises(InputError, match=r"out of memory; give --stage=fine with a lower --batch_size \(now 4\) or a "
                                         r"lower --base_filters \(now 4\) or --precision=mixed_bfloat16"):
        train(config, "fine", data_dir, tmp_path)
    monkeypatch.undo()
    smaller = ellipses.with_training(config, "fine", batch_size=2)
    assert len(train(smaller, "fine", data_dir, tmp_path)[0]) == 2  # nothing was saved: the advice can be followed
    every_step_raises(monkeypatch, tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"))
    with pytest.raises(InputError, match=r"; since the run has begun, move \S*/fine/fold0 away first; then"):
        train(ellipses.with_training(smaller, "fine", epochs=3), "fine", data_dir, tmp_path)


def test_training_stops_early_when_the_validation_dice_no_longer_rises(config, data_dir, tmp_path):
    config = ellipses.with_training(config, "coarse", epochs=30, patience=2, steps_per_epoch=1, learning_rate=1e-9)
    net = dataclasses.replace(config.coarse.net, normalization="none")  # batch statistics would change the score
    config = dataclasses.replace(config, coarse=dataclasses.replace(config.coarse, net=net))
    history, lines = train(config, "coarse", data_dir, tmp_path)
    assert len(history) == 1 + 2
    assert "stopped early after 3 epochs" in lines[-1]
    again, lines = train(config, "coarse", data_dir, tmp_path)
    assert again == history
    assert "already trained" in lines[0]


@pytest.mark.parametrize(("scores", "patience", "done"), [
    ([0.1, 0.5, 0.4], 2, False), ([0.1, 0.5, 0.4, 0.5], 2, True), ([0.5, 0.4, 0.6], 2, False),
    ([0.5, 0.4, 0.3], 0, False), ([0.5] * 10, 0, True), ([], 2, False)])
def test_patience_counts_epochs_since_the_best(scores, patience, done):
    history = [{"val_dice": score} for score in scores]
    assert runs.finished(history, configs.TrainingConfig(epochs=10, patience=patience)) == done


def test_a_batch_that_cannot_be_split_over_the_replicas_is_refused(config, data_dir, tmp_path):
    several = types.SimpleNamespace(num_replicas_in_sync=3, cluster_resolver=None)
    with pytest.raises(InputError, match="a batch of 4 cannot be divided among 3 replicas; train on one"):
        train(config, "fine", data_dir, tmp_path, strategy=several)


def test_a_net_with_the_same_answer_everywhere_is_warned_of_once(config, data_dir, tmp_path, capsys):
    config = ellipses.with_training(config, "tumor2d", epochs=4, steps_per_epoch=1, learning_rate=1e-9)
    net = dataclasses.replace(config.tumor2d.net, normalization="none")  # batch statistics would change the score
    config = dataclasses.replace(config, tumor2d=dataclasses.replace(config.tumor2d, net=net))
    train(config, "tumor2d", data_dir, tmp_path)
    said = capsys.readouterr().err
    assert said.count("after each of the last 3 epochs: the net gives the same answer everywhere; if it") == 1


@pytest.mark.parametrize(("scores", "told"), [
    ([0.0, 0.0], False), ([0.4, 0.0, 0.0002, 0.0], True), ([0.3, 0.3, 0.3], True), ([0.0, 0.0, 0.1], False)])
def test_a_net_is_collapsed_after_three_epochs_without_or_with_one_dice(scores, told):
    assert progress.collapsed([{"val_dice": score} for score in scores]) == told


def test_a_study_without_tumors_is_warned_of_by_the_tumor_stages_alone(config, tmp_path, capsys):
    ellipses.write(tmp_path, config, stages=["fine", "tumor2d"], kinds=(0, 1))
    make_task(config, "fine", tmp_path, 0, 0)
    assert capsys.readouterr().err == ""
    make_task(config, "tumor2d", tmp_path, 0, 0)
    assert capsys.readouterr().err.splitlines() == [
        "warning: tumor2d fold 0: none of the 4 training cases has a tumor: the net learns to find none",
        "warning: tumor2d fold 0: none of the 1 validation cases has a tumor: Dice says nothing, chance picks the best "
        "weights"]


def test_a_run_is_watched_by_plot_scalars_and_pictures(finished):
    folder = runs.stage_folder(finished, "coarse", 0)
    assert (folder / watching.PLOT).read_bytes().startswith(b"\x89PNG")
    found = events.read(finished, "coarse")
    by_step = {name: found.pop(f"step/{name}") for name in ("loss", "input_wait")}
    assert set(found) == {*watching.COLUMNS[1:], "held_out"}
    assert all(set(steps) == {1, 2} for steps in found.values())
    rows = read_history(finished, "coarse")
    for name, steps in by_step.items():
        assert list(steps) == [*range(1, 13)], name
        assert all(0 <= tensor <= 1 for tensor in steps.values())
    for epoch, row in enumerate(rows):
        losses = [by_step["loss"][6 * epoch + number] for number in range(1, 7)]
        assert np.mean(losses) == pytest.approx(float(row["loss"]), rel=1e-5)
    for epoch, tensor in found["input_wait"].items():
        assert 0 <= tensor <= 1
        assert float(tensor) == pytest.approx(float(rows[epoch - 1]["input_wait"]), rel=1e-4)
    width, height, png = found["held_out"][2]
    assert tf.io.decode_png(png).shape[:2] == (int(height), int(width))


def test_no_records_says_which_command_makes_them(config, tmp_path):
    with pytest.raises(InputError, match="python -m data_prep"):
        make_task(config, "fine", tmp_path, 0, 0)
