"""Landlock: a process gives up all of the file system but a few folders, which it may only read. No rights needed.

https://docs.kernel.org/userspace-api/landlock.html. Newer kernels also let it give up TCP (6.7), and signals to and
abstract sockets of processes outside (6.12).
"""

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from serving.bundles.confinement.kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""Of every architecture."""
_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILES = ((5, (1 << 16) - 1), (3, (1 << 15) - 1), (2, (1 << 14) - 1), (1, (1 << 13) - 1))
"""By version of the interface, all that can be done with files."""
_TCP = (4, 0b11)
_OUTSIDE = (6, 0b11)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("outside", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def only_read(folders: Sequence[Path]) -> None:
    """Give up everything but reading below these folders; OSError where the kernel has no Landlock."""
    version = syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    files = next(mask for since, mask in _FILES if version >= since)
    tcp, outside = (mask if version >= since else 0 for since, mask in (_TCP, _OUTSIDE))
    rules = _Ruleset(files, tcp, outside)
    known = 8 * (1 + (version >= _TCP[0]) + (version >= _OUTSIDE[0]))
    ruleset = syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(known), ctypes.c_uint32(0))
    try:
        for path in folders:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                allowed = _Beneath(_READ_FILE | _READ_DIR, folder)
                syscall(_ADD_RULE, ctypes.c_int(ruleset), _PATH_BENEATH, ctypes.byref(allowed), ctypes.c_uint32(0))
            finally:
                os.close(folder)
        syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
