"""Apache Kafka's jars: fetched once through Maven, kept in a cache that many processes may share."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

RECIPE = Path(__file__).resolve().parents[2] / "deploy" / "kafka"
MINIMUM_JAVA = 17  # Kafka 4 servers need it
DEFAULT_CACHE = Path("~/.cache/alluvium/kafka")


class BrokerError(RuntimeError):
    """The embedded broker cannot run. Operator action: do what the message says."""


def java_command() -> str:
    """The `java` on the path. Raises BrokerError when it is missing or older than 17."""
    java = shutil.which("java")
    if java is None:
        raise BrokerError("java is not on the PATH: install a Java 17 runtime (Debian: openjdk-17-jre-headless)")
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = java_version(shown)
    if version is None:
        raise BrokerError(f"{java} -version says nothing of its version: {shown.strip()[:200]}")
    if version < MINIMUM_JAVA:
        raise BrokerError(f"{java} is Java {version}; Kafka needs Java {MINIMUM_JAVA} or newer")
    return java


def java_version(shown: str) -> int | None:
    """The major version in the output of `java -version`.

    >>> java_version('openjdk version "17.0.15" 2025-04-15'), java_version('java version "1.8.0_292"')
    (17, 8)
    """
    found = re.search(r'version "(\d+)(?:\.(\d+))?', shown)
    if found is None:
        return None
    major = int(found[1])
    return int(found[2]) if major == 1 and found[2] else major


def kafka_version(pom: str) -> str:
    """The version of Kafka that a pom asks for."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", pom)
    if found is None:
        raise BrokerError("deploy/kafka/pom.xml names no kafka.version")
    return found[1]


def kafka_jars(cache: Path = DEFAULT_CACHE, recipe: Path = RECIPE) -> Path:
    """The folder of the jars that `recipe/pom.xml` names; Maven fetches them the first time (about 45 MB).

    Safe when several processes come first at once: one fetches under a lock, into a temporary folder that is renamed.
    Raises BrokerError when Maven is missing or fails.
    """
    pom = (recipe / "pom.xml").read_text("utf-8")
    cache = cache.expanduser()
    jars = cache / f"{kafka_version(pom)}-{hashlib.sha256(pom.encode()).hexdigest()[:8]}"
    if jars.is_dir():
        return jars
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            _fetch(recipe / "pom.xml", jars)
    return jars


def _fetch(pom: Path, jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError("mvn is not on the PATH: install Apache Maven, it fetches Kafka's jars (Debian: maven)")
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=jars.parent) as folder:
        fetched = Path(folder) / "jars"
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fetched}"]
        command = [maven, "--quiet", "--batch-mode", "--file", str(pom), *goal]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not fetched.is_dir():
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[:8])
            raise BrokerError(f"Maven could not fetch Kafka's jars (exit status {done.returncode}):\n{said}")
        fetched.rename(jars)
