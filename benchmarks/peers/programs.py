"""How each peer is fetched, built and started; what is fetched lies in a cache outside of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.kafka.artifacts import KAFKA_VERSION, SLF4J_VERSION, java_command

CACHE_VARIABLE = "STREAM_APP_PEERS_CACHE"
CACHE_DEFAULT = Path("~/.cache/stream-app-peers")
QUIX_VERSION = "3.28.0"
_HERE = Path(__file__).parent
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>stream-app</groupId>
  <artifactId>kafka-streams-peer</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka-streams</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>{SLF4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


def _cache() -> Path:
    folder = Path(os.environ.get(CACHE_VARIABLE) or CACHE_DEFAULT).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kafka_streams() -> list[str]:
    """Give the command of Kafka Streams: one thread, exactly_once_v2, a commit every 100 ms, RocksDB."""
    root = _cache() / f"kafka-streams-{KAFKA_VERSION}"
    jars, classes = root / "libs", root / "classes"
    root.mkdir(exist_ok=True)
    if not jars.is_dir():
        (root / "pom.xml").write_text(_POM)
        partial = root / "libs.partial"
        shutil.rmtree(partial, ignore_errors=True)
        fetch = ["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
        # Maven says what is wrong on standard output, which here is for the figures.
        subprocess.run(fetch, cwd=root, check=True, stdout=sys.stderr)
        partial.rename(jars)
    classes.mkdir(exist_ok=True)
    source = _HERE / "CountAndSum.java"
    subprocess.run(["javac", "-cp", f"{jars}/*", "-d", str(classes), str(source)], check=True)
    options = ["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return [java_command(), *options, "-cp", f"{classes}:{jars}/*", "CountAndSum"]


def faust_table() -> list[str]:
    """Give the command of stock Faust with a table in memory."""
    return [sys.executable, str(_HERE / "faust_table.py")]


def quix_streams() -> list[str]:
    """Give the command of Quix Streams, exactly once, with RocksDB."""
    root = _cache() / f"quix-{QUIX_VERSION}"
    python = root / "bin" / "python"
    if not (root / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(root)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"quixstreams=={QUIX_VERSION}"], check=True)
        (root / "ready").touch()
    return [str(python), str(_HERE / "quix.py")]
