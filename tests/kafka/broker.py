"""Real Kafka brokers (KRaft) on loopback, for tests and benchmarks; one process each, stopped by its id."""

from __future__ import annotations

import base64
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from tests.kafka.artifacts import class_path, java_command

HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.1
HEAP_MB = 512


def free_ports(count: int) -> list[int]:
    """Give ports of the loopback interface that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _new_cluster_id() -> str:
    return base64.urlsafe_b64encode(b"\x10" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


class Broker:
    """One broker, which is a controller too.

    Parameters
    ----------
    node_id
        Its number in the cluster.
    port
        Where clients connect.
    folder
        Of its settings, its data and its output.
    settings
        Its `server.properties`.
    """

    def __init__(self, node_id: int, port: int, folder: Path, settings: Mapping[str, str]) -> None:
        self.node_id = node_id
        self.port = port
        self.folder = folder
        self._settings = folder / "server.properties"
        self._settings.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Id of its process."""
        assert self._process is not None
        return self._process.pid

    def format(self, cluster_id: str) -> None:
        """Prepare its empty data folder."""
        options = ["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._settings)]
        subprocess.run([java_command(), *options, "-cp", class_path(), *tool], check=True, capture_output=True)

    def start(self) -> None:
        """Start its process; it is ready some seconds later."""
        options = [f"-Xmx{HEAP_MB}m", "-Xshare:auto", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        command = [java_command(), *options, "-cp", class_path(), "kafka.Kafka", str(self._settings)]
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal, such as SIGSTOP and SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in an orderly way, or by force where that takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def output(self) -> str:
        """Give the end of what it has written."""
        return (self.folder / "output.log").read_text(errors="replace")[-4000:]


class KafkaCluster:
    """Brokers with default limits of sizes, in a temporary folder that goes away with them.

    Parameters
    ----------
    brokers
        How many; with three or more, topics have three replicas of which two must be in sync.
    settings
        Given the listeners of a broker, further settings of it.
    """

    def __init__(self, brokers: int = 1, settings: Callable[[str], Mapping[str, str]] | None = None) -> None:
        self._settings = settings
        self._count = brokers
        self._folder = Path(tempfile.mkdtemp(prefix="stream-app-kafka-"))
        self.brokers: list[Broker] = []

    @property
    def bootstrap(self) -> str:
        """Addresses for clients."""
        return ",".join(f"{HOST}:{broker.port}" for broker in self.brokers)

    @property
    def replication(self) -> int:
        """Replicas of a topic."""
        return min(self._count, 3)

    def start(self) -> None:
        """Start all brokers and wait until they can be worked with."""
        ports = free_ports(2 * self._count)
        voters = ",".join(f"{node}@{HOST}:{ports[self._count + node - 1]}" for node in range(1, self._count + 1))
        cluster_id = _new_cluster_id()
        for node_id in range(1, self._count + 1):
            folder = self._folder / str(node_id)
            folder.mkdir()
            port, controller_port = ports[node_id - 1], ports[self._count + node_id - 1]
            listeners = f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}"
            addresses = {
                "node.id": str(node_id),
                "listeners": listeners,
                "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
                "controller.quorum.voters": voters,
                "log.dirs": str(folder / "data"),
            }
            further = {} if self._settings is None else dict(self._settings(listeners))
            self.brokers.append(Broker(node_id, port, folder, addresses | self._common() | further))
        for broker in self.brokers:
            broker.format(cluster_id)
            broker.start()
        self.wait_until_ready()

    def _common(self) -> dict[str, str]:
        replicas, in_sync = str(self.replication), str(max(1, self.replication - 1))
        return {
            "process.roles": "broker,controller",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": in_sync,
            "default.replication.factor": replicas,
            "min.insync.replicas": in_sync,
            # Tests start groups all the time and cannot wait three seconds for members that do not exist.
            "group.initial.rebalance.delay.ms": "0",
            # A misspelt topic is an error, not a new topic.
            "auto.create.topics.enable": "false",
        }

    def wait_until_ready(self) -> None:
        """Wait until every broker is known to the cluster; a broker that has ended by itself is an error."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._known_brokers() < self._count:
            for broker in self.brokers:
                if not broker.is_running:
                    message = f"broker {broker.node_id} has ended: {broker.output()}"
                    raise RuntimeError(message)
            if time.monotonic() > deadline:
                message = f"brokers not ready in {START_TIMEOUT_S} s: {self.brokers[0].output()}"
                raise TimeoutError(message)
            time.sleep(POLL_S)

    def _known_brokers(self) -> int:
        for broker in self.brokers:
            # A client that finds nobody to talk to only makes noise: look first whether somebody listens.
            with socket.socket() as probe:
                if probe.connect_ex((HOST, broker.port)) != 0:
                    return 0
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap.split(","))
        except (KafkaError, OSError):
            return 0
        try:
            return len(admin.describe_cluster()["brokers"])
        except (KafkaError, OSError):
            return 0
        finally:
            admin.close()

    def stop(self) -> None:
        """Stop all brokers and remove their data."""
        for broker in self.brokers:
            if broker.is_running:
                broker.signal(signal.SIGTERM)
        for broker in self.brokers:
            broker.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> KafkaCluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
