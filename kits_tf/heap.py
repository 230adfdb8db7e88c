"""Keeps freed memory in the process, for commands whose steps allocate the same blocks again and again.

By default glibc returns each large freed block to the kernel, and the kernel clears it page by page at the next
allocation. This took a third of a tumor3d training step on a CPU (benchmarks/README.md).
"""

import ctypes

# Parameters of glibc's mallopt, from malloc.h. A thread's own arena cannot hold large blocks, so all threads share one.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
NEVER = -1  # the value in the manual of mallopt
AT_ONCE = 256 * 2**20  # bytes by which the heap grows


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory, up to the largest amount that the process ever held.

    Call it before TensorFlow computes anything, because a thread chooses its arena at its first allocation.

    Returns:
        True if glibc accepted the settings; False on systems without glibc, where nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return all([mallopt(M_ARENA_MAX, 1), mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, NEVER),
                mallopt(M_TOP_PAD, AT_ONCE)])
