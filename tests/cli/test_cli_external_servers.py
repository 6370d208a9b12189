"""Addresses of servers of the user's own: what is taken, and that no password is taken or repeated."""

from pathlib import Path

import pytest

from cluster.local.stack_record import ExternalServers
from ray_fraud.cli.external_servers import ExternalServersError, read_external, with_addresses
from ray_fraud.stores.connections import KafkaConnection, KafkaSecurity, SslMode

NONE = ExternalServers()


def test_simple_addresses() -> None:
    servers = with_addresses(
        NONE,
        kafka="a:9092,b:9092",
        redis="rediss://cache:6379/0",
        postgres="postgresql://me@db:5432/fraud",
        lake="s3://bucket/prefix",
    )
    assert servers.kafka == KafkaConnection("a:9092,b:9092")
    assert servers.redis is not None
    assert servers.postgres is not None
    assert servers.lake is not None
    assert with_addresses(NONE) == NONE


@pytest.mark.parametrize(
    "address",
    [
        {"redis": "redis://:hunter2@cache:6379/0"},
        {"redis": "redis://cache:6379/0?password=hunter2"},
        {"postgres": "postgresql://me:hunter2@db/fraud"},
        {"postgres": "postgresql://me@db/fraud?password=hunter2"},
        {"lake": "s3://key:hunter2@bucket/prefix"},
        {"kafka": "me:hunter2@broker:9092"},
        {"redis": "redis://me:hunter2/0"},
    ],
)
def test_a_password_is_refused_and_never_repeated(address: dict[str, str]) -> None:
    with pytest.raises(ExternalServersError) as caught:
        with_addresses(NONE, **address)
    assert "hunter2" not in str(caught.value)


def test_the_refusal_says_what_to_do() -> None:
    with pytest.raises(ExternalServersError, match=r"password_file.*--connections"):
        with_addresses(NONE, redis="redis://:hunter2@cache:6379/0")


@pytest.mark.parametrize(
    "address",
    [
        {"postgres": "postgresql://me@one:5432,two:5433/fraud"},
        {"postgres": "postgresql://me@one,[::1]:5433/fraud?target_session_attrs=any"},
        {"redis": "redis://one:6379,two:6379,three:6379/0"},
    ],
)
def test_several_hosts_of_one_system(address: dict[str, str]) -> None:
    servers = with_addresses(NONE, **address)
    assert [server.url for server in (servers.postgres, servers.redis) if server is not None] == [
        *address.values()
    ]


@pytest.mark.parametrize(
    "address",
    [
        {"redis": "redis://one:6379,two:port/0"},
        {"kafka": "broker"},
        {"kafka": "http://broker:9092"},
        {"redis": "cache:6379"},
        {"postgres": "mysql://db/fraud"},
        {"lake": "/folder"},
        {"lake": "file://"},
    ],
)
def test_other_forms_are_refused(address: dict[str, str]) -> None:
    with pytest.raises(ExternalServersError, match=next(iter(address))):
        with_addresses(NONE, **address)


JSON = """{"kafka": {"bootstrap": "b:9093", "security": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512",
 "username": "me", "password_file": "secrets/kafka", "ca_file": "~/ca.pem"}}"""
TOML = """
[postgres]
url = "postgresql://me@db/fraud"
sslmode = "verify-full"
password_file = "secrets/pg"
"""


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with all the files that are named."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secrets").mkdir()
    for name in ("ca.pem", "secrets/kafka", "secrets/pg"):
        (tmp_path / name).write_text("x")
    return tmp_path


@pytest.mark.usefixtures("secrets")
def test_a_json_file_with_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(JSON)
    kafka = read_external(tmp_path / "c.json").kafka
    assert kafka is not None
    assert kafka.security is KafkaSecurity.SASL_SSL
    assert kafka.password_file == tmp_path / "secrets" / "kafka"
    assert kafka.ca_file == tmp_path / "ca.pem"


def test_a_file_that_is_not_there_is_named(tmp_path: Path, secrets: Path) -> None:
    (secrets / "secrets" / "kafka").unlink()
    (tmp_path / "c.json").write_text(JSON)
    with pytest.raises(ExternalServersError, match=r"kafka\.password_file: .*secrets/kafka cannot be read"):
        read_external(tmp_path / "c.json")


@pytest.mark.usefixtures("secrets")
def test_a_toml_file_and_an_address_on_top_keeps_log_in(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(TOML)
    servers = with_addresses(read_external(tmp_path / "c.toml"), postgres="postgresql://me@other/fraud")
    assert servers.postgres is not None
    assert servers.postgres.url == "postgresql://me@other/fraud"
    assert servers.postgres.sslmode is SslMode.VERIFY_FULL
    assert servers.postgres.password_file == tmp_path / "secrets" / "pg"


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ('{"kafka": {"bootstrap": "b:1", "pasword_file": "x"}}', "pasword_file"),
        ('{"redis": {"url": 3}}', "redis.url"),
        ('{"redis": {"url": "redis://:hunter2@c/0"}}', "password_file"),
        ("nonsense", "c.json"),
    ],
)
def test_mistakes_in_a_file_name_it(tmp_path: Path, content: str, hint: str) -> None:
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ExternalServersError, match=hint) as caught:
        read_external(tmp_path / "c.json")
    assert "c.json" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_topics_name_the_producers_one_for_re_keying(tmp_path: Path) -> None:
    file = tmp_path / "servers.toml"
    file.write_text('[topics]\ntransactions = "transactions.keyed"\nrekey_from = "transactions"\n')
    topics = read_external(file).topics
    assert topics is not None
    assert (topics.transactions, topics.input) == ("transactions.keyed", "transactions")
    assert topics.rekey_progress == "transactions.keyed.progress"
