"""`.ci/system-packages` on releases of Debian that differ in which Java they have; apt is played by scripts."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "system-packages"

SUDO = 'shift; exec "$@"'
OLD_JAVA = "echo 'openjdk version \"11.0.1\"' >&2"
APT_CACHE = 'grep "^$2 " "$(dirname "$0")/release" | sed "s/^[^ ]* /  Candidate: /"'
APT_GET = 'echo "$@" >> "$(dirname "$0")/apt.log"; [ "$1" = update ] || echo "{}" > "$(dirname "$0")/java"'


def run(folder: Path, *release: str) -> "subprocess.CompletedProcess[str]":
    """On a machine with an old Java and the other programs; `release`: packages and versions."""
    new_java = "#!/bin/sh\\necho 'openjdk version \\\"21.0.1\\\"' >&2"
    apt_get = APT_GET.replace('echo "{}"', f'printf "{new_java}\\n"')
    ours = {"java": OLD_JAVA, "apt-cache": APT_CACHE, "apt-get": apt_get, "mvn": "", "redis-server": "", "h2load": ""}
    ours["sudo"] = SUDO
    for name, script in ours.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    (folder / "release").write_text("".join(f"{line}\n" for line in release))
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run([SCRIPT], env={"PATH": path}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("release", "installed"),
    [
        (["openjdk-17-jre-headless 17.0.21", "default-jre-headless 2:1.17-74"], "openjdk-17-jre-headless"),
        (["default-jre-headless 2:1.21-76"], "default-jre-headless"),
        (["openjdk-17-jre-headless (none)", "default-jre-headless 2:1.25-80"], "default-jre-headless"),
    ],
)
def test_the_java_that_the_release_has_is_installed(tmp_path: Path, release: list[str], installed: str) -> None:
    ended = run(tmp_path, *release)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "apt.log").read_text().splitlines()[-1].split()[-1] == installed


@pytest.mark.parametrize("release", [[], ["default-jre-headless 2:1.11-72"], ["default-jre-headless (none)"]])
def test_a_release_without_one_is_an_error_of_one_line_that_installs_nothing(
    tmp_path: Path, release: list[str]
) -> None:
    ended = run(tmp_path, *release)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
    assert ended.stderr.startswith("error: Java 17 or newer: missing, and this release has none; install with: ")
    assert (tmp_path / "apt.log").read_text() == "update -qq\n"
