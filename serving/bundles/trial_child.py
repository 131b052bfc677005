"""The throw-away process of a trial: `python -m serving.bundles.trial_child ORDER`, an order in JSON.

Confines itself, tries the bundle, and says on standard output, in a line of JSON, how that went. The exit code is 0
whatever the outcome, unless this process dies.
"""

import json
import sys
from pathlib import Path

from serving.bundles.confinement.confine import confine
from serving.bundles.trial_order import Order
from serving.bundles.trial_work import Memory, look_at_folder, prepare, try_folder


def main() -> None:
    """Try, once."""
    order = Order.decode(sys.argv[1].encode())
    prepare()
    report_confined(order)


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
