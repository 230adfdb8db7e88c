"""A training task: one stage on one fold.

The task provides the net, the optimizer, the loss and the batches, so the training loop does not depend on the stage.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import tensorflow as tf

from kits_tf import config as configs
from kits_tf import losses, models
from kits_tf.errors import InputError
from kits_tf.inputs import pipeline
from kits_tf.records import dataset, integrity
from kits_tf.training import schedule

# In bfloat16, oneDNN computes a wrong (noise-like) kernel gradient for blocks two voxels deep (seen with TensorFlow
# 2.15 and 2.21). Patches with fewer slices would reach that depth on one of the net's levels.
SHALLOWEST_BFLOAT16 = 10  # slices


@dataclasses.dataclass(frozen=True)
class Task:
    """One stage on one fold.

    Attributes:
        config: settings of the whole cascade.
        stage: one of config.STAGES.
        fold: index of the fold whose cases are the validation set.
        seed: seed for initialization, sampling and augmentation.
        train, held_out: shards of the training and the validation cases, one per case, sorted by case.
        precision: computation precision of the net, as in models.build.
    """

    config: configs.CascadeConfig
    stage: str
    fold: int
    seed: int
    train: tuple[pathlib.Path, ...]
    held_out: tuple[pathlib.Path, ...]
    precision: str = "float32"

    @property
    def name(self) -> str:
        """Name for messages, for example "fine fold 0"."""
        return f"{self.stage} fold {self.fold}"

    @property
    def training(self) -> configs.TrainingConfig:
        """The stage's TrainingConfig."""
        return self.config.stage(self.stage).training

    def identity(self) -> dict:
        """Returns what determines the result besides the config: seed, precision and cases; plain JSON values."""
        return {"seed": self.seed, "precision": self.precision, "train": [path.stem for path in self.train],
                "held_out": [path.stem for path in self.held_out]}

    def build(self, replicas: int = 1) -> tuple[tf.keras.Model, tf.keras.Model, tf.keras.optimizers.Optimizer]:
        """Builds (model, logits model, optimizer) with random initialization; the two models share their weights."""
        tf.keras.utils.set_random_seed(self.seed)
        model = models.build(self.config, self.stage, self.precision, replicas)
        return model, models.logits_model(model), schedule.optimizer(self.training, model.trainable_variables)

    def loss(self) -> Callable[..., tf.Tensor]:
        """Returns a function of (labels, logits, total=...), as losses.segmentation_loss.

        With a second output channel (tumor3d's kidney) it is the weighted mean of both channels' losses; the kidney has
        the weight `kidney_weight`.
        """
        one = functools.partial(losses.segmentation_loss, dice_weight=self.training.dice_weight,
                                example_dice_weight=self.training.example_dice_weight,
                                cross_entropy_weight=self.training.cross_entropy_weight)

        def both(labels, logits, **total):
            share = self.config.tumor3d.kidney_weight
            return ((1.0 - share) * one(labels[..., :1], logits[..., :1], **total)
                    + share * one(labels[..., 1:], logits[..., 1:], **total))

        return both if self.config.outputs(self.stage) > 1 else one

    def training_batches(self, first_step: int = 0, part: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Creates the dataset of training batches (pipeline.training_batches)."""
        return pipeline.training_batches(self.config, self.stage, self.train, self.seed, first_step, part)

    def held_out_batches(self) -> tf.data.Dataset:
        """Creates the dataset of validation batches (pipeline.held_out_batches)."""
        return pipeline.held_out_batches(self.config, self.stage, self.held_out)


def make_task(config: configs.CascadeConfig, stage: str, data_dir: str | pathlib.Path, fold: int, seed: int,
              precision: str = "float32") -> Task:
    """Finds and verifies the records of a stage and returns its Task.

    Raises:
        InputError: as records.dataset.split and records.integrity.verify; also for tumor3d on a CPU in float16, or in
            bfloat16 with patches of fewer than SHALLOWEST_BFLOAT16 slices.
    """
    if stage == "tumor3d" and precision != "float32" and not tf.config.list_logical_devices("GPU"):
        depth = config.tumor3d.patch_voxels[0]
        if precision == "mixed_float16":
            raise InputError("tumor3d: --precision=mixed_float16 needs a GPU, since TensorFlow does not pool blocks of "
                             "float16 on CPUs; mixed_bfloat16 works on both")
        if depth < SHALLOWEST_BFLOAT16:
            raise InputError(f"tumor3d: --precision=mixed_bfloat16 needs patches of {SHALLOWEST_BFLOAT16} slices or "
                             f"more on a CPU, got {depth}; train in float32")
    train, held_out = dataset.split(data_dir, stage, fold, config)
    integrity.verify(data_dir, stage, [path.stem for path in (*train, *held_out)])
    return Task(config, stage, fold, seed, tuple(train), tuple(held_out), precision)
