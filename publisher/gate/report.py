"""What the gate found, one line for each thing that was looked at."""

from dataclasses import dataclass

from serving.errors import NearlineError


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. Without anything expected it is a figure, to be read."""

    name: str
    passed: bool
    expected: str
    actual: str


class GateError(NearlineError):
    """The bundle must not be announced; `checks` say why, and what else was looked at."""

    def __init__(self, checks: tuple[Check, ...]) -> None:
        failed = [check for check in checks if not check.passed]
        first = failed[0]
        more = f" (and {len(failed) - 1} more)" if failed[1:] else ""
        super().__init__(
            f"gate: {first.name}: expected {first.expected}, got {first.actual}{more}; nothing was announced"
        )
        self.checks = checks
