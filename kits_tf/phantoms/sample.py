"""A few synthetic patients to try a cascade on where no study is at hand."""

from collections.abc import Iterator

from kits_tf.phantoms.abdomen import Scanner, draw_abdomen, kind_of
from kits_tf.volume import Volume

CASES = 4  # of the kinds that the phantoms' cycle begins with
SEED = 20_000  # far from the seeds of studies


def drawn_cases() -> Iterator[tuple[str, Volume, Volume]]:
    """Draws the patients, one at a time: (name, scan, labels)."""
    for index in range(CASES):
        kind = kind_of(index)
        yield (f"drawn {kind}", *draw_abdomen(SEED + index, kind, Scanner(size_voxels=256, slice_mm=(4, 5))))
