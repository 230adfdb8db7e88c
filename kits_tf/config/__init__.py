"""Settings: one frozen dataclass per stage, and one for the cascade that holds them all.

    PRESETS["paper"]   the method of Zhang et al. (KiTS19 entry), for GPUs; PRESETS lists the others
    CascadeConfig      its fields and those of the stages, with defaults and units (cascade.py, stages.py)
    to_json from_json  a config as it is saved beside the weights that it trained and inside the export, so that
                       prediction cannot disagree with training

A preset is made of others' fields with dataclasses.replace. Every dataclass checks its fields when it is built.
"""

from kits_tf.config.cascade import RECORDS, CascadeConfig
from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.presets import PRESETS
from kits_tf.config.serialization import from_json, to_json
from kits_tf.config.stages import (
    LESION_LOSS,
    STAGES,
    CoarseConfig,
    CorrectionConfig,
    FineConfig,
    Tumor2dConfig,
    Tumor3dConfig,
    plane_axes,
)
from kits_tf.config.training import OPTIMIZERS, SCHEDULES, AugmentConfig, TrainingConfig

__all__ = ["LESION_LOSS", "OPTIMIZERS", "PRESETS", "RECORDS", "SCHEDULES", "STAGES", "AugmentConfig", "CascadeConfig",
           "CoarseConfig", "CorrectionConfig", "FCN3DConfig", "FineConfig", "TrainingConfig", "Tumor2dConfig",
           "Tumor3dConfig", "UNetConfig", "from_json", "plane_axes", "to_json"]
