"""What the fuzzer's launcher leaves out, and what not."""

import sys

import pytest

from tests.fuzz.quiet import run_quietly, without_panics

PANIC = ["\n", "thread '<unnamed>' (7) panicked at src/hpack/decoder.rs:1:2:\n", "index out of bounds\n"]
NOTE = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"


def test_panics_are_left_out_and_everything_between_them_stays() -> None:
    lines = [*PANIC, NOTE, "one\n", *PANIC, *PANIC, "AssertionError: another\n"]
    assert list(without_panics(lines)) == ["one\n", "AssertionError: another\n"]


def test_how_a_program_ended_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code = "import sys; sys.stderr.write(\"thread 'x' panicked at src/a.rs:\\nwords\\nfound it\\n\"); sys.exit(7)"
    assert run_quietly([sys.executable, "-c", code]) == 7
    assert capsys.readouterr().err == "found it\n"
