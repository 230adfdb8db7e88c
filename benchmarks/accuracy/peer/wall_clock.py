"""nnU-Net's trainer, stopped by the clock instead of after 1000 epochs. Read by nnU-Net itself (nnUNet_extTrainer).

Epochs are short (4 steps, 1 of validation), so that it stops within minutes even where a step takes one; the learning
rate falls as its own does, over the time instead of the epochs. It saves after each, so that training can be broken off
and go on; the epochs' times are in nnU-Net's checkpoints. All else is nnU-Net's.
"""

import os

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

POWER = 0.9  # of nnU-Net's own schedule


class OutOfTimeError(Exception):
    """The wall-clock is used up."""


class nnUNetTrainerWallClock(nnUNetTrainer):  # noqa: N801, by this name nnU-Net finds it
    def __init__(self, plans, configuration, fold, dataset_json, device):  # by these names nnU-Net stores them
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 4, 1
        self.num_epochs, self.save_every = 10**6, 1
        self.seconds = float(os.environ["WALL_CLOCK_S"])

    def spent(self):
        """Seconds that the epochs so far took, of those before a break too."""
        logged = self.logger.get_checkpoint()
        return sum(logged["epoch_end_timestamps"]) - sum(logged["epoch_start_timestamps"][:self.current_epoch])

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        left = max(1 - self.spent() / self.seconds, 0.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr * left**POWER

    def on_epoch_end(self):
        super().on_epoch_end()
        if self.spent() >= self.seconds:
            raise OutOfTimeError

    def run_training(self):
        try:
            super().run_training()
        except OutOfTimeError:
            self.on_train_end()  # writes checkpoint_final.pth

    def perform_actual_validation(self, *given, **named):
        """Left out: the held-out cases are predicted instead."""
