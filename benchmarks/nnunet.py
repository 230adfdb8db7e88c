"""Compares kits_tf with nnU-Net v2 on the same files and cores: preparing ten cases, and predicting one scan.

    python -m benchmarks.nnunet --work=DIR [--tiles=5]

Installs nnU-Net and PyTorch into their own virtual environment in the work folder. nnU-Net plans from the ten cases
(3d_fullres) and predicts with that plan's net, untrained, one fold, without mirroring. Its whole prediction takes some
20 minutes on two cores; with --tiles, only that many tiles are timed and the time is extrapolated.
Source: Isensee et al. 2021, arXiv:1904.08128; github.com/MIC-DKFZ/nnUNet.
"""

import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

from absl import app, flags

from benchmarks import peers, scans, tables
from kits_tf.files.atomic import write_text

FLAGS = flags.FLAGS
flags.DEFINE_string("work", None, "folder for the peer's environment and files", required=True)
flags.DEFINE_integer("tiles", 0, "time so many tiles of the peer's prediction instead of all", lower_bound=0)
flags.DEFINE_integer("rounds", 1, "how often each is timed", lower_bound=1)
DATASET, NAME = 20, "Dataset020_Speed"
CASES = (  # slices, slice mm, pixel mm. Thick slices favor nnU-Net. The first case is also predicted
    (85, 5.0, 1.04), (133, 3.0, 0.70), (160, 2.5, 0.86), (80, 5.0, 0.90), (133, 3.0, 0.65), (160, 2.5, 0.74),
    (100, 4.0, 0.82), (133, 3.0, 0.78), (80, 5.0, 0.78), (133, 3.0, 0.70))
PEER = pathlib.Path(__file__).parent / "peer" / "nnunet_predict.py"
STEP = 0.5  # distance between nnU-Net's tiles, as a share of its patch


def arrange(study, raw):
    """Arranges the study in nnU-Net's layout, as symbolic links."""
    for case in sorted(study.iterdir()):
        for folder, link, file in (("imagesTr", f"{case.name}_0000.nii.gz", "imaging.nii.gz"),
                                   ("labelsTr", f"{case.name}.nii.gz", "segmentation.nii.gz")):
            (raw / folder).mkdir(parents=True, exist_ok=True)
            if not (raw / folder / link).is_symlink():
                (raw / folder / link).symlink_to(case / file)
    write_text(raw / "dataset.json", json.dumps({
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "kidney": 1, "tumor": 2}, "numTraining": len(CASES),
        "file_ending": ".nii.gz"}))


def tile_count(shape, spacing_mm, prepared):
    """Returns the number and the shape of the tiles that nnU-Net's plan gives for a scan."""
    plan = json.loads((prepared / "nnUNetPlans.json").read_text())["configurations"]["3d_fullres"]
    patch = plan["patch_size"]
    sizes = [max(round(size * mm / wanted), tile)
             for size, mm, wanted, tile in zip(shape, spacing_mm, plan["spacing"], patch, strict=True)]
    counts = [math.ceil((size - tile) / (tile * STEP)) + 1 for size, tile in zip(sizes, patch, strict=True)]
    return math.prod(counts), patch


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    work = pathlib.Path(FLAGS.work).absolute()
    tools = peers.install(work)
    study, cores = work / "study", len(os.sched_getaffinity(0))
    for number, case in enumerate(CASES):
        if not (study / f"case_{number:05d}" / "segmentation.nii.gz").exists():
            scans.write_case(study, number, *case)
    raw, prepared = work / "raw", work / "preprocessed"
    arrange(study, raw / NAME)
    environment = {"nnUNet_raw": str(raw), "nnUNet_preprocessed": str(prepared),
                   "nnUNet_results": str(work / "results"), "OMP_NUM_THREADS": str(cores)}

    ours, theirs = [], []
    data, labels = work / "data", work / "labels"
    for _ in range(FLAGS.rounds):
        shutil.rmtree(data, ignore_errors=True)  # data_prep would skip cases that are up to date
        ours.append(tables.watched([sys.executable, "-m", "data_prep", f"--input={study}", "--preset=paper",
                                    f"--output={data}", f"--workers={cores}"]))
        theirs.append(tables.watched([tools / "nnUNetv2_plan_and_preprocess", "-d", DATASET, "-c", "3d_fullres",
                                      "-npfp", cores, "-np", cores, "--clean"], environment))
    seconds = [[run[0] for run in runs] for runs in (theirs, ours)]
    memory = [max(run[1] for run in runs) / 1024 for runs in (theirs, ours)]
    tables.table("Preparing ten cases", ("what", "ratio", "nnU-Net v2", "data_prep, all five stages"), [
        ("seconds", f"{tables.ratio(*seconds):.1f}", *(f"{statistics.median(values):.0f}" for values in seconds)),
        ("GiB of the largest process", f"{memory[0] / memory[1]:.1f}", *(f"{gib:.2f}" for gib in memory))],
        f"`python -m benchmarks.nnunet`: {len(CASES)} cases of 80 to 160 slices of 2.5 to 5 mm, 512 x 512 pixels, "
        f"{cores} processes each, rounds: {FLAGS.rounds}.")

    scan = study / "case_00000" / "imaging.nii.gz"
    tables.watched([sys.executable, "-m", "benchmarks.untrained", "--preset=paper", f"--output={work / 'export'}"])
    ours = []
    for _ in range(FLAGS.rounds):
        shutil.rmtree(labels, ignore_errors=True)
        ours.append(tables.watched([sys.executable, "predict.py", f"--model={work / 'export'}", f"--input={scan}",
                                    f"--output={labels}"]))
    command = [tools / "python", PEER, prepared / NAME, scan, work / "peer.nii.gz",
               *([f"--tiles={FLAGS.tiles}"] if FLAGS.tiles else [])]
    done = subprocess.run([*map(str, command)], env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    tiles, patch = tile_count((85, 512, 512), scans.SPACING_MM, prepared / NAME)
    theirs_s, how = found["seconds"][0], "whole"
    if FLAGS.tiles:
        theirs_s = statistics.median(found["seconds"]) * tiles
        how = f"estimated: {tiles} times the median of {FLAGS.tiles} tiles, without reading, resampling and writing"
    ours_s = statistics.median(run[0] for run in ours)
    tables.table("Predicting, NIfTI to NIfTI", ("times as fast", "predict.py", "nnU-Net v2", "its tiles", ""), [
        (f"{theirs_s / ours_s:.0f}", f"{ours_s:.1f} s", f"{theirs_s:.0f} s",
         f"{tiles} of {' x '.join(map(str, patch))}", how)],
        "`python -m benchmarks.nnunet`: 85 x 512 x 512 voxels of 5 x 1.04 x 1.04 mm, preset paper, one fold, no "
        "mirroring, process start included.")


if __name__ == "__main__":
    app.run(main)
