"""How each peer is fetched, built and started; what is fetched lies in a cache outside of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kafka.artifacts import KAFKA_VERSION, STREAMS, class_path, java_command

CACHE_VARIABLE = "STREAM_APP_PEERS_CACHE"
CACHE_DEFAULT = Path("~/.cache/stream-app-peers")
QUIX_VERSION = "3.28.0"
_HERE = Path(__file__).parent


def _cache() -> Path:
    folder = Path(os.environ.get(CACHE_VARIABLE) or CACHE_DEFAULT).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kafka_streams() -> list[str]:
    """Give the command of Kafka Streams: one thread, exactly_once_v2, a commit every 100 ms, RocksDB."""
    classes = _cache() / f"kafka-streams-{KAFKA_VERSION}"
    classes.mkdir(exist_ok=True)
    jars = class_path(STREAMS)
    subprocess.run(["javac", "-cp", jars, "-d", str(classes), str(_HERE / "CountAndSum.java")], check=True)
    options = ["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    return [java_command(), *options, "-cp", f"{classes}:{jars}", "CountAndSum"]


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
