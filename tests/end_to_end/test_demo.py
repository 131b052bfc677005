"""The demo, as a newcomer runs it."""

import pytest

from tests.end_to_end.installation import Installation


@pytest.mark.timeout(900)
def test_the_demo_does_the_whole_main_job_and_ends_well(installation: Installation) -> None:
    options = [
        f"--{name}={installation.overrides[name]}" for name in ("bus", "store") if name in installation.overrides
    ]

    done = installation.run("demo", *options, timeout_s=800)

    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "published also-bought version 1: nearline-0 READY, serving-0 READY, serving-1 READY",
        "answered ONLINE",
        "Recommend went over to it after",
        "0 failed, 0 mixed",
        "version 2 went on serving",
        "rolled back to version 2, then to 1",
        "rollback   version 1 serves again",
        "recall@20",
    ):
        assert words in done.stdout


def test_a_file_that_is_none_of_the_known_ones_is_refused_in_one_line(installation: Installation) -> None:
    path = installation.folder / "purchases.csv"
    path.write_text("who,what\nann,tea\n")

    done = installation.run("demo", "--data", str(path))

    assert done.returncode == 2
    assert "who" in done.stderr
    assert "Traceback" not in done.stderr
