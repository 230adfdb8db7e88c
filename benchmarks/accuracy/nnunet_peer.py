"""Trains nnU-Net v2, 2d, on the same cases and cores, with the five stages' training time, and predicts the test set.

    python -m benchmarks.accuracy.nnunet_peer --work=accuracy [--seconds=5400]

Run it after python -m benchmarks.accuracy; rerun that command afterwards to score the result as variant `nnunet`.
nnU-Net and PyTorch are installed into their own virtual environment in the work folder. Rerun the same command to
resume after the last epoch, which has a few steps; only training time counts.
Source: Isensee et al. 2021, arXiv:1904.08128; github.com/MIC-DKFZ/nnUNet.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

from absl import app, flags

from benchmarks import peers
from benchmarks.accuracy import protocol
from kits_tf.config import STAGES
from kits_tf.errors import InputError
from kits_tf.files import runs
from kits_tf.files.atomic import write_text
from kits_tf.records.dataset import read_folds

FLAGS = flags.FLAGS
flags.DEFINE_string("work", None, "work folder of python -m benchmarks.accuracy", required=True)
flags.DEFINE_float("seconds", None, "training time; default: what the five stages took", lower_bound=1)
flags.DEFINE_bool("tta", True, "average over mirror images, as nnU-Net does; prediction takes four times as long")
DATASET, NAME, TRAINER = 19, "Dataset019_KiTS", "nnUNetTrainerWallClock"
PEER = pathlib.Path(__file__).parent / "peer"


def trained_seconds(work):
    """Returns the five stages' training time in seconds, from their histories.

    Raises:
        InputError: if a stage's training is not finished.
    """
    total = 0.0
    for stage in STAGES:
        folder = runs.stage_folder(work.run, stage, 0)
        rows = runs.load_history(folder)
        if not rows or not runs.finished(rows, runs.load_config(folder).stage(stage).training):
            raise InputError(f"{folder / runs.HISTORY}: {stage} is not trained; train first (python -m "
                             f"benchmarks.accuracy), or give --seconds")
        total += sum(row["seconds"] for row in rows)
    return total


def arrange(work, raw):
    """Arranges the cases in nnU-Net's layout, as symbolic links."""
    images, labels, tests = (raw / name for name in ("imagesTr", "labelsTr", "imagesTs"))
    for folder in (images, labels, tests):
        folder.mkdir(parents=True, exist_ok=True)
    train, held_out = protocol.cases(work.train), protocol.cases(work.held_out)
    links = [(images / f"{case.name}_0000.nii.gz", case / "imaging.nii.gz") for case in train]
    links += [(labels / f"{case.name}.nii.gz", case / "segmentation.nii.gz") for case in train]
    links += [(tests / f"{case.name}_0000.nii.gz", case / "imaging.nii.gz") for case in held_out]
    for link, file in links:
        if not link.is_symlink():
            link.symlink_to(file)
    write_text(raw / "dataset.json", json.dumps({
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "kidney": 1, "tumor": 2},
        "numTraining": len(train), "file_ending": ".nii.gz"}, indent=2))


def main(_):
    work = protocol.Work(pathlib.Path(FLAGS.work).absolute())
    folder = work.folder / "nnunet"
    try:
        seconds = FLAGS.seconds or trained_seconds(work)
        held_out = read_folds(work.data)[0]
    except InputError as error:
        sys.exit(str(error))
    tools = peers.install(folder)
    raw, prepared, trained = (folder / name for name in ("raw", "preprocessed", "results"))
    cores = len(os.sched_getaffinity(0))
    environment = {**os.environ, "nnUNet_raw": str(raw), "nnUNet_preprocessed": str(prepared),
                   "nnUNet_results": str(trained), "nnUNet_extTrainer": str(PEER), "nnUNet_n_proc_DA": "1",
                   "nnUNet_def_n_proc": str(cores), "WALL_CLOCK_S": str(seconds), "nnUNet_compile": "false"}

    def run(tool, *given):
        print("$", tool, *given, flush=True)
        status = subprocess.run([tools / tool, *map(str, given)], env=environment, check=False).returncode
        if status:
            sys.exit(f"{tool} ended with status {status}; its messages are above")

    arrange(work, raw / NAME)
    if not (folder / "prepared").exists():
        run("nnUNetv2_plan_and_preprocess", "-d", DATASET, "-c", "2d", "-npfp", cores, "-np", cores,
            "--verify_dataset_integrity")
        (folder / "prepared").touch()
    # The same fold 0 as ours: the same training cases, the same validation cases.
    names = [case.name for case in protocol.cases(work.train)]
    write_text(prepared / NAME / "splits_final.json", json.dumps([{
        "train": [name for name in names if name not in held_out],
        "val": [name for name in names if name in held_out]}]))
    fold = trained / NAME / f"{TRAINER}__nnUNetPlans__2d" / "fold_0"
    if not (fold / "checkpoint_final.pth").exists():
        print(f"training for {seconds:.0f} s", flush=True)
        run("nnUNetv2_train", DATASET, "2d", 0, "-tr", TRAINER, "-device", "cpu",
            *(["--c"] if (fold / "checkpoint_latest.pth").exists() else []))
    output = folder / "predictions"
    run("nnUNetv2_predict", "-i", raw / NAME / "imagesTs", "-o", output, "-d", DATASET, "-c", "2d", "-f", 0, "-tr",
        TRAINER, "-device", "cpu", "-npp", 1, "-nps", 1, "--continue_prediction",
        *([] if FLAGS.tta else ["--disable_tta"]))
    target = work.predictions / "nnunet"
    target.mkdir(parents=True, exist_ok=True)
    for case in protocol.cases(work.held_out):
        shutil.copy(output / f"{case.name}.nii.gz", protocol.prediction(target, case))
    print(f"{target}: run python -m benchmarks.accuracy again to score them")


if __name__ == "__main__":
    app.run(main)
