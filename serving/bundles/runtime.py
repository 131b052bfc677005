"""ONNX Runtime, imported by the process that runs models.

Importing it starts a thread, which a fork would be without, and could not end without: a process that workers are
forked from must not have it.
"""

import os
from functools import cache
from typing import Any


@cache
def runtime() -> Any:
    """Return the package, told to keep to itself: its builds tell their maker of every session unless asked not to."""
    # Since 1.29 the call comes too late by itself: there is a database by then, a device's id, and a thread that sends.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - see above

    onnxruntime.disable_telemetry_events()
    return onnxruntime


@cache
def native() -> Any:
    """Return its compiled part, which tells more."""
    runtime()
    from onnxruntime.capi import onnxruntime_pybind11_state  # noqa: PLC0415 - see above

    return onnxruntime_pybind11_state


def refused_values() -> type[Exception]:
    """What it raises because of values in the inputs of a run."""
    error: type[Exception] = native().InvalidArgument
    return error


def runtime_version() -> str:
    """Its version."""
    return str(runtime().__version__)
