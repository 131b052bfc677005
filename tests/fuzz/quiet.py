"""Runs the fuzzer and leaves out what says nothing, so that a failure is seen.

jh2's decoder, which is in Rust, panics on some truncated blocks. The server makes a COMPRESSION_ERROR of that (see
http2/hpack.py); but Rust has written its lines by then, thousands in a minute. libFuzzer recommends a dictionary.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence

_PANIC = re.compile(r"thread '.*' .*panicked at .*src/").match
_SAYS_NOTHING = re.compile(r"\s*$|note: run with `RUST_BACKTRACE|#{6} |\".*\" # Uses: \d+").match


def run_quietly(command: Sequence[str]) -> int:
    """Return its exit code; what it writes to stderr goes on, but for panics."""
    environment = {**os.environ, "RUST_BACKTRACE": "0"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", env=environment) as process:
        assert process.stderr is not None
        for line in without_panics(process.stderr):
            sys.stderr.write(line)
    return process.returncode


def without_panics(lines: Iterable[str]) -> Iterator[str]:
    """Leave out the two lines of a panic, the note that the first one has, and what libFuzzer recommends."""
    words_follow = False
    for line in lines:
        if _PANIC(line):
            words_follow = True
        elif words_follow or _SAYS_NOTHING(line):
            words_follow = False
        else:
            yield line
