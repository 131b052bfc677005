"""Which operators of a graph a worker's runtime cannot run, by what that runtime says it has."""

from collections.abc import Iterable
from typing import Any

import onnx.defs

from protos.nearline.v1 import status_pb2
from serving.bundles.check import Operator


def missing(used: Iterable[Operator], theirs: status_pb2.Operators, ours: status_pb2.Operators) -> list[Operator]:
    """Return those of `used` that do not run there; `ours`: what the runtime has here, where the graph does run.

    Only operators and their versions are compared: a kernel may still not take the type of an input. What needs no
    kernel here, such as constants and functions, needs none there either.
    """
    there, here = _by_name(theirs), _by_name(ours)
    return [operator for operator in used if not _runs(operator, there, here)]


_Known = dict[tuple[str, str], status_pb2.Operator]


def _by_name(said: status_pb2.Operators) -> _Known:
    return {(operator.domain, operator.name): operator for operator in said.operators}


def _runs(operator: Operator, there: _Known, here: _Known) -> bool:
    name = operator.domain, operator.name
    known = there.get(name)
    since = _since(known, operator.opset)
    if known is None or not since:
        return False
    if since in known.runs:
        return True
    ours = here.get(name)
    return (ours is not None and _since(ours, operator.opset) not in ours.runs) or _is_function(operator)


def _since(known: status_pb2.Operator | None, opset: int) -> int:
    """The version that an opset means; 0 = it was not defined yet."""
    return max((v for v in (*known.runs, *known.knows) if v <= opset), default=0) if known else 0


def _is_function(operator: Operator) -> bool:
    """Tell whether ONNX defines it by other operators, which a runtime without a kernel for it runs instead."""
    try:
        schema: Any = onnx.defs.get_schema(operator.name, operator.opset, operator.domain)  # its stubs lack the below
    except onnx.defs.SchemaError:
        return False
    return bool(schema.has_function or schema.has_context_dependent_function)
