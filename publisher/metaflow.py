"""Publishing from a step of a Metaflow flow: in one line, with the lineage of the run. Needs metaflow (an extra).

from publisher.metaflow import publish
…
publish("shop", self.model, items=self.items, lineage={"metrics": {"recall@20": self.recall}})
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from publisher import api
from publisher.announce import Announcement
from serving.bundles.about import read_lineage
from serving.bundles.lineage import MAX_ENTRIES, MAX_TEXT, Lineage
from serving.errors import UserError

_CODE = "METAFLOW_CODE_SHA"
"""Metaflow tells a task so which code package it runs, where the run made one."""


def publish(
    name: str, model: Any, *, lineage: Lineage | Mapping[str, Any] | None = None, **options: Any
) -> Announcement:
    """Publish a model as `publisher.api.publish` does, with the same options; to be called in a step of a flow.

    Args:
        name: The model's name.
        model: As there.
        lineage: What it says wins over what the run says: flow, run id, step, parameters, the digest of the code (of
            Metaflow's code package, or of the flow's file where the run made none), and of the data artefacts of the
            steps that have ended: `step/name`, or `step/task/name` where a step has several tasks.
        options: As there.

    Raises:
        UserError: No step is running, or what is said of the lineage is wrong; else as there.
    """
    return api.publish(name, model, lineage=read_lineage(lineage).completed(**run_lineage()), **options)


def run_lineage() -> dict[str, Any]:
    """Return what the running step knows of its run, as fields of Lineage; UserError outside of a step."""
    try:
        from metaflow import current  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("publish: a Metaflow flow needs pip install 'nearline[metaflow]'") from None
    if not current.is_running_flow:
        raise UserError("publish: expected to be called in a step of a Metaflow flow, got none that runs")
    run = current.run
    parameters = dict(_parameters(run, current.get("parameter_names") or ()))
    return {
        "flow": current.flow_name,
        "run": current.run_id,
        "step": current.step_name,
        "code_package": os.environ.get(_CODE) or _digest_of_script(),
        "parameters": parameters,
        "artefacts": dict(islice(_artefacts(run, parameters), MAX_ENTRIES)),
    }


def _parameters(run: Any, names: Any) -> Iterator[tuple[str, Any]]:
    stored = run["_parameters"].task
    for name in names:
        value = stored[name].data
        plain = isinstance(value, bool | int | float | str) or value is None
        yield name, value if plain and len(str(value)) <= MAX_TEXT else str(value)[:MAX_TEXT]


def _artefacts(run: Any, parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of the ended tasks; what a step only hands on is the artefact of the step before."""
    seen: set[tuple[str, str]] = set()
    for step in reversed(list(run)):  # the first one comes last
        tasks = [task for task in step if task.finished]
        for task in tasks:
            place = step.id if len(tasks) == 1 else f"{step.id}/{task.id}"
            for artefact in task:
                own = not artefact.id.startswith("_") and artefact.id not in {"name", *parameters}
                if own and (artefact.id, artefact.sha) not in seen:
                    seen.add((artefact.id, artefact.sha))
                    yield f"{place}/{artefact.id}", artefact.sha


def _digest_of_script() -> str:
    """Of the file that was run: a flow is one."""
    path = Path(sys.argv[0])
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else ""
