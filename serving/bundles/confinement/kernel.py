"""Calls of the Linux kernel that Python has no function for."""

import ctypes
import os
import sys
from functools import cache
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: Any) -> int:
    """Call the kernel; OSError with its reason."""
    return _checked(_libc().syscall(ctypes.c_long(number), *arguments))


def prctl(option: int, *arguments: Any) -> int:
    """Change how the kernel treats this process; OSError with its reason."""
    padded = [*arguments, *[0] * (4 - len(arguments))]
    return _checked(_libc().prctl(option, *(ctypes.c_ulong(a) if isinstance(a, int) else a for a in padded)))


def no_new_privileges() -> None:
    """From now on no program that is started gets more rights than this process; both filters demand it."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def die_with_parent(signal_number: int, parent: int) -> None:
    """Have the kernel send this signal when the parent process ends. Linux; elsewhere nothing happens."""
    if sys.platform == "linux":
        prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:  # it ended just before
            os._exit(1)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
