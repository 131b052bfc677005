"""What a process may take: memory, processor time, open files; no core dumps, no bytes written to any file."""

import resource

_OPEN_FILES = 64


def limit(memory_bytes: int, cpu_s: int) -> list[str]:
    """Set what this system lets us set; return the names of the limits that it does not (macOS: the address space)."""
    unset = []
    for name, most in (
        ("RLIMIT_AS", memory_bytes),
        ("RLIMIT_CPU", cpu_s + 1),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_NOFILE", _OPEN_FILES),
    ):
        try:
            what = getattr(resource, name)
            _, hard = resource.getrlimit(what)
            allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)  # the system's own limit holds
            # At the soft limit of processor time comes SIGXCPU, which tells why; at the hard one comes SIGKILL.
            resource.setrlimit(what, (min(cpu_s, allowed) if name == "RLIMIT_CPU" else allowed, allowed))
        except (AttributeError, ValueError, OSError):
            unset.append(name)
    return unset
