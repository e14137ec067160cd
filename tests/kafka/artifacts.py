"""Apache Kafka as jars in a cache outside of the repository: fetched once with Maven, then used offline."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

KAFKA_VERSION = "4.3.1"
SLF4J_VERSION = "1.7.36"
"""Of the binding; that of the API which Kafka brings along."""
JAVA_VERSION_MIN = 17
CACHE_VARIABLE = "STREAM_APP_KAFKA_CACHE"
CACHE_DEFAULT = Path("~/.cache/stream-app-kafka")
FETCH_TIMEOUT_S = 600

BROKER, STREAMS = "kafka_2.13", "kafka-streams"
"""Artifacts of Kafka: the broker, and the library for processing streams."""

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>stream-app</groupId>
  <artifactId>fetched</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>%s</artifactId>
      <version>%s</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>%s</version>
    </dependency>
  </dependencies>
</project>
"""


class BrokerUnavailableError(Exception):
    """No broker can be started here; the message says what is missing."""


def java_command() -> str:
    """Give the path of a Java that is new enough for Kafka."""
    java = shutil.which("java")
    if java is None:
        message = f"no java on the PATH: install a Java runtime of version {JAVA_VERSION_MIN} or newer"
        raise BrokerUnavailableError(message)
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', told.stderr)
    if found is None or int(found[1]) < JAVA_VERSION_MIN:
        message = f"{java} is no Java of version {JAVA_VERSION_MIN} or newer: {told.stderr.splitlines()[:1]}"
        raise BrokerUnavailableError(message)
    return java


def class_path(artifact: str = BROKER) -> str:
    """Give the class path of an artifact of Kafka, whose jars are fetched first where they are not in the cache yet."""
    folder = KAFKA_VERSION if artifact == BROKER else f"{KAFKA_VERSION}-{artifact}"
    root = Path(os.environ.get(CACHE_VARIABLE) or CACHE_DEFAULT).expanduser() / folder
    jars = root / "libs"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        # Several test runs may begin at once; one fetches, the others wait for it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            _fetch(artifact, root, jars)
    return f"{jars}/*"


def _fetch(artifact: str, root: Path, jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        message = f"Kafka {KAFKA_VERSION} is not in {root}, and no mvn on the PATH could fetch it: install Maven"
        raise BrokerUnavailableError(message)
    (root / "pom.xml").write_text(_POM % (artifact, KAFKA_VERSION, SLF4J_VERSION))
    partial = root / "libs.partial"
    shutil.rmtree(partial, ignore_errors=True)
    command = [maven, "--quiet", "--batch-mode", "dependency:copy-dependencies"]
    options = [f"-DoutputDirectory={partial}", "-DincludeScope=runtime"]
    done = subprocess.run(
        [*command, *options], cwd=root, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S
    )
    if done.returncode != 0:
        message = f"Maven could not fetch Kafka {KAFKA_VERSION}: {(done.stdout + done.stderr)[-2000:]}"
        raise BrokerUnavailableError(message)
    partial.rename(jars)
