"""Time to find the cases of a study as it grows, which should grow with the number of cases and no faster.

    python -m benchmarks.listing
"""

import pathlib
import statistics
import tempfile

from absl import app, flags

from benchmarks import tables
from kits_tf.scans.discovery import find_scans, find_study

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 5, "how often each is timed", lower_bound=5)
CASES = (2_000, 20_000)


def write_empty_study(folder, cases):
    """Writes folders with empty files; finding cases reads names only."""
    for number in range(cases):
        case = folder / f"case_{number:05d}"
        case.mkdir(parents=True)
        (case / "imaging.nii.gz").touch()
        (case / "segmentation.nii.gz").touch()


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for cases in CASES:
            folder = pathlib.Path(scratch) / str(cases)
            write_empty_study(folder, cases)
            seconds = tables.alternate(FLAGS.rounds, find_study=lambda folder=folder: find_study(folder),
                                       find_scans=lambda folder=folder: find_scans(folder))
            rows += [(name, cases, f"{statistics.median(values):.2f}", f"{statistics.median(values) / cases * 1e6:.0f}")
                     for name, values in seconds.items()]
    tables.table("Finding cases", ("function", "cases", "seconds", "microseconds per case"), rows,
                 f"`python -m benchmarks.listing`: medians of {FLAGS.rounds}.")


if __name__ == "__main__":
    app.run(main)
