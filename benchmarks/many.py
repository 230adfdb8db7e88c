"""Measures one run of predict.py on a thousand small scans: seconds per scan and memory, from beginning to end.

    python -m benchmarks.many [--scans=1000]

The scans are 24 slices of 96 x 96 pixels around the kidneys of eight whole-body phantoms, each with other noise. The
model that ships segments them, with --report.
"""

import itertools
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import psutil
from absl import app, flags

from benchmarks import tables
from kits_tf.phantoms.body.scan import draw_body
from kits_tf.scans.nifti import write_volume
from kits_tf.volume import Volume

FLAGS = flags.FLAGS
flags.DEFINE_integer("scans", 1000, "how many", lower_bound=100)
PATIENTS, SLICES, SIZE = 8, 24, 96
PARTS = 10  # of the run, a row each
ROOT = pathlib.Path(__file__).parents[1]


def write_study(folder):
    """Writes FLAGS.scans cases with kidneys in view."""
    rng, drawn, seed = np.random.default_rng(0), [], 0
    while len(drawn) < PATIENTS:
        scan, labels, _ = draw_body(seed, SIZE, (5, 8), (300, 380))
        seed += 1
        rows = np.flatnonzero(labels.voxels.any((1, 2)))
        if len(rows) and scan.voxels.shape[0] >= SLICES:
            first = int(np.clip(rows.mean() - SLICES / 2, 0, scan.voxels.shape[0] - SLICES))
            drawn.append(Volume.from_spacing(scan.voxels[first:first + SLICES], scan.spacing_mm))
    for number in range(FLAGS.scans):
        scan = drawn[number % PATIENTS]
        noise = rng.integers(-5, 6, scan.voxels.shape)
        write_volume(folder / f"case_{number:05d}" / "imaging.nii.gz",
                     scan.with_voxels((scan.voxels + noise).astype(np.int16)))


def watch(command, output):
    """Runs a command; returns [(seconds since its start, scans done, MiB of memory)], about twice a second."""
    began, seen = time.perf_counter(), []
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                done = sum(path.suffix == ".json" for path in output.iterdir()) if output.exists() else 0
                seen.append((time.perf_counter() - began, done, watched.memory_info().rss / 2**20))
            except (FileNotFoundError, psutil.Error):  # it has just ended
                break
            time.sleep(0.5)
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: status {process.returncode}")
    return seen


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    with tempfile.TemporaryDirectory() as scratch:
        study, output = pathlib.Path(scratch) / "study", pathlib.Path(scratch) / "out"
        write_study(study)
        seen = watch([sys.executable, "predict.py", f"--input={study}", f"--output={output}", "--report"], output)
        edges, rows = np.linspace(0, FLAGS.scans, PARTS + 1).astype(int), []
        for first, last in itertools.pairwise(edges):
            part = [row for row in seen if first < row[1] <= last]
            rows.append((f"{first + 1} to {last}", f"{(part[-1][0] - part[0][0]) / (part[-1][1] - part[0][1]):.2f}",
                         f"{statistics.median(row[2] for row in part):.0f}"))
        sizes = ", ".join(f"{name} has {(output / name).stat().st_size / 2**20:.2f} MiB"
                          for name in ("report.html", "summary.csv", "findings.csv"))
    tables.table(f"{FLAGS.scans} scans in one run", ("scans", "seconds per scan", "MiB of memory, median"), rows,
                 f"`python -m benchmarks.many`: {SLICES} slices of {SIZE} x {SIZE}, the model that ships, `--report`, "
                 f"{seen[-1][0] / 60:.1f} minutes in all. {sizes}.")


if __name__ == "__main__":
    app.run(main)
