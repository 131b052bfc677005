"""nearline beside other model servers: the same model, payload and core, answers checked before they are timed.

    python -m benchmarks.peers                  all of them; writes docs/peers.json, the chart and the tables
    python -m benchmarks.peers --only ray       one of them; writes nothing
    python -m benchmarks.peers --draw           chart and tables anew, from docs/peers.json

Each peer has an environment of its own under .peers/, made from benchmarks/peers/requirements/ when it is first wanted.
Exit code 1 when one could not be measured; its row says why.
"""

import argparse
import datetime as dt
import signal
import sys
from collections.abc import Sequence

from benchmarks.machine import machine
from benchmarks.nodes import CLIENT_CORE, pin
from benchmarks.peers import bentoml, environments, grpcio, kserve, litserve, mlserver, nearline, ray_serve
from benchmarks.peers.answers import Expected
from benchmarks.peers.chart import draw
from benchmarks.peers.measure import CONNECTIONS, STREAMS, Durations, in_process, measure, model_file
from benchmarks.peers.peer import Peer
from benchmarks.peers.report import Report, Row
from benchmarks.peers.table import full
from benchmarks.result import say
from docs.generate import write

PEERS: Sequence[Peer] = [module.PEER for module in (nearline, grpcio, mlserver, kserve, ray_serve, bentoml, litserve)]


def main() -> None:
    """Measure, write and say the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[peer.key for peer in PEERS], help="may be repeated")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--warm", type=float, default=5.0, help="seconds beforehand")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--lock", action="store_true", help="write the lock files anew")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what runs, as Ctrl-C does
    if asked.lock:
        environments.lock()
        return
    if not asked.draw:
        peers = [peer for peer in PEERS if asked.only is None or peer.key in asked.only]
        report = _measured(peers, Durations(asked.seconds, asked.warm))
        sys.stdout.write(full(report) + "\n")
        if asked.only is None:
            report.write()
        if asked.only is not None or not all(row.loads for row in report.best()):
            sys.exit(0 if all(row.loads for row in report.best()) else 1)
    draw()
    write()


def _measured(peers: Sequence[Peer], durations: Durations) -> Report:
    pin(CLIENT_CORE)
    with model_file() as model:
        expected = Expected(model)
        rows: list[Row] = [in_process(model, durations.seconds)]
        for peer in peers:
            rows += measure(peer, model, expected, durations)
    return Report(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        machine=machine(),
        method={
            "connections": CONNECTIONS,
            "m": list(STREAMS),
            "seconds": durations.seconds,
            "warm_s": durations.warm_s,
        },
        rows=rows,
    )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("stopped")
        sys.exit(130)
