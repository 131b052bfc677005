"""glibc's allocator, told to keep what is freed."""

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 128 << 20


def keep_freed_memory() -> None:
    """For near-line workers: a batch's arrays come and go.

    Without this their pages go back after every batch, and are faulted in again for the next, which was half of the
    time of making a model's inputs. Other C libraries have no `mallopt`, and keep to their own ways.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _KEPT)
