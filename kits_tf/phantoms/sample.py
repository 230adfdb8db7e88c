"""A few synthetic patients for trying a cascade when no study is available."""

from collections.abc import Iterator

from kits_tf.phantoms.abdomen import Scanner, draw_abdomen, kind_of
from kits_tf.volume import Volume

CASES = 4  # of the first kinds in the phantoms' cycle
SEED = 20_000  # far from the seeds that studies use


def drawn_cases() -> Iterator[tuple[str, Volume, Volume]]:
    """Yields the phantoms one at a time, as (name, scan, labels)."""
    for index in range(CASES):
        kind = kind_of(index)
        yield (f"drawn {kind}", *draw_abdomen(SEED + index, kind, Scanner(size_voxels=256, slice_mm=(4, 5))))
