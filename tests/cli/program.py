"""The program in this process: what it printed, and its exit code."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving.cli.main import main
from serving.settings import Settings


@dataclass(frozen=True)
class Ended:
    """What a run of the program came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, which has to be one value of JSON and nothing else."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line that it said on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0].removeprefix("error: ")


class Program:
    """Runs `nearline` with a data directory of its own, through the same entry point as the shell does."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.settings = Settings(data_dir=folder / "data")
        monkeypatch.setenv("NEARLINE_DATA_DIR", str(self.settings.data_dir))
        monkeypatch.setenv("COLUMNS", "300")

    def __call__(self, *arguments: str) -> Ended:
        """Run it to its end."""
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["nearline", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = self._capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return Ended(code or 0, out, err)

    def ask(self, *arguments: str) -> Any:
        """Run it with --json; it has to end well, and to say nothing but JSON."""
        ended = self(*arguments, "--json")
        assert (ended.code, ended.err) == (0, "")
        return ended.json
