"""The paper's cascade, grid and sizes, with nets a quarter to a third as wide and at most a twelfth of the examples.

For      training on a few dozen cases on two CPU cores
Command  python -m data_prep --input=STUDY --output=data --preset=small
         python train.py --stage=all --data_dir=data --run_dir=runs/small --preset=small
Minutes  52 for the five stages on two cores with AVX-512, about 94 on a busy machine with AVX2 alone
Memory   not measured in training; disk: 3 GB for the records of 30 cases
Scores   trained on 30 phantoms with real kidneys and tumors, tested on 10 others (benchmarks/accuracy, 2026-11-29):
         mean Dice 0.967 (kidney with tumor) and 0.494 (tumor) on the 7 contrast-enhanced cases, 0.937 and 0.072 on the
         3 non-contrast cases
"""

import dataclasses
import functools

from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.presets.paper import PAPER
from kits_tf.config.stages import KIDNEY_LOSS, LESION_LOSS
from kits_tf.config.training import AugmentConfig, TrainingConfig

NARROW = UNetConfig(base_filters=8)
GENTLE = AugmentConfig(rotate_degrees=12.0, scale=0.12, brightness=0.03, contrast=0.08, noise=0.03)
MIRRORED = dataclasses.replace(GENTLE, flip_x=True)
# Tumor and medulla differ in little but their Hounsfield units, which scanners calibrate: these are not varied.
CALIBRATED = dataclasses.replace(MIRRORED, brightness=0.0, contrast=0.0)
# There are few tumors, and their contrast to the kidney varies: strong augmentation prevents memorizing outlines.
VARIED = AugmentConfig(flip_x=True, rotate_degrees=15.0, scale=0.15, shear=0.1, brightness=0.1, contrast=0.15,
                       gamma=0.3, noise=0.05)
# Giant tumors are even fewer, and they are the cases that need correction: enlarged ordinary ones simulate them.
STRETCHED = dataclasses.replace(VARIED, flip_x=False, rotate_degrees=20.0, scale=0.35, shear=0.15)
QUICK = TrainingConfig(batch_size=8, learning_rate=3e-3, warm_up_steps=100)
training = functools.partial(dataclasses.replace, QUICK)

SMALL = dataclasses.replace(
    PAPER,
    preset="small",
    coarse=dataclasses.replace(PAPER.coarse, net=NARROW, training=training(epochs=8, augment=GENTLE, **KIDNEY_LOSS)),
    correction=dataclasses.replace(PAPER.correction, net=NARROW,
                                   training=training(epochs=10, augment=STRETCHED, **KIDNEY_LOSS)),
    fine=dataclasses.replace(PAPER.fine, net=NARROW,
                             training=training(epochs=12, augment=MIRRORED, **KIDNEY_LOSS)),
    # Each batch has one patch of each class.
    tumor3d=dataclasses.replace(PAPER.tumor3d, net=FCN3DConfig(filters=(8, 16, 32)), kidney_weight=0.5,
                                training=training(epochs=11, augment=CALIBRATED, batch_size=3, **LESION_LOSS)),
    tumor2d=dataclasses.replace(PAPER.tumor2d, net=NARROW, start_from_fine=True,
                                training=training(epochs=12, augment=VARIED, cases_alike=True, **LESION_LOSS)),
)
