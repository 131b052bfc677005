"""python -m tests.servers.kafka [--port N]: a broker to try things with, until Ctrl-C."""

import argparse
import contextlib
import signal

from tests.servers.kafka.broker import KafkaBroker
from tests.servers.processes import ServerError


def main() -> None:
    """Run one."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers.kafka", description=__doc__)
    parser.add_argument("--port", type=int, help="default: a free one")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with KafkaBroker(port=given.port) as broker:
            print(f"kafka://{broker.address}", flush=True)  # noqa: T201 - this is the program's output
            print(f"log: {broker.log}; Ctrl-C stops it", flush=True)  # noqa: T201 - as above
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    except KeyboardInterrupt:
        return  # while it started
    except ServerError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
