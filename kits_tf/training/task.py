"""A training task, one stage on one fold, and the run that trains it into a folder.

The task provides the net, the optimizer, the loss and the batches, so the training loop does not depend on the stage.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import tensorflow as tf

from kits_tf import config as configs
from kits_tf import losses, models
from kits_tf.errors import InputError, few
from kits_tf.files import runs
from kits_tf.inputs import pipeline, sampling
from kits_tf.quiet import warn
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
        start_from: `file` and `sha256` of the weights file to start from (start.starting_from); None for others.
        records: SHA-256 of each case's shard (`records`) and of the scan that it was made of (`scan`, None if unknown).
        stamps: integrity.stamps of the shards when they were verified.
    """

    config: configs.CascadeConfig
    stage: str
    fold: int
    seed: int
    train: tuple[pathlib.Path, ...]
    held_out: tuple[pathlib.Path, ...]
    precision: str = "float32"
    start_from: dict | None = None
    records: dict[str, dict] = dataclasses.field(default_factory=dict)
    stamps: dict[pathlib.Path, tuple[int, int] | None] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name for messages, for example "fine fold 0"."""
        return f"{self.stage} fold {self.fold}"

    @property
    def training(self) -> configs.TrainingConfig:
        """The stage's TrainingConfig."""
        return self.config.stage(self.stage).training

    def identity(self) -> dict:
        """Returns what determines the result besides the config: seed, precision, weights to start from and cases, as
        plain JSON values."""
        return {"seed": self.seed, "precision": self.precision, "start_from": self.start_from,
                "train": {path.stem: self.records[path.stem] for path in self.train},
                "held_out": {path.stem: self.records[path.stem] for path in self.held_out}}

    def check_unchanged(self) -> None:
        """Checks that the shards are those that the task was made with, since a study may be prepared again meanwhile.

        Raises:
            InputError: if one is damaged or was written again with other records; the message names it.
        """
        paths = (*self.train, *self.held_out)
        if integrity.stamps(paths) == {path: self.stamps[path] for path in paths}:
            return
        entries = integrity.verify(paths[0].parents[2], self.stage, [path.stem for path in paths])
        changed = [case for case, entry in entries.items() if entry["shard"]["sha256"] != self.records[case]["records"]]
        if changed:
            raise InputError(f"{self.name}: {few(changed, 1)} was prepared again with other records during the "
                             f"training, which ends here; its last checkpoint is whole. Train into another --run_dir")

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


@dataclasses.dataclass(frozen=True)
class Run:
    """A task and the run folder that it is trained into.

    Attributes:
        task: Task.
        run_dir: the run folder, which has a folder for each stage and fold.
    """

    task: Task
    run_dir: str | pathlib.Path

    @property
    def folder(self) -> pathlib.Path:
        """The task's own folder in the run folder."""
        return runs.stage_folder(self.run_dir, self.task.stage, self.task.fold)

    @property
    def origin(self) -> pathlib.Path | None:
        """The weights or export to start from, None for random initialization. The fine net's need not exist yet."""
        if self.task.start_from:
            return pathlib.Path(self.task.start_from["file"])
        if self.task.stage != "tumor2d" or not self.task.config.tumor2d.start_from_fine:
            return None
        return runs.stage_folder(self.run_dir, "fine", self.task.fold) / runs.BEST


def make_task(config: configs.CascadeConfig, stage: str, data_dir: str | pathlib.Path, fold: int, seed: int,
              precision: str = "float32") -> Task:
    """Finds and verifies the records of a stage and returns its Task; warns if a tumor stage has no tumors.

    Raises:
        InputError: as records.dataset.split and records.integrity.verify; also for tumor3d on a CPU in float16, or in
            bfloat16 with patches of fewer than SHALLOWEST_BFLOAT16 slices.
    """
    trouble = bfloat16_trouble(config, stage)
    if stage == "tumor3d" and precision == "mixed_float16" and not tf.config.list_logical_devices("GPU"):
        raise InputError(f"tumor3d: --precision=mixed_float16 needs a GPU, since TensorFlow does not pool blocks of "
                         f"float16 on CPUs; train in {'float32' if trouble else 'mixed_bfloat16 or float32'}")
    if precision == "mixed_bfloat16" and trouble:
        raise InputError(trouble)
    train, held_out = dataset.split(data_dir, stage, fold, config)
    stamps = integrity.stamps((*train, *held_out))
    entries = integrity.verify(data_dir, stage, [path.stem for path in stamps])
    records = {case: {"records": entry["shard"]["sha256"], "scan": dataset.scan_of(entry)}
               for case, entry in entries.items()}
    task = Task(config, stage, fold, seed, tuple(train), tuple(held_out), precision, None, records, stamps)
    for paths, what in ((train, "training cases has a tumor: the net learns to find none"),
                        (held_out, "validation cases has a tumor: Dice says nothing, chance picks the best weights")):
        if stage.startswith("tumor") and not sampling.has_tumor(paths):
            warn(f"{task.name}: none of the {len(paths)} {what}")
    return task


def bfloat16_trouble(config: configs.CascadeConfig, stage: str) -> str | None:
    """Returns a line on why a stage cannot be trained in bfloat16 on this machine, or None."""
    depth = config.tumor3d.patch_voxels[0]
    if stage != "tumor3d" or depth >= SHALLOWEST_BFLOAT16 or tf.config.list_logical_devices("GPU"):
        return None
    return (f"tumor3d: --precision=mixed_bfloat16 needs patches of {SHALLOWEST_BFLOAT16} slices or more on a CPU, got "
            f"{depth}; train in float32")
