"""Tests that the nets of an export can be trained further: folding the batch norms is undone."""

import numpy as np
import pytest
import tensorflow as tf
from test_fold import CONFIG, trained

from kits_tf import config as configs
from kits_tf.errors import InputError
from kits_tf.models import unfold
from kits_tf.models.fold import folded


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(nets as trained, a version folder that holds their folded weights as an export does)."""
    version, nets = tmp_path_factory.mktemp("export"), {stage: trained(stage) for stage in ("fine", "tumor3d")}
    nets["fine"].get_layer("logits").set_weights([np.ones((1, 1, 8, 1)), np.zeros(1)])
    kept = [tf.Variable(values) for stage, net in nets.items() for values in folded(net, CONFIG, stage).get_weights()]
    tf.train.Checkpoint(net_variables=kept).write(str(version / "variables" / "variables"))
    (version / "assets").mkdir()
    (version / "assets" / "config.json").write_text(configs.to_json(CONFIG))
    unfold.save(nets, version, CONFIG)
    return nets, version


@pytest.mark.parametrize("stage", ["fine", "tumor3d"])
def test_an_export_gives_back_the_trained_net(exported, stage):
    nets, version = exported
    again = unfold.load(version, stage)
    assert [layer.name for layer in again.layers] == [layer.name for layer in nets[stage].layers]
    for found, expected in zip(again.get_weights(), nets[stage].get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_channel_that_a_batch_norm_silences_stays_finite(tmp_path):
    net = trained("fine")
    norm = next(layer for layer in net.layers if layer.name.endswith("_norm"))
    norm.set_weights([np.where(np.arange(len(values)) == 0, 0, values) if place == 0 else values
                      for place, values in enumerate(norm.get_weights())])
    kept = [tf.Variable(values) for values in folded(net, CONFIG, "fine").get_weights()]
    tf.train.Checkpoint(net_variables=kept).write(str(tmp_path / "variables" / "variables"))
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "config.json").write_text(configs.to_json(CONFIG))
    unfold.save({"fine": net}, tmp_path, CONFIG)
    assert all(np.isfinite(values).all() for values in unfold.load(tmp_path, "fine").get_weights())


def test_exports_without_norms_and_damaged_ones_are_refused(exported, tmp_path):
    with pytest.raises(InputError, match="cannot be trained further"):
        unfold.load(tmp_path, "fine")
    with pytest.raises(InputError, match="cannot be read as an export"):
        unfold.load(exported[1], "coarse")  # its nets are fine and tumor3d
