"""Tests the export: one folder with networks, rules and settings, complete or absent, that predicts as its networks."""

import dataclasses
import functools
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from harness import commands, oracles
from harness.patients import HU, SPACING_MM
from harness.tiny_nets import tiny_config
from tensorflow_serving.apis import prediction_log_pb2

from kits_tf import config as configs
from kits_tf import models
from kits_tf.cascade import collect, export_cascade
from kits_tf.cascade.export import save_cascade
from kits_tf.cascade.module import net_shape, segment
from kits_tf.errors import InputError, RunError
from kits_tf.files import exports, lock, runs
from kits_tf.files.atomic import write_table, write_text
from kits_tf.scans.nifti import write_volume
from kits_tf.serving import Predictor
from kits_tf.volume import Volume

ROOT = pathlib.Path(runs.__file__).parents[2]


@pytest.fixture(scope="module")
def exported(tiny_export):
    return tiny_export


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported[2]))


@pytest.fixture
def built():
    """A module with a cascade's attributes that is built and saved in a moment."""
    module = oracles.Thresholds()
    module.texts, module.functions = {}, {"serving_default": module.serve.get_concrete_function()}
    return module


def test_the_export_answers_as_the_keras_nets_it_was_made_of(exported, patient):
    nets, config, version = exported
    hu = HU[patient]
    called = {stage: functools.partial(net, training=False) for stage, net in nets.items()}
    direct = segment(called, tf.constant(hu), tf.constant(SPACING_MM, tf.float32), config)
    predictor = Predictor(version)
    assert predictor.config == config
    labels, report = predictor.explain(Volume.from_spacing(hu, SPACING_MM))
    assert np.array_equal(labels.voxels, patient)
    assert np.array_equal(labels.voxels, direct["labels"].numpy())
    assert report["tumor_ml"] == pytest.approx(float(direct["tumor_ml"]), abs=1e-3)


def test_the_settings_travel_inside(exported):
    _, config, version = exported
    assert configs.from_json((version / "assets" / "config.json").read_text()) == config


def test_signatures_name_their_inputs_and_outputs(loaded):
    assert set(loaded.signatures) == {"serving_default", "xla", "bfloat16", "about", *configs.STAGES}
    for name in ("serving_default", "xla", "bfloat16"):
        signature = loaded.signatures[name]
        inputs = signature.structured_input_signature[1]
        assert inputs["volume"].dtype == tf.int16 and inputs["volume"].shape.rank == 3
        assert inputs["spacing_mm"].dtype == tf.float32 and inputs["spacing_mm"].shape == (3,)
        assert signature.structured_outputs["labels"].dtype == tf.uint8


def test_each_net_can_be_called_alone(exported, loaded):
    nets, config, _ = exported
    for stage, net in nets.items():
        image = tf.random.stateless_uniform((2, *net_shape(stage, config)), seed=(1, 2))
        answer = loaded.signatures[stage](image=image)["probabilities"]
        np.testing.assert_allclose(answer, net(image, training=False), atol=1e-5)


def test_the_contents_can_be_read_from_the_folder_and_from_a_server(exported, loaded):
    _, config, version = exported
    contents = json.loads((version / "assets" / "contents.json").read_text())
    assert contents["class_names"] == ["background", "kidney", "tumor"]
    assert contents["nets"] == dict.fromkeys(configs.STAGES, 1)
    assert not any(contents["mirrored"].values())
    told = loaded.signatures["about"]()
    assert json.loads(told["contents"].numpy()) == contents
    assert configs.from_json(told["config"].numpy()) == config


def test_warm_up_requests_are_prediction_logs_that_fit_the_signatures(exported, loaded):
    records = tf.data.TFRecordDataset(str(exported[2] / "assets.extra" / "tf_serving_warmup_requests"))
    asked = [prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request for record in records]
    assert {request.model_spec.signature_name for request in asked} == {"serving_default", *configs.STAGES}
    for request in asked:
        expected = loaded.signatures[request.model_spec.signature_name].structured_input_signature[1]
        given = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        assert given.keys() == expected.keys()
        for name, spec in expected.items():
            assert spec.is_compatible_with(tf.TensorSpec(given[name].shape, given[name].dtype))
        assert request.ByteSize() < 1000  # constants: the file stays small


def test_the_default_signature_holds_no_compiled_function(loaded):
    """TensorFlow Serving builds without XLA refuse compiled functions at the first request."""
    def compiled(signature):
        library = loaded.signatures[signature].graph.as_graph_def().library.function
        return sum(function.attr["_XlaMustCompile"].b for function in library)

    assert compiled("serving_default") == 0
    assert compiled("xla") > 0


def test_a_second_export_is_the_next_version(exported, built, tmp_path):
    nets, config, _ = exported
    assert save_cascade(built, tmp_path).name == "1"
    with pytest.raises(ValueError, match="tumor2d missing"):
        export_cascade({stage: nets[stage] for stage in configs.STAGES[:-1]}, tmp_path, config)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    second = save_cascade(built, tmp_path)
    assert [path.name for path in exports.versions(tmp_path)] == ["1", "2"]
    assert second.name == "2"


@pytest.mark.parametrize("taken", ["7/saved_model.pb", "7/of the user.txt"])
def test_the_next_version_is_one_above_the_newest_though_earlier_ones_were_deleted(taken, built, tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / taken).touch()
    assert save_cascade(built, tmp_path).name == "8"
    assert (tmp_path / taken).exists()


def test_a_net_of_the_wrong_shape_is_named_and_leaves_nothing_behind(tmp_path):
    config = tiny_config()
    nets = dict.fromkeys(configs.STAGES, lambda inputs: inputs[..., :1]) | {"fine": lambda inputs: inputs[:, 1:, :, :1]}
    with pytest.raises(ValueError, match="the fine net must return shape"):
        export_cascade(nets, tmp_path / "export", config)
    assert not list(tmp_path.iterdir())  # not even the folder


def test_a_full_disk_is_one_line_and_leaves_no_version(built, tmp_path, monkeypatch):
    def full(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "variables/variables.data; No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(RunError, match=r"1: cannot be written \(variables/variables.data; No space left on device\)"):
        save_cascade(built, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_failing_save_leaves_no_version(built, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space"):
        save_cascade(built, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_save_leaves_is_removed_when_the_next_export_locks_the_folder(built, tmp_path, monkeypatch):
    left = []

    def killed(_, folder, **__):
        with lock.only_writer(tmp_path):
            left.append(pathlib.Path(folder).exists())
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.saved_model, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_cascade(built, tmp_path)
    assert left == [False]


def write_nets(run_dir):
    """Writes networks of all stages for folds 0 and 1 as training does, each with different random weights."""
    config = tiny_config()
    for stage in configs.STAGES:
        net = models.build(config, stage)
        for fold in (0, 1):
            net.set_weights([weight + 0.01 * fold for weight in net.get_weights()])
            folder = runs.stage_folder(run_dir, stage, fold)
            folder.mkdir(parents=True)
            net.save_weights(str(folder / runs.BEST))
            runs.save_config(folder, config)


@pytest.fixture
def run_dir(once, same_weights, tmp_path):
    """A private copy of a run folder with the networks of `write_nets`."""
    return pathlib.Path(shutil.copytree(once("two-folds", write_nets), tmp_path / "run"))


def with_fine(config, training=None, **changes):
    """Returns a config with changes of the fine stage and of its training."""
    trained = dataclasses.replace(config.fine.training, **training or {})
    return dataclasses.replace(config, fine=dataclasses.replace(config.fine, training=trained, **changes))


def test_the_nets_of_each_fold_are_collected_with_their_weights(run_dir):
    config = tiny_config()
    longer = with_fine(config, {"epochs": 99})  # not another setting
    runs.save_config(runs.stage_folder(run_dir, "fine", 0), longer)
    nets, collected = collect.collect(run_dir, folds=(1, 0))
    assert collected == config
    assert {stage: len(found) for stage, found in nets.items()} == dict.fromkeys(configs.STAGES, 2)
    for stage in ("fine", "tumor3d"):
        image = tf.random.stateless_uniform((1, *net_shape(stage, config)), seed=(1, 2))
        answers = [net(image, training=False) for net in nets[stage]]
        for answer, fold in zip(answers, (1, 0), strict=True):
            saved = models.load(config, stage, runs.stage_folder(run_dir, stage, fold) / runs.BEST)
            np.testing.assert_allclose(answer, saved(image, training=False), atol=1e-5)
        assert np.abs(answers[0] - answers[1]).max() > 1e-4
    with pytest.raises(InputError, match="fold 2; train first"):
        collect.collect(run_dir, folds=(0, 2))


def test_folds_trained_under_other_settings_are_refused(run_dir):
    runs.save_config(runs.stage_folder(run_dir, "fine", 1), with_fine(tiny_config(), extra_slices=7))
    with pytest.raises(InputError, match="fine was trained with other settings than in fold 0"):
        collect.collect(run_dir, folds=(0, 1))


def test_a_stage_that_is_not_trained_is_named(run_dir):
    for stage in ("tumor3d", "tumor2d"):
        shutil.rmtree(runs.stage_folder(run_dir, stage, 0))
    with pytest.raises(InputError, match=r"best weights of tumor3d, tumor2d .* train\.py --stage=tumor3d"):
        collect.collect(run_dir)


def identify(run_dir, fold, **changes):
    """Writes what training writes about the cases of each stage; `changes` replace it in single stages."""
    for stage in configs.STAGES:
        train, held_out = changes.get(stage, ("abcd", "e"))
        facts = {case: {"records": f"{stage} {case}", "scan": f"scan of {case}"} for case in "abcdef"}
        write_text(runs.stage_folder(run_dir, stage, fold) / runs.IDENTITY, json.dumps({
            "seed": 0, **{side: {case: facts[case] for case in cases}
                          for side, cases in (("train", train), ("held_out", held_out))}}))


def test_a_net_trained_on_the_validation_cases_of_another_is_refused(run_dir):
    identify(run_dir, 0, tumor2d=("abcdf", "e"))  # a case was added in between
    identify(run_dir, 1, fine=("abce", "d"))
    collect.collect(run_dir, folds=(0,))
    with pytest.raises(InputError, match=r"fold1 is validated on [de], on which \S*/fold1 was trained, so that "
                                         r"the scores of fold 1 would be too good; train all nets"):
        collect.collect(run_dir, folds=(0, 1))


def test_an_export_tells_how_far_its_nets_were_trained_and_on_what(run_dir):
    identify(run_dir, 0, fine=("abc", "de"))
    for stage, scores in (("coarse", [0.5, 0.9, 0.8]), ("fine", [0.4]), ("tumor3d", [0.0] * 20)):
        folder = runs.stage_folder(run_dir, stage, 0)
        rows = [{"epoch": epoch, "val_dice": score} for epoch, score in enumerate(scores, start=1)]
        write_table(folder / runs.HISTORY, ("epoch", "val_dice"), rows)
        config = runs.load_config(folder)
        training = dataclasses.replace(config.stage(stage).training, epochs=20, patience=1)
        runs.save_config(folder, dataclasses.replace(config, **{stage: dataclasses.replace(
            config.stage(stage), training=training)}))
    described, warnings = collect.describe(run_dir)
    fine, = described["fine"]
    assert fine.pop("records") != described["coarse"][0]["records"]
    assert fine == {"fold": 0, "epochs": 1, "of_epochs": 20, "best_dice": 0.4, "best_epoch": 1, "train": 3,
                    "held_out": 2, "start_from": None}
    assert described["coarse"][0]["best_epoch"] == 2
    assert described["tumor2d"][0]["epochs"] is None
    assert [line.removeprefix(f"{run_dir}/") for line in warnings] == [
        "correction/fold0: has no history.csv, which would tell whether this net is trained to its end",
        "fine/fold0: this net is not trained to its end, it has 1 of 20 epochs and a best Dice of 0.400; continue "
        "with train.py",
        "tumor3d/fold0: the best Dice of this net is 0.000: it finds nothing",
        "tumor2d/fold0: has no history.csv, which would tell whether this net is trained to its end"]


def test_stages_trained_on_different_grids_are_refused(run_dir):
    other = dataclasses.replace(tiny_config(), spacing_mm=(3.0, 1.5632, 1.5632))
    runs.save_config(runs.stage_folder(run_dir, "fine", 0), other)
    with pytest.raises(InputError, match="fine was trained with spacing_mm"):
        collect.collect(run_dir)


def test_weights_of_another_net_are_one_line(run_dir):
    settings = json.loads(configs.to_json(tiny_config()))
    settings["fine"]["net"]["base_filters"] = 4
    write_text(runs.stage_folder(run_dir, "fine", 0) / runs.CONFIG, json.dumps(settings))
    with pytest.raises(InputError, match="cannot be read as weights of the fine net") as caught:
        collect.collect(run_dir)
    assert "\n" not in str(caught.value)


def command(*flags):
    return commands.run("-m", "kits_tf.cascade", *flags, timeout=600)


@pytest.mark.parametrize(("flags", "told"), [
    (["--folds=0,1,1"], "--folds=0,1,1: expected different numbers"),
    (["--folds=²"], "--folds=²: expected different numbers"),
    pytest.param(["--folds=0,b"], "--folds=0,b: expected different numbers", marks=pytest.mark.soak),
    pytest.param(["--lesion_threshold=1"], "--lesion_threshold=1.0: expected a number", marks=pytest.mark.soak),
    (["--set=kidney_min_voxels=3"], "--set=kidney_min_voxels: the nets were trained with this setting"),
    (["--set=fine.training.epochs=3"], "--set=fine.training.epochs: the nets were trained with this setting"),
    pytest.param(["--set=most_kidneys=two"], "--set=most_kidneys=two: expected a whole number",
                 marks=pytest.mark.soak),
    pytest.param(["--bfloat16=fine,lungs"], "--bfloat16=fine,lungs: expected some of", marks=pytest.mark.soak),
])
def test_flags_that_make_no_sense_are_one_line(tmp_path, flags, told):
    done = command(f"--run_dir={tmp_path}", *flags)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith(told)]
    assert "Traceback" not in done.stderr


@pytest.mark.soak
def test_the_command_exports_folds_mirror_images_and_bfloat16_and_prints_the_dice(run_dir, tmp_path, patient):
    config = tiny_config()
    (run_dir / "export" / ".writing-0123456789abcdef").mkdir(parents=True)  # of a killed export
    # Small: on a CPU, narrow networks in bfloat16 take many minutes for synthetic phantoms.
    write_volume(tmp_path / "study" / "case_00000" / "imaging.nii.gz", Volume.from_spacing(HU[patient], SPACING_MM))
    done = command(f"--run_dir={run_dir}", "--folds=0,1", "--tta=flips", "--bfloat16=fine,tumor2d",
                   "--tumor_fusion=tumor2d", "--lesion_threshold=0.6", "--set=most_kidneys=2",
                   "--set=tumor_confidence=0.5,1,0.25", f"--compare={tmp_path / 'study'}")
    assert done.returncode == 0, done.stderr
    steps = ("reading the five nets", "building the cascade", "saving")
    assert [step for step in steps if step not in done.stderr] == []
    assert [path.name for path in (run_dir / "export").iterdir()] == ["1"]
    assert config.tumor_fusion == "union"
    exported = configs.from_json((run_dir / "export" / "1" / "assets" / "config.json").read_text())
    assert exported == dataclasses.replace(config, tumor_fusion="tumor2d", lesion_threshold=0.6, most_kidneys=2,
                                           tumor_confidence=(0.5, 1.0, 0.25))
    assert done.stdout.count("float32 > bfloat16") == 6 and done.stdout.splitlines()[-1].startswith("mean")
    contents = json.loads((run_dir / "export" / "1" / "assets" / "contents.json").read_text())
    assert contents["nets"] == dict.fromkeys(configs.STAGES, 2)
    assert contents["mirrored"] == {"coarse": "", "correction": "", "fine": "x", "tumor3d": "x", "tumor2d": "x"}
    assert (contents["folds"], contents["weights"]) == ([0, 1], "best")
    least = contents["bfloat16_compared"]["least_dice"]
    assert list(least) == ["fine", "tumor2d"] and all(0 <= dice <= 1 for dice in least.values())
    assert contents["bfloat16"] == [stage for stage, dice in least.items() if dice >= 0.998]
    nets, _ = collect.collect(run_dir, folds=(0, 1))
    image = tf.random.stateless_uniform((1, *net_shape("fine", config)), seed=(3, 4))
    views = [net(image, training=False) for net in nets["fine"]]
    views += [net(image[:, :, ::-1], training=False)[:, :, ::-1] for net in nets["fine"]]
    answer = tf.saved_model.load(str(run_dir / "export" / "1")).signatures["fine"](image=image)["probabilities"]
    np.testing.assert_allclose(answer, np.mean(views, axis=0), atol=0.01)
