"""Measures time and memory of predict.py on scans of 29 to 1059 slices.

    python -m benchmarks.growth [--preset=paper]

The same phantom with slices of 5, 2, 1 and 0.5 mm (and a short scan of 29 slices of 5 mm): twice the slices are twice
the voxels, but not twice the kidneys.
"""

import pathlib
import statistics
import sys
import tempfile

from absl import app, flags

from benchmarks import scans, tables
from kits_tf import config as configs

FLAGS = flags.FLAGS
flags.DEFINE_enum("preset", "paper", list(configs.PRESETS), "whose nets and settings")
flags.DEFINE_integer("rounds", 1, "how often each is timed", lower_bound=1)
LENGTHS = {29: 5.0, 108: 5.0, 273: 2.0, 545: 1.0, 1059: 0.5}  # number of slices to mm between them


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        tables.watched([sys.executable, "-m", "benchmarks.untrained", f"--preset={FLAGS.preset}",
                        f"--output={folder / 'export'}"])
        rows = []
        for number, (slices, slice_mm) in enumerate(LENGTHS.items()):
            scan = scans.write_case(folder / str(slices), slices=slices, slice_mm=slice_mm)
            runs = [tables.watched([sys.executable, "predict.py", f"--model={folder / 'export'}", f"--input={scan}",
                                    f"--output={folder / f'labels{number}-{again}'}"])
                    for again in range(FLAGS.rounds)]
            seconds, mib = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
            rows.append((slices, f"{slice_mm:g}", f"{seconds:.1f}", f"{seconds / slices * 100:.1f}",
                         f"{mib / 1024:.2f}"))
    tables.table("Longer scans",
                 ("slices of 512 x 512", "mm apart", "seconds", "seconds per 100 slices", "GiB at the peak"), rows,
                 f"`python -m benchmarks.growth`: all of predict.py, preset {FLAGS.preset}, untrained nets. Medians of "
                 f"{FLAGS.rounds}.")


if __name__ == "__main__":
    app.run(main)
