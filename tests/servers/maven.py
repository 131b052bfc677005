"""Jars that a pom.xml names: fetched once by Maven, by whichever process comes first."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

from filelock import FileLock

from tests.servers.processes import ServerError

REPOSITORY = Path(__file__).parents[2]
_JAVA = 17
_FETCH_S = 600.0
_INSTALL = (
    "install both (Debian: `apt-get install openjdk-17-jre-headless maven`, "
    "Fedora: `dnf install java-21-openjdk-headless maven`, macOS: `brew install openjdk maven`)"
)


def find_java(what: str) -> str:
    """Path of a Java that can run it; ServerError says what to install. `what`: Kafka, or grpc-java."""
    java = shutil.which("java")
    if java is None:
        raise ServerError(f"{what} needs Java {_JAVA} or newer, and there is no `java`: {_INSTALL}")
    # macOS has a `java` that only says that there is none.
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _JAVA:
        raise ServerError(f"{what} needs Java {_JAVA} or newer, and {java} is {told.splitlines()[:1]}: {_INSTALL}")
    return java


def find_jars(what: str, pom: Path, folder: Path) -> Path:
    """Directory below `folder` with the jars, fetched when it is not there."""
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    jars = folder / digest
    if jars.is_dir():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(jars.with_suffix(".lock")):
        if not jars.is_dir():
            _fetch(what, pom, jars)
    return jars


def _fetch(what: str, pom: Path, jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ServerError(f"{what}'s jars are fetched with Maven, and there is no `mvn`: {_INSTALL}")
    unfinished = jars.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={unfinished}"]
    fetched = subprocess.run(
        [maven, "-q", "-B", "-f", str(pom), *goal],
        capture_output=True,
        text=True,
        check=False,
        timeout=_FETCH_S,
        stdin=subprocess.DEVNULL,
    )
    if fetched.returncode != 0 or not unfinished.is_dir():
        raise ServerError(f"Maven could not fetch {what}'s jars: {fetched.stdout[-2000:]}{fetched.stderr[-2000:]}")
    unfinished.rename(jars)
