"""nnU-Net's trainer, stopped by the clock instead of after 1000 epochs. Read by nnU-Net itself (nnUNet_extTrainer).

Epochs are short (4 steps, 1 of validation), so that it stops within minutes even where a step takes one; the learning
rate falls as its own does, over the time instead of the epochs. After each epoch it saves, and what it took so far is
beside the checkpoint, so that training can be broken off and go on. All else is nnU-Net's.
"""

import os
import pathlib
import time

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

POWER = 0.9  # of nnU-Net's own schedule
SPENT = "seconds_spent.txt"


class OutOfTimeError(Exception):
    """The wall-clock is used up."""


class nnUNetTrainerWallClock(nnUNetTrainer):  # noqa: N801, by this name nnU-Net finds it
    def __init__(self, plans, configuration, fold, dataset_json, device):  # by these names nnU-Net stores them
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 4, 1
        self.num_epochs, self.save_every = 10**6, 1
        self.seconds, self.spent, self.began = float(os.environ["WALL_CLOCK_S"]), 0.0, None

    def load_checkpoint(self, filename_or_checkpoint):
        super().load_checkpoint(filename_or_checkpoint)
        self.spent = float((pathlib.Path(self.output_folder) / SPENT).read_text())

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        self.began = time.monotonic()
        left = max(1 - self.spent / self.seconds, 0.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr * left**POWER

    def on_epoch_end(self):
        self.spent += time.monotonic() - self.began
        (pathlib.Path(self.output_folder) / SPENT).write_text(f"{self.spent:.1f}\n")
        super().on_epoch_end()
        if self.spent >= self.seconds:
            raise OutOfTimeError

    def run_training(self):
        try:
            super().run_training()
        except OutOfTimeError:
            self.on_train_end()  # writes checkpoint_final.pth

    def perform_actual_validation(self, *given, **named):
        """Left out: the held-out cases are predicted instead."""
