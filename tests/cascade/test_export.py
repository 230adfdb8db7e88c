"""One folder holds nets, rules and settings; it appears whole or not at all, and answers as the nets it was made of."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from threshold_nets import HU, KIDNEY_ABOVE, SPACING_MM, TUMOR_ABOVE

from kits_tf import config as configs
from kits_tf import models, runs
from kits_tf.cascade import collect, export_cascade
from kits_tf.cascade.module import segment
from kits_tf.io.files import write_text
from kits_tf.serving import Predictor
from kits_tf.volume import InputError, Volume


def tiny_config():
    """The demo's grid with nets of two filters."""
    demo = configs.PRESETS["demo"]
    unet = configs.UNetConfig(base_filters=2, levels=3)
    flat = [stage for stage in configs.STAGES if stage != "tumor3d"]
    changes = {stage: dataclasses.replace(demo.stage(stage), net=unet) for stage in flat}
    tumor3d = dataclasses.replace(demo.tumor3d, net=configs.FCN3DConfig(filters=(2, 3, 4)))
    return dataclasses.replace(demo, preset="tiny", **changes, tumor3d=tumor3d)


def threshold_models(config):
    """Keras nets of one pointwise convolution each: steep sigmoids of the image about the half-way thresholds."""
    nets = {}
    for stage in configs.STAGES:
        above = TUMOR_ABOVE if stage.startswith("tumor") else KIDNEY_ABOVE
        layer = tf.keras.layers.Conv3D if stage == "tumor3d" else tf.keras.layers.Conv2D
        shape = (None, None, None, 1) if stage == "tumor3d" else (*config.input_shape(stage), models.channels(stage))
        net = tf.keras.Sequential([tf.keras.Input(shape), layer(1, 1, activation="sigmoid")])
        kernel, bias = net.weights
        values = np.zeros(kernel.shape, np.float32)
        values[..., 0, 0] = 60.0  # the image; tumor2d's second channel counts for nothing
        kernel.assign(values)
        bias.assign([-60.0 * above])
        nets[stage] = net
    return nets


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    config = tiny_config()
    nets = threshold_models(config)
    folder = tmp_path_factory.mktemp("export")
    return nets, config, export_cascade(nets, folder, config)


def test_the_export_answers_as_the_keras_nets_it_was_made_of(exported, patient):
    nets, config, version = exported
    hu = HU[patient]
    called = {stage: functools.partial(net, training=False) for stage, net in nets.items()}
    function = tf.function(lambda volume, spacing_mm: segment(called, volume, spacing_mm, config))
    direct = function(tf.constant(hu), tf.constant(SPACING_MM, tf.float32))
    labels, report = Predictor(version).explain(Volume.from_spacing(hu, SPACING_MM))
    assert np.array_equal(labels.voxels, patient)
    assert np.array_equal(labels.voxels, direct["labels"].numpy())
    assert report["tumor_ml"] == pytest.approx(float(direct["tumor_ml"]), abs=1e-3)


def test_the_settings_travel_inside(exported):
    _, config, version = exported
    assert configs.from_json((version / "assets" / "config.json").read_text()) == config
    assert Predictor(version).config == config


def test_signatures_name_their_inputs_and_outputs(exported):
    loaded = tf.saved_model.load(str(exported[2]))
    assert set(loaded.signatures) == {"serving_default", "xla"}
    for signature in loaded.signatures.values():
        inputs = signature.structured_input_signature[1]
        assert inputs["volume"].dtype == tf.int16 and inputs["volume"].shape.rank == 3
        assert inputs["spacing_mm"].dtype == tf.float32 and inputs["spacing_mm"].shape == (3,)
        assert signature.structured_outputs["labels"].dtype == tf.uint8


def test_the_default_signature_holds_no_compiled_function(exported):
    """TF Serving builds without XLA refuse compiled functions at the first request."""
    loaded = tf.saved_model.load(str(exported[2]))

    def compiled(signature):
        library = loaded.signatures[signature].graph.as_graph_def().library.function
        return sum(function.attr["_XlaMustCompile"].b for function in library)

    assert compiled("serving_default") == 0
    assert compiled("xla") > 0


def test_a_second_export_is_the_next_version(exported):
    nets, config, first = exported
    with pytest.raises(ValueError, match="tumor2d missing"):
        export_cascade({stage: nets[stage] for stage in configs.STAGES[:-1]}, first.parent, config)
    assert [path.name for path in first.parent.iterdir()] == ["1"]
    second = export_cascade(nets, first.parent, config)
    assert [path.name for path in runs.versions(first.parent)] == ["1", "2"]
    assert second.name == "2"


def test_a_net_of_the_wrong_shape_is_named_and_leaves_nothing_behind(tmp_path):
    config = tiny_config()
    nets = dict.fromkeys(configs.STAGES, lambda inputs: inputs[..., :1]) | {"fine": lambda inputs: inputs[:, 1:, :, :1]}
    with pytest.raises(ValueError, match="the fine net must answer with shape"):
        export_cascade(nets, tmp_path / "export", config)
    assert not list((tmp_path / "export").iterdir())


def test_a_failing_save_leaves_no_version(exported, tmp_path, monkeypatch):
    nets, config, _ = exported

    def fail(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space"):
        export_cascade(nets, tmp_path, config)
    assert not list(tmp_path.iterdir())


def write_run(run_dir, config, stages=configs.STAGES):
    for stage in stages:
        folder = runs.stage_folder(run_dir, stage, 0)
        folder.mkdir(parents=True)
        models.build(config, stage).save_weights(str(folder / runs.BEST))
        runs.save_config(folder, config)


def test_a_run_s_nets_are_collected_with_their_weights(tmp_path):
    config = tiny_config()
    write_run(tmp_path, config)
    nets, collected = collect.collect(tmp_path)
    assert collected == config
    again, _ = collect.collect(tmp_path)
    for stage in configs.STAGES:
        for one, other in zip(nets[stage].get_weights(), again[stage].get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_stage_that_is_not_trained_is_named(tmp_path):
    write_run(tmp_path, tiny_config(), configs.STAGES[:3])
    with pytest.raises(InputError, match=r"best weights of tumor3d, tumor2d .* train\.py --stage=tumor3d"):
        collect.collect(tmp_path)


def test_stages_trained_on_different_grids_are_refused(tmp_path):
    config = tiny_config()
    write_run(tmp_path, config)
    other = dataclasses.replace(config, spacing_mm=(3.0, 1.5632, 1.5632))
    runs.save_config(runs.stage_folder(tmp_path, "fine", 0), other)
    with pytest.raises(InputError, match="fine was trained with spacing_mm"):
        collect.collect(tmp_path)


def test_weights_of_another_net_are_one_line(tmp_path):
    config = tiny_config()
    write_run(tmp_path, config)
    settings = json.loads(configs.to_json(config))
    settings["fine"]["net"]["base_filters"] = 4
    write_text(runs.stage_folder(tmp_path, "fine", 0) / runs.CONFIG, json.dumps(settings))
    with pytest.raises(InputError, match="cannot be read as weights of the fine net") as caught:
        collect.collect(tmp_path)
    assert "\n" not in str(caught.value)
