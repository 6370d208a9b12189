"""The embedded Kafka with TLS in front: a certificate from an authority of the test's own, and client
certificates required beside the password.

Never: for anything but tests; the platform's own Kafka stays on loopback.
"""

import datetime
import ipaddress
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cluster.local.kafka import EmbeddedKafka
from cluster.local.ledger import Ledger
from cluster.local.paths import StackPaths
from cluster.local.ports import Ports
from cluster.local.secret_files import write_private
from ray_fraud.stores.connections import KafkaConnection, KafkaSecurity

Signed = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


class TlsKafka(EmbeddedKafka):
    """In a data folder of its own."""

    def __init__(self, data_dir: Path) -> None:
        paths = StackPaths(data_dir)
        paths.prepare()
        self._certificates = data_dir / "certificates"
        self._certificates.mkdir()
        self._make_certificates()
        super().__init__(paths, Ledger(paths), Ports(paths))

    def connection(self) -> KafkaConnection:
        return msgspec.structs.replace(
            super().connection(),
            security=KafkaSecurity.SASL_SSL,
            ca_file=self._certificates / "ca.pem",
            client_cert_file=self._certificates / "client.pem",
            client_key_file=self._certificates / "client.key",
        )

    def _write_files(self, jars: list[Path], port: int, controller_port: int) -> None:
        super()._write_files(jars, port, controller_port)
        added = {
            "listener.security.protocol.map": "CLIENT:SASL_SSL,CONTROLLER:SASL_PLAINTEXT",
            "ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._certificates / "server-with-key.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._certificates / "ca.pem",
        }
        for name in ("server.properties", "format.properties"):
            file = self._folder / name
            # Of a name that is there twice Java takes the last.
            lines = "".join(f"{key}={value}\n" for key, value in added.items())
            write_private(file, file.read_text() + lines)

    def _make_certificates(self) -> None:
        authority = _signed("test authority", None)
        server, client = _signed("localhost", authority), _signed("producer", authority)
        self._write("ca.pem", _certificate(authority))
        self._write("server-with-key.pem", _key(server) + _certificate(server))
        self._write("client.pem", _certificate(client))
        self._write("client.key", _key(client))

    def _write(self, name: str, content: str) -> None:
        write_private(self._certificates / name, content)


def _signed(name: str, authority: Signed | None) -> Signed:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signing_key = (subject, key) if authority is None else (authority[0].subject, authority[1])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_key, critical=False)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    return certificate, key


def _certificate(signed: Signed) -> str:
    return signed[0].public_bytes(serialization.Encoding.PEM).decode()


def _key(signed: Signed) -> str:
    """PKCS#8, the form that Java reads."""
    return (
        signed[1]
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
    )
