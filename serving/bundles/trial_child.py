"""The throw-away process of a trial: `python -m serving.bundles.trial_child ORDER`, an order in JSON.

Confines itself, tries the bundle, and says on standard output, in a line of JSON, how that went. The exit code is 0
whatever the outcome, unless the process dies.
"""

import json
import os
import resource
import sys
from pathlib import Path

from serving.bundles.confinement.confine import confine
from serving.bundles.trial_fork import run_forked
from serving.bundles.trial_order import Order
from serving.bundles.trial_work import Memory, look_at_folder, prepare, try_folder

_MORE_S = 60.0
"""After the trial's own time: by then somebody has ended this process."""


def main() -> None:
    """Try, once."""
    order = Order.decode(sys.argv[1].encode())
    prepare()
    if sys.platform != "linux":
        report_confined(order)
        return
    # A fork, as of the helper: it has few of the pages of the libraries' files, and what a model may have resident must
    # not hang on who made the process. Whoever waits for this one ends it when its time is over.
    ended = run_forked(lambda: report_confined(order), order.timeout_s + _MORE_S, sys.stdout.fileno())
    sys.stdout.write(ended.out)
    sys.stderr.write(ended.err)
    sys.stdout.flush()
    code = 1 if ended.code is None else ended.code
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), -code)
    sys.exit(code)


def report_confined(order: Order) -> None:
    """Confine this process for good, and report."""
    folder = Path(order.folder)
    memory = Memory()
    unconfined = confine(folder, order.memory_bytes, order.cpu_s)
    report = look_at_folder(folder) if order.look else try_folder(folder, order.batches, memory)
    sys.stdout.write(json.dumps({**report, "unconfined": unconfined}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
