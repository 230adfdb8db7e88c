"""Times reading a compressed scan of 512 x 512 x 300, against nibabel alone.

    python -m benchmarks.reading
"""

import os
import pathlib
import statistics
import tempfile

import nibabel as nib
import numpy as np
from absl import app, flags

from benchmarks import tables
from kits_tf.scans.nifti import read_volume

FLAGS = flags.FLAGS
flags.DEFINE_integer("rounds", 7, "how often each is timed", lower_bound=5)
SHAPE = (512, 512, 300)


def noisy_body():
    """Returns a cylinder in air, int16 (x, y, z), with scanner noise, which makes a CT hard to compress."""
    rng = np.random.default_rng(0)
    x, y = np.ogrid[:SHAPE[0], :SHAPE[1]]
    body = (((x - 256) / 220) ** 2 + ((y - 256) / 180) ** 2 < 1)[..., np.newaxis]
    hu = np.where(body, 40, -1000) + np.where(body, 15, 5) * rng.standard_normal(SHAPE, np.float32)
    return np.rint(hu).astype(np.int16)


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected argument {arguments[1]}")
    voxels = noisy_body()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        # KiTS19 stores its cases as (z, y, x), most programs as (x, y, z).
        for name, stored, affine in (
                ("slices first, as KiTS19", voxels.transpose(2, 1, 0), np.diag([1, 1, 1, 1])[[2, 1, 0, 3]] * 1.0),
                ("slices last", voxels, np.diag([-1.0, -1.0, 1.0, 1.0]))):
            path = pathlib.Path(scratch) / f"{name}.nii.gz"
            nib.save(nib.Nifti1Image(stored, affine), path)
            seconds = tables.alternate(FLAGS.rounds, nibabel=lambda path=path: np.asanyarray(nib.load(path).dataobj),
                                       kits=lambda path=path: read_volume(path))
            ours, theirs = (statistics.median(seconds[reader]) for reader in ("kits", "nibabel"))
            rows.append((name, f"{tables.ratio(seconds['nibabel'], seconds['kits']):.2f}", f"{ours:.2f} s",
                         f"{theirs:.2f} s", f"{os.path.getsize(path) / 2**20:.0f} MiB"))
    tables.table("Reading", ("512 x 512 x 300, int16", "times as fast as nibabel", "read_volume", "nibabel", "file"),
                 rows, f"`python -m benchmarks.reading`: read_volume also checks the file and turns it into canonical "
                 f"orientation; nibabel hands over the voxels as they lie. Medians of {FLAGS.rounds}.")


if __name__ == "__main__":
    app.run(main)
