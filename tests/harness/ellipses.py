"""Makes a prepared data folder of bright ellipses, and a cascade small enough to train on it in seconds."""

import dataclasses
import json

import numpy as np
import tensorflow as tf

from kits_tf import config as configs
from kits_tf.files.checksums import file_facts
from kits_tf.records import dataset, schema


def tiny_config(**changes):
    """Returns a config with networks of a few hundred weights, and small crops whose sizes all differ."""
    net = configs.UNetConfig(base_filters=4, levels=2)

    def training(**weights):
        return configs.TrainingConfig(epochs=2, steps_per_epoch=6, batch_size=4, learning_rate=1e-2, **weights)

    config = configs.CascadeConfig(
        preset="tiny",
        spacing_mm=(4.0, 2.0, 2.0),
        coarse=configs.CoarseConfig(size_voxels=20, net=net, training=training()),
        correction=configs.CorrectionConfig(crop_voxels=(12, 28), overlap_voxels=(2, 4), jitter_voxels=(1, 3), net=net,
                                            training=training()),
        fine=configs.FineConfig(crop_voxels=24, overlap_voxels=8, jitter_voxels=4, net=net, training=training()),
        tumor3d=configs.Tumor3dConfig(patch_voxels=(4, 16, 20), jitter_voxels=(1, 2, 3), tile_voxels=(4, 16, 20),
                                      net=configs.FCN3DConfig(filters=(3, 4, 5)),
                                      training=training(dice_weight=0.0, cross_entropy_weight=1.0)),
        tumor2d=configs.Tumor2dConfig(net=net, training=training(dice_weight=0.0, example_dice_weight=0.5,
                                                                       cross_entropy_weight=0.5)),
    )
    return dataclasses.replace(config, **changes)


def with_training(config, stage, **changes):
    """Returns the config with changed training settings in one stage."""
    settings = config.stage(stage)
    settings = dataclasses.replace(settings, training=dataclasses.replace(settings.training, **changes))
    return dataclasses.replace(config, **{stage: settings})


def draw_ellipse(shape, rng, kind):
    """Returns an int16 image and uint8 labels: a kidney of 120 HU near the middle; kind 2 has a tumor of 240 HU."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    centre = rng.uniform(-0.15, 0.15, len(shape))
    distance = sum(((axis - c) / 0.6) ** 2 for axis, c in zip(axes, centre, strict=True))
    labels = np.zeros(shape, np.uint8)
    if kind >= 1:
        labels[distance < 1] = 1
    if kind == 2:
        labels[distance < 0.3] = 2
    image = np.choose(labels, [-40, 120, 240]) + rng.normal(0, 15, shape)
    return image.astype(np.int16), labels


def write(data_dir, config, stages=configs.STAGES, cases=5, per_case=6, kinds=(0, 1, 2)):
    """Writes records, manifests and folds as data_prep does; case k is in the validation set of fold k modulo 5."""
    names = [f"case_{number:05d}" for number in range(cases)]
    for stage in stages:
        entries = {}
        for number, case in enumerate(names):
            rng = np.random.default_rng(number)
            examples = []
            for index in range(per_case):
                kind = kinds[index % len(kinds)]
                image, labels = draw_ellipse(config.record_shape(stage), rng, kind)
                examples.append(schema.Example(image, labels, case, (index, 0, 0), -1, kind))
            if stage == "tumor3d":
                image, labels = draw_ellipse(config.record_shape(stage), rng, 2)
                examples.append(schema.Example(image, labels, case, (per_case, 0, 0), -1, schema.BOX))
            path = dataset.shard_path(data_dir, stage, case)
            entries[case] = {"records": schema.write(path, examples), "shard": file_facts(path)}
        manifest = {"settings": config.record_settings(stage), "cases": entries}
        dataset.manifest_path(data_dir, stage).write_text(json.dumps(manifest))
    folds = [names[fold::dataset.FOLDS] for fold in range(dataset.FOLDS)]
    dataset.folds_path(data_dir).write_text(json.dumps({"folds": folds}))
    return data_dir


def read(paths, shape):
    """Returns a tf.data.Dataset of parsed examples, shard after shard."""
    shards = tf.data.TFRecordDataset([str(path) for path in paths])
    return shards.map(lambda serialized: schema.parse(serialized, shape))
