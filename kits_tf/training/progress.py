"""The progress of a run, its measurements, and the lines that report it."""

import dataclasses
from collections.abc import Sequence

import tqdm

from kits_tf.config import TrainingConfig
from kits_tf.files import runs
from kits_tf.quiet import no_bar, warn
from kits_tf.training.schedule import LearningRate
from kits_tf.training.task import Run, Task

SEVERAL = 3  # epochs with one Dice after which a net counts as collapsed


@dataclasses.dataclass
class Progress:
    """The progress of a run.

    Attributes:
        history: a list of dicts with watching.COLUMNS, one per completed epoch.
        steps: number of completed steps of the current epoch.
        sums: sums of the loss, overlap and size (losses.soft_dice_sums) of these steps.
    """

    history: list = dataclasses.field(default_factory=list)
    steps: int = 0
    sums: Sequence[float] = (0.0, 0.0, 0.0)

    def done(self, training: TrainingConfig) -> int:
        """Returns the number of completed steps of the run."""
        return len(self.history) * training.steps_per_epoch + self.steps

    def means(self) -> dict[str, float]:
        """Returns the mean loss and the soft Dice over all voxels of the epoch so far."""
        loss, overlap, size = self.sums
        return {"loss": loss / max(self.steps, 1), "dice": (2.0 * overlap + 1.0) / (size + 1.0)}

    def reached(self, training: TrainingConfig) -> str:
        """Describes the progress, as "epoch 3 of 10" or "epoch 3 of 10 and 17 of 50 steps of the next"."""
        more = f" and {self.steps} of {training.steps_per_epoch} steps of the next" if self.steps else ""
        return f"epoch {len(self.history)} of {training.epochs}{more}"


class Steps:
    """Measures the steps of an epoch that this process runs.

    Args:
        first_builds: whether the first step builds the graph; its time then counts in no rate.

    Attributes:
        losses: the loss of each step.
        input_waits: for each step, the fraction of its time spent waiting for its batch.
    """

    def __init__(self, first_builds: bool) -> None:
        self.losses: list[float] = []
        self.input_waits: list[float] = []
        self._counted, self._waited, self._spent = -int(first_builds), 0.0, 0.0

    def add(self, waited: float, spent: float) -> None:
        """Adds a step that took `spent` seconds, `waited` of them for its batch."""
        self.input_waits.append(waited / spent)
        self._counted += 1
        if self._counted > 0:
            self._waited, self._spent = self._waited + waited, self._spent + spent

    def rates(self, batch_size: int) -> dict[str, float | None]:
        """Returns `samples_per_second` and `input_wait` (see watching.COLUMNS); None without a step to count."""
        if self._counted <= 0:
            return {"samples_per_second": None, "input_wait": None}
        return {"samples_per_second": self._counted * batch_size / self._spent,
                "input_wait": self._waited / self._spent}


def bar_of_epoch(task: Task, progress: Progress) -> tqdm.tqdm:
    """Creates a progress bar over an epoch's steps, with ETA; hidden with --quiet or without a terminal."""
    training = task.training
    return tqdm.tqdm(total=training.steps_per_epoch, initial=progress.steps, unit="step", leave=False, disable=no_bar(),
                     desc=f"{task.name} epoch {len(progress.history) + 1}/{training.epochs}",
                     bar_format="{desc} |{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]")


def postfix(progress: Progress, steps: Steps, batch_size: int) -> str:
    """Returns what the bar shows beside the time: loss, Dice and speed; nothing before they are known."""
    rate = steps.rates(batch_size)["samples_per_second"]
    if not progress.steps or rate is None:
        return ""
    return "loss {loss:.4f}, Dice {dice:.3f}, ".format(**progress.means()) + f"{rate:.0f} samples/s"


def beginning(run: Run, progress: Progress) -> str:
    """Returns the line that reports how a run begins."""
    task, training = run.task, run.task.training
    done, line = progress.done(training), f"{training.epochs} epochs"
    if done:
        line = f"resumes after {progress.reached(training)}"
    elif run.origin:
        line += f", starting from {run.origin if task.start_from else 'the fine net'}'s weights"
    before = runs.load_config(run.folder).stage(task.stage).training
    if before.epochs < training.epochs:
        now, then = (float(LearningRate(each)(done)) for each in (training, before))
        line += (f" (before: {before.epochs}; the learning rate now falls to zero over all {training.epochs} epochs, "
                 f"and is {now:.3g} here in place of {then:.3g})")
    return (f"{task.name}: {line}, {len(task.train)} training cases, {len(task.held_out)} validation cases, in "
            f"{run.folder}")


def after_epoch(task: Task, history: list[dict], scoring_s: float) -> str:
    """Returns the line that reports the last epoch of a history; `scoring_s` is the time that followed its steps."""
    training, row = task.training, history[-1]
    line = (f"{task.name}  epoch {row['epoch']}/{training.epochs}  loss {row['loss']:.4f}  validation: loss "
            f"{row['val_loss']:.4f}, Dice {row['val_dice']:.3f}")
    rate, samples = row["samples_per_second"], training.steps_per_epoch * training.batch_size
    if rate is None:
        return line
    left = duration((training.epochs - row["epoch"]) * (samples / rate + scoring_s))
    return f"{line}  {rate:.0f} samples/s, {row['input_wait']:.1%} of the time waiting for input  {left} left"


def ending(run: Run, history: list[dict]) -> str:
    """Returns the line that reports the result of a finished run."""
    epochs, best = run.task.training.epochs, runs.best_epoch(history)
    outcome = "trained" if len(history) == epochs else f"stopped early after {len(history)} epochs"
    return (f"{run.task.name}: {outcome}, best Dice {best['val_dice']:.3f} after epoch {best['epoch']}, in "
            f"{run.folder}")


def already_trained(run: Run, history: list[dict]) -> str:
    """Returns the line that reports a run that was finished before."""
    training = run.task.training
    early = (f" of {training.epochs}, stopped early by a patience of {training.patience}"
             if len(history) < training.epochs else "")
    return (f"{run.task.name}: already trained, {len(history)} epochs{early}, best Dice "
            f"{runs.best_epoch(history)['val_dice']:.3f} in {run.folder}")


def duration(seconds: float) -> str:
    """Formats a duration, for example "3 h 05 min" or "4 min 20 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def collapsed(history: list[dict]) -> bool:
    """Returns whether the Dice of the last SEVERAL epochs is zero or the same, as of a net with a constant answer."""
    scores = [row["val_dice"] for row in history[-SEVERAL:]]
    return len(scores) == SEVERAL and (max(scores) < runs.NOTHING or max(scores) - min(scores) < 1e-6)


def warn_of_weak_net(task: Task, history: list[dict]) -> None:
    """Warns once of a net that gives the same answer everywhere, and at the end of one that found nothing."""
    dice = history[-1]["val_dice"]
    if collapsed(history) and not collapsed(history[:-1]):
        warn(f"{task.name}: Dice {dice:.3f} on the validation cases after each of the last {SEVERAL} epochs: the "
             f"net gives the same answer everywhere; if it still does some epochs later, train this stage with a lower "
             f"--learning_rate into another --run_dir")
    if runs.finished(history, task.training) and runs.found_nothing(history):
        warn(f"{task.name}: its best Dice is {runs.best_epoch(history)['val_dice']:.3f}: this net has learned to find "
             f"nothing")
