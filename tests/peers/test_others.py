import subprocess
import sys

import psutil

from benchmarks.peers.others import Others

_SPINS = "import time\nend = time.process_time() + 1\nwhile time.process_time() < end: pass"


def test_a_process_of_nobodys_counts_as_others_and_one_of_the_servers_does_not() -> None:
    with subprocess.Popen([sys.executable, "-c", _SPINS + "\ninput()"], stdin=subprocess.PIPE) as spinning:
        server = psutil.Process(spinning.pid)
        theirs, ours = Others(list), Others(lambda: [server])
        while sum(server.cpu_times()[:2]) < 1:
            pass
        assert theirs.cores() > ours.cores()
        spinning.communicate(b"\n")
