"""The paper's cascade, its grid and all its sizes, with nets a quarter to a third as wide and a twelfth of the examples
or fewer.

For      training on some dozens of cases on two CPU cores
Command  python -m data_prep --input=STUDY --output=data --preset=small
         python train.py --stage=all --data_dir=data --run_dir=runs/small --preset=small
Minutes  52 for the five stages on two cores with AVX-512, some 94 on a busy machine with AVX2 alone
Memory   not measured in training; 3 GB of disk for the records of 30 cases
Scores   trained on 30 phantoms around real kidneys and tumors, 10 others held out (benchmarks/accuracy, 29 November
         2026): mean Dice 0.967 (kidney with tumor) and 0.494 (tumor) on the 7 with contrast medium, 0.937 and 0.072 on
         the 3 without
"""

import dataclasses

from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.presets.paper import PAPER
from kits_tf.config.stages import LESION_LOSS
from kits_tf.config.training import AugmentConfig, TrainingConfig

NARROW = UNetConfig(base_filters=8)
GENTLE = AugmentConfig(rotate_degrees=12.0, scale=0.12, brightness=0.03, contrast=0.08, noise=0.03)
MIRRORED = dataclasses.replace(GENTLE, flip_x=True)
# Tumor and medulla differ by little but their Hounsfield units, which a scanner calibrates: those stay as they are.
CALIBRATED = dataclasses.replace(MIRRORED, brightness=0.0, contrast=0.0)
# Few tumors, of any brightness beside their kidney: their outline must not be learned by heart.
VARIED = AugmentConfig(flip_x=True, rotate_degrees=15.0, scale=0.15, shear=0.1, brightness=0.1, contrast=0.15,
                       gamma=0.3, noise=0.05)
# Giants are fewer yet, and it is they that call correction: what is ordinary, drawn larger, stands in for them.
STRETCHED = dataclasses.replace(VARIED, flip_x=False, rotate_degrees=20.0, scale=0.35, shear=0.15)
QUICK = TrainingConfig(batch_size=8, learning_rate=3e-3, warm_up_steps=100)
KIDNEY_LOSS = {"dice_weight": 0.5, "cross_entropy_weight": 0.5}


def _training(epochs, augment, **changes):
    return dataclasses.replace(QUICK, epochs=epochs, augment=augment, **changes)


SMALL = dataclasses.replace(
    PAPER,
    preset="small",
    coarse=dataclasses.replace(PAPER.coarse, net=NARROW, training=_training(8, GENTLE, **KIDNEY_LOSS)),
    correction=dataclasses.replace(PAPER.correction, net=NARROW, training=_training(10, STRETCHED, **KIDNEY_LOSS)),
    fine=dataclasses.replace(PAPER.fine, net=NARROW, training=_training(12, MIRRORED, **KIDNEY_LOSS)),
    # Each batch holds one patch of either class.
    tumor3d=dataclasses.replace(PAPER.tumor3d, net=FCN3DConfig(filters=(8, 16, 32)), kidney_weight=0.5,
                                training=_training(11, CALIBRATED, batch_size=3, **LESION_LOSS)),
    tumor2d=dataclasses.replace(PAPER.tumor2d, net=NARROW, start_from_fine=True,
                                training=_training(12, VARIED, cases_alike=True, **LESION_LOSS)),
)
