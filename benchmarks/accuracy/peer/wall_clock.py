"""nnU-Net's trainer with a time limit instead of 1000 epochs. nnU-Net itself loads this file (nnUNet_extTrainer).

Epochs are short (4 steps, 1 validation step), so that training stops within minutes even if a step takes a minute. The
learning rate follows nnU-Net's schedule over time instead of epochs. Every epoch is saved, so that training can be
resumed; nnU-Net's checkpoints store the epochs' times. Everything else is unchanged.
"""

import os

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

POWER = 0.9  # of nnU-Net's own schedule


class OutOfTimeError(Exception):
    """The training time is over."""


class nnUNetTrainerWallClock(nnUNetTrainer):  # noqa: N801, nnU-Net finds the class by this name
    def __init__(self, plans, configuration, fold, dataset_json, device):  # nnU-Net stores arguments by these names
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 4, 1
        self.num_epochs, self.save_every = 10**6, 1
        self.seconds = float(os.environ["WALL_CLOCK_S"])

    def spent(self):
        """Returns the seconds of all epochs so far, including those before a resume."""
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
        """Does nothing: the test set is predicted afterwards instead."""
