"""The fuzzer: `python -m tests.fuzz SECONDS FOLDER`, or `python -m tests.fuzz FILE` to try one finding again.

FOLDER keeps the corpus from run to run; what fails is written into it as crash-… or timeout-…, and the exit code is
not 0.
"""

import sys
from pathlib import Path

import atheris

from tests.fuzz.quiet import run_quietly

with atheris.instrument_imports(include=["serving.rpc", "hpack"]):
    from tests.fuzz.seeds import seeds
    from tests.fuzz.target import MOST, check

_READ_S = 5
"""An input that takes longer counts as an endless loop."""
_MEMORY_MB = 1024
_CHILD = "--loud"


def main() -> None:
    """Run until the time is over or something fails."""
    arguments = sys.argv[1:]
    if len(arguments) == 1:
        check(Path(arguments[0]).read_bytes())
    elif arguments[-1] == _CHILD:
        _fuzz(arguments)
    else:
        raise SystemExit(run_quietly([sys.executable, "-m", "tests.fuzz", *arguments, _CHILD]))


def _fuzz(arguments: list[str]) -> None:
    seconds, folder = int(arguments[0]), Path(arguments[1])
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}", f"-max_len={MOST}", f"-timeout={_READ_S}", f"-rss_limit_mb={_MEMORY_MB}",
        f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
