"""The embedded broker with locks on its doors: SASL/SCRAM over TLS, and TLS that asks for the client's certificate."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stream.shop.broker import Broker, free_port

USER, PASSWORD, KEY_PASSWORD = "shop", "hush-4e1f-scram", "hush-77aa-key"
LISTENERS = """
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},SCRAM://127.0.0.1:{scram},MUTUAL://127.0.0.1:{mutual}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SCRAM://127.0.0.1:{scram},MUTUAL://127.0.0.1:{mutual}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.mutual.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/authority.pem
"""


class SecureBroker(Broker):
    """A broker with two more listeners; `certificates` is a directory of `make_certificates`."""

    def __init__(self, data_dir: Path, certificates: Path) -> None:
        super().__init__(data_dir)
        self.certificates = certificates
        self._scram, self._mutual = free_port(), free_port()

    @property
    def scram(self) -> str:
        """Where SASL/SCRAM-SHA-512 over TLS is asked for."""
        return f"localhost:{self._scram}"

    @property
    def mutual(self) -> str:
        """Where a certificate is asked for."""
        return f"localhost:{self._mutual}"

    def _write_properties(self) -> Path:
        properties = super()._write_properties()
        written = properties.read_text("utf-8")
        voter = next(line for line in written.splitlines() if line.startswith("controller.quorum.voters"))
        more = LISTENERS.format(
            plain=self.bootstrap_servers.rpartition(":")[2],
            controller=voter.rpartition(":")[2],
            scram=self._scram,
            mutual=self._mutual,
            certificates=self.certificates,
        )
        # Clients are told the name that the certificate is for.
        more = more.replace("SCRAM://127.0.0.1:", "SCRAM://localhost:").replace(
            "MUTUAL://127.0.0.1", "MUTUAL://localhost"
        )
        properties.write_text(written + more, "utf-8")  # of a key written twice the last counts
        return properties

    def _format(self, kafka: list[str], properties: Path) -> None:
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        arguments = ["kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", str(properties)]
        done = subprocess.run([*kafka, *arguments, "--add-scram", scram], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def make_certificates(folder: Path) -> Path:
    """An authority, a certificate for the broker on localhost and one for us, whose key has a password."""
    _openssl(
        folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.pem"
    )
    _openssl(folder, "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout broker.key -out broker.csr")
    _openssl(
        folder, f"req -newkey rsa:2048 -passout pass:{KEY_PASSWORD} -subj /CN=shop -keyout client.key -out client.csr"
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost", "utf-8")
    signed = "x509 -req -days 2 -CA authority.pem -CAkey authority.key -CAcreateserial"
    _openssl(folder, f"{signed} -in broker.csr -out broker.crt -extfile names")
    _openssl(folder, f"{signed} -in client.csr -out client.crt")
    keystore = (folder / "broker.key").read_text("utf-8") + (folder / "broker.crt").read_text("utf-8")
    (folder / "broker.pem").write_text(keystore, "utf-8")
    return folder


def _openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, capture_output=True, check=True)
