"""A training task: one stage on one fold. It has the net, optimizer, loss and batches; the loop knows no stages."""

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

# oneDNN's gradient of a bfloat16 kernel is noise where a block is two voxels deep (seen on TensorFlow 2.15 and 2.21),
# as a shallower patch would be on one of the net's levels.
SHALLOWEST_BFLOAT16 = 10  # slices


@dataclasses.dataclass(frozen=True)
class Task:
    """One stage on one fold.

    Attributes:
        config: the whole cascade's settings.
        stage: one of config.STAGES.
        fold: which cases are held out.
        seed: of the fresh weights and of everything drawn.
        train, held_out: shards, one per case, sorted by case.
        precision: what the net computes in, as models.build.
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
        """As "fine fold 0"."""
        return f"{self.stage} fold {self.fold}"

    @property
    def training(self) -> configs.TrainingConfig:
        """The stage's TrainingConfig."""
        return self.config.stage(self.stage).training

    def identity(self) -> dict:
        """What, beside the config, decides the outcome; plain JSON values."""
        return {"seed": self.seed, "precision": self.precision, "train": [path.stem for path in self.train],
                "held_out": [path.stem for path in self.held_out]}

    def build(self, replicas: int = 1) -> tuple[tf.keras.Model, tf.keras.Model, tf.keras.optimizers.Optimizer]:
        """The net with fresh weights, the same net ending in logits, and the optimizer, ready for it."""
        tf.keras.utils.set_random_seed(self.seed)
        model = models.build(self.config, self.stage, self.precision, replicas)
        return model, models.logits_model(model), schedule.optimizer(self.training, model.trainable_variables)

    def loss(self) -> Callable[..., tf.Tensor]:
        """A function of (labels, logits, total=...), as losses.segmentation_loss; where there is a second channel, the
        kidney's, each channel has its share."""
        one = functools.partial(losses.segmentation_loss, dice_weight=self.training.dice_weight,
                                example_dice_weight=self.training.example_dice_weight,
                                cross_entropy_weight=self.training.cross_entropy_weight)

        def both(labels, logits, **total):
            share = self.config.tumor3d.kidney_weight
            return ((1.0 - share) * one(labels[..., :1], logits[..., :1], **total)
                    + share * one(labels[..., 1:], logits[..., 1:], **total))

        return both if self.config.outputs(self.stage) > 1 else one

    def training_batches(self, first_step: int = 0, part: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        return pipeline.training_batches(self.config, self.stage, self.train, self.seed, first_step, part)

    def held_out_batches(self) -> tf.data.Dataset:
        return pipeline.held_out_batches(self.config, self.stage, self.held_out)


def make_task(config: configs.CascadeConfig, stage: str, data_dir: str | pathlib.Path, fold: int, seed: int,
              precision: str = "float32") -> Task:
    """Finds the records of a stage and makes sure that they are whole.

    Raises:
        InputError: as records.dataset.split and records.integrity.verify, and for float16 where TensorFlow lacks it.
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
