"""A seccomp filter: a process gives up sockets, other processes, and the ways around that. No rights needed.

https://docs.kernel.org/userspace-api/seccomp_filter.html. What is refused fails with EPERM, as if it had no right to.
"""

import ctypes
import errno
import platform
import struct
from collections.abc import Mapping
from typing import NamedTuple

from serving.bundles.confinement.kernel import prctl

_SET_SECCOMP, _FILTER = 22, 2
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data; of an argument the lower half."""
_CLONE_THREAD = 0x10000
_X32 = 0x40000000

_SAME_EVERYWHERE = {"pidfd_send_signal": 424, "io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438}
_CLONE3 = 435


class _Machine(NamedTuple):
    audit: int
    clone: int
    refused: Mapping[str, int]


_MACHINES = {
    "x86_64": _Machine(
        0xC000003E, 56,
        {
            "socket": 41, "socketpair": 53, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49,
            "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "kill": 62, "tkill": 200, "ptrace": 101,
            "process_vm_readv": 310, "process_vm_writev": 311, "mount": 165, "unshare": 272, "setns": 308, "bpf": 321,
            "add_key": 248, "keyctl": 250, "perf_event_open": 298, "open_by_handle_at": 304, "userfaultfd": 323,
        },
    ),
    "aarch64": _Machine(
        0xC00000B7, 220,
        {
            "socket": 198, "socketpair": 199, "connect": 203, "accept": 202, "sendto": 206, "sendmsg": 211, "bind": 200,
            "execve": 221, "execveat": 281, "kill": 129, "tkill": 130, "ptrace": 117, "process_vm_readv": 270,
            "process_vm_writev": 271, "mount": 40, "unshare": 97, "setns": 268, "bpf": 280, "add_key": 217,
            "keyctl": 219, "perf_event_open": 241, "open_by_handle_at": 265, "userfaultfd": 282,
        },
    ),
}  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def no_sockets_and_processes() -> None:
    """Install the filter for this process; OSError where the kernel or this machine's architecture has none."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"no table of system calls for {platform.machine()}")
    code = _instructions(machine)
    program = _Program(len(code) // 8, code)
    prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program))


def _instructions(machine: _Machine) -> bytes:
    def one(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
        return struct.pack("=HBBI", code, then, otherwise, value)

    refuse = one(_RETURN, _ERRNO | errno.EPERM)
    return b"".join(
        [
            one(_LOAD, _ARCHITECTURE),
            one(_EQUAL, machine.audit, then=1),
            one(_RETURN, _KILL),
            one(_LOAD, _NUMBER),
            one(_AT_LEAST, _X32, otherwise=1),
            one(_RETURN, _KILL),
            # libc goes back to clone, whose flags can be looked at.
            one(_EQUAL, _CLONE3, otherwise=1),
            one(_RETURN, _ERRNO | errno.ENOSYS),
            *(
                one(_EQUAL, number, otherwise=1) + refuse
                for number in (*machine.refused.values(), *_SAME_EVERYWHERE.values())
            ),
            one(_EQUAL, machine.clone, otherwise=3),
            one(_LOAD, _FIRST_ARGUMENT),
            one(_ANY_BIT, _CLONE_THREAD, then=1),
            refuse,
            one(_RETURN, _ALLOW),
        ]
    )
