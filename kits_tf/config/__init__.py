"""Settings: one frozen dataclass per stage, and one for the whole cascade.

    PRESETS["paper"]   the method of Zhang et al. (KiTS19 entry), for GPUs; PRESETS has the other presets too
    CascadeConfig      fields of the cascade and of its stages, with defaults and units (cascade.py, stages.py)
    to_json from_json  convert a config to JSON and back. It is saved beside the weights and inside the export, so that
                       prediction uses the settings of training

Variants are made with dataclasses.replace. Every dataclass checks its fields when it is built.
"""

from kits_tf.config.cascade import RECORDS, CascadeConfig
from kits_tf.config.nets import FCN3DConfig, UNetConfig
from kits_tf.config.presets import PRESETS
from kits_tf.config.serialization import differences, from_json, to_json
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
           "Tumor3dConfig", "UNetConfig", "differences", "from_json", "plane_axes", "to_json"]
