"""The method of Zhang et al. (KiTS19 entry) at full size, with our own choices where the paper gives no value.

For      training on KiTS19's 210 cases, or on similar data of your own, on a GPU
Command  python -m data_prep --input=kits19/data --output=data
         python train.py --stage=all --data_dir=data --run_dir=runs/kits
Hours    3 per fold on one GPU that sustains 10 TFLOP/s in float32, estimated (per stage: docs/kits19.md); days on a CPU
Memory   GPU, estimated: 2 GB (coarse, correction), 3 GB (fine, tumor2d), 5 GB (tumor3d); disk: 21 GB for the records
         of 210 cases
Scores   none yet: these nets have not been trained to the end
"""

import dataclasses

from kits_tf.config.cascade import CascadeConfig
from kits_tf.config.stages import LESION_LOSS
from kits_tf.config.training import AugmentConfig, TrainingConfig

VARIED = AugmentConfig(rotate_degrees=15.0, scale=0.15, shear=0.1, elastic_voxels=2.0, brightness=0.1, contrast=0.15,
                       gamma=0.3, blur_voxels=0.5, low_resolution=0.3, noise=0.05)
MIRRORED = dataclasses.replace(VARIED, flip_x=True)  # a mirrored left kidney looks like a right one

DEFAULT = CascadeConfig()

PAPER = dataclasses.replace(
    DEFAULT,
    coarse=dataclasses.replace(DEFAULT.coarse, training=TrainingConfig(augment=VARIED)),
    correction=dataclasses.replace(DEFAULT.correction, training=TrainingConfig(augment=VARIED)),
    fine=dataclasses.replace(DEFAULT.fine, training=TrainingConfig(augment=MIRRORED)),
    tumor3d=dataclasses.replace(DEFAULT.tumor3d, training=TrainingConfig(
        augment=MIRRORED, batch_size=4, dice_weight=0.0, cross_entropy_weight=1.0)),
    tumor2d=dataclasses.replace(DEFAULT.tumor2d, training=TrainingConfig(augment=MIRRORED, **LESION_LOSS)),
)
