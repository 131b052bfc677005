"""What the ONNX Runtime of this process can load, as it says itself: told to publishers, compared by the gate.

The operators are too many for a heartbeat. They have a digest, which is the same wherever the runtime is, and are told
once under it (protos/topics.py, `operators_key`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from protos.nearline.v1 import status_pb2
from serving.bundles.check import DOMAINS
from serving.bundles.runtime import native, runtime

_FATAL_ONLY = 4
_SURE_OPSET, _SURE_IR = 1, 8
_TRIED = {"": 64, "ai.onnx.ml": 16}
"""Opsets, by domain. That of com.microsoft is 1, and the runtime takes no notice of it."""
_IR_TRIED = 32
_OPEN = 2**31 - 1


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """The largest IR version, and the largest opset by domain (the default one is an empty name), that it loads."""

    ir_version: int
    opsets: Mapping[str, int]


@cache
def runtime_limits() -> RuntimeLimits:
    """Find the limits by trying."""
    opsets = {
        domain: next(n for n in range(most, 0, -1) if _loads(_SURE_IR, {"": _SURE_OPSET, domain: n}))
        for domain, most in _TRIED.items()
    }
    return RuntimeLimits(next(n for n in range(_IR_TRIED, 0, -1) if _loads(n, {"": _SURE_OPSET})), opsets)


@cache
def runtime_operators() -> status_pb2.Operators:
    """List the operators of the domains that a bundle may use, by domain and name; none where a build does not tell."""
    if not hasattr(native(), "get_all_opkernel_def"):
        return status_pb2.Operators()
    kernels = defaultdict[tuple[str, str], list[tuple[int, int]]](list)
    for kernel in native().get_all_opkernel_def():
        if kernel.provider == "CPUExecutionProvider" and kernel.domain in DOMAINS:
            kernels[kernel.domain, kernel.op_name].append(kernel.version_range)
    defined = defaultdict[tuple[str, str], set[int]](set)
    for schema in native().get_all_operator_schema():
        if schema.domain in DOMAINS:
            defined[schema.domain, schema.name].add(schema.since_version)
    return status_pb2.Operators(operators=[_operator(*name, defined[name], kernels[name]) for name in sorted(defined)])


@cache
def operators_digest() -> str:
    """Name them: SHA-256 of a canonical text; empty where a build does not tell."""
    if not runtime_operators().operators:
        return ""
    lines = (f"{o.domain} {o.name} {list(o.runs)} {list(o.knows)}\n" for o in runtime_operators().operators)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _operator(domain: str, name: str, versions: set[int], kernels: list[tuple[int, int]]) -> status_pb2.Operator:
    """A kernel without an end runs the version that it begins with only: a later one may mean something else."""
    runs = {
        version
        for version in versions
        for first, last in kernels
        if version == first or first < version <= last < _OPEN
    }
    return status_pb2.Operator(domain=domain, name=name, runs=sorted(runs), knows=sorted(versions - runs))


def _loads(ir_version: int, opsets: Mapping[str, int]) -> bool:
    """Try the smallest graph there is, Identity, spelt in protobuf's wire format to do without the onnx package."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    tensor = field(2, field(1, b"\x08\x01"))
    node = field(1, b"x") + field(2, b"y") + field(4, b"Identity")
    graph = field(1, node) + field(2, b"g") + field(11, field(1, b"x") + tensor) + field(12, field(1, b"y") + tensor)
    imports = (field(8, field(1, domain.encode()) + bytes([0x10, opset])) for domain, opset in opsets.items())
    model = bytes([0x08, ir_version]) + field(7, graph) + b"".join(imports)
    ort = runtime()
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = 1
    try:
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - whatever it raises, it does not load
        return False
    return True
