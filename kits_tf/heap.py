"""Memory that is freed stays with the process, for commands whose every step asks for the same again.

glibc hands each large block back to the kernel when it is freed, and the kernel clears it again, page by page, when it
is asked for the next: of a CPU's training step of tumor3d that was a third (benchmarks/README.md).
"""

import ctypes

# glibc's mallopt, malloc.h. A thread's own arena cannot hold large blocks, so there is one arena for all.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
NEVER = -1  # as malloc's manual has it
AT_ONCE = 256 * 2**20  # bytes the heap grows by


def keep_freed_memory() -> bool:
    """Makes glibc keep what is freed, up to the most the process ever held.

    To be called before TensorFlow computes anything, since a thread's arena is chosen at its first block.

    Returns:
        Whether it does: elsewhere than on Linux with glibc nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return all([mallopt(M_ARENA_MAX, 1), mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, NEVER),
                mallopt(M_TOP_PAD, AT_ONCE)])
