"""Worker, trainer and commands against a broker that asks who they are; their secrets are written nowhere."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.knowledge.store import ArtifactStore
from stream.shop.broker import free_port
from tests.artifacts import publish_made
from tests.secure_broker import KEY_PASSWORD, PASSWORD, USER, SecureBroker, make_certificates
from tests.worker_kit import Shop, wait_until

pytestmark = pytest.mark.kafka

COMMANDS = (
    ("topics",), ("doctor",), ("doctor", "--json"), ("settings",), ("settings", "--json"), ("state",),
    ("dead-letters", "list"), ("dead-letters", "replay"), ("artifacts", "list"), ("artifacts", "show", "latest"),
    ("artifacts", "promote", "latest"), ("simulate", "--duration", "1"), ("recommend", "u1", "--json"),
    ("similar", "i1"),
)  # fmt: skip


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    certificates = make_certificates(tmp_path_factory.mktemp("certificates"))
    with SecureBroker(tmp_path_factory.mktemp("secure"), certificates) as broker:
        yield broker


def settings_of(kind: str, broker: SecureBroker, folder: Path) -> dict[str, str]:
    """What a client at this door has to set; a password once in the environment, once in a file."""
    certificates = broker.certificates
    trusted = {"ALLUVIUM_KAFKA__SSL_CAFILE": str(certificates / "authority.pem"), "ALLUVIUM_LOG__LEVEL": "debug"}
    if kind == "scram":
        return trusted | {
            "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": broker.scram,
            "ALLUVIUM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "ALLUVIUM_KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
            "ALLUVIUM_KAFKA__SASL_USERNAME": USER,
            "ALLUVIUM_KAFKA__SASL_PASSWORD": PASSWORD,
        }
    (folder / "key-password").write_text(KEY_PASSWORD + "\n", "utf-8")
    return trusted | {
        "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": broker.mutual,
        "ALLUVIUM_KAFKA__SECURITY_PROTOCOL": "SSL",
        "ALLUVIUM_KAFKA__SSL_CERTFILE": str(certificates / "client.crt"),
        "ALLUVIUM_KAFKA__SSL_KEYFILE": str(certificates / "client.key"),
        "ALLUVIUM_KAFKA__SSL_KEY_PASSWORD_FILE": str(folder / "key-password"),
    }


@pytest.mark.timeout(900)  # compiles what serves, the first time
@pytest.mark.parametrize("kind", ["scram", "mutual"])
def test_all_processes_and_commands_pass_and_tell_no_secret(
    kind: str, broker: SecureBroker, tmp_path: Path, topic_prefix: str
) -> None:
    """A click is answered, the trainer becomes ready, every command succeeds; and neither what they print, nor their
    logs at their most talkative, nor metrics, nor artifacts hold a password.
    """
    shop = Shop(broker, topic_prefix, tmp_path, **settings_of(kind, broker, tmp_path))
    publish_made(ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache"))
    try:
        said = [_said(shop, "topics")]
        worker, trainer_port = shop.start_worker().wait_until_ready(), free_port()
        with (tmp_path / "trainer.log").open("wb") as log:
            environment = {**shop.environment, "ALLUVIUM_TRAINER__HTTP_PORT": str(trainer_port)}
            command = [sys.executable, "-m", "stream.cli", "trainer"]
            trainer = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
        try:
            shop.click("ann", "hat")  # by the door without a lock
            shop.flush()
            wait_until(shop.lists, "a list")
            said += [_said(shop, *arguments) for arguments in COMMANDS]
            wait_until(lambda: _is_ready(trainer_port), "the trainer")
        finally:
            trainer.terminate()
            trainer.wait(30)
        said += [worker.get("/metrics"), worker.get("/readyz")]
        assert worker.stop() == 0
    finally:
        shop.close()
    secret_file = tmp_path / "key-password"
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and file != secret_file]
    assert len(written) > 8
    for secret in (PASSWORD, KEY_PASSWORD):
        assert not any(secret in text for text in said)
        assert not any(secret.encode() in content for content in written)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("scram", {"ALLUVIUM_KAFKA__SASL_PASSWORD": "hush-wrong"}),
        ("mutual", {"ALLUVIUM_KAFKA__SSL_CERTFILE": "", "ALLUVIUM_KAFKA__SSL_KEYFILE": ""}),
        ("mutual", {"ALLUVIUM_KAFKA__SSL_KEYFILE": "nowhere"}),
        ("scram", {"ALLUVIUM_KAFKA__SSL_CAFILE": ""}),
    ],
    ids=["wrong password", "no certificate", "no key", "unknown authority"],
)
def test_who_may_not_pass_is_told_so_without_the_secret(
    kind: str, change: dict[str, str], broker: SecureBroker, tmp_path: Path, topic_prefix: str
) -> None:
    """Exit code 1, a line that says why, no traceback, no password."""
    settings = settings_of(kind, broker, tmp_path) | change
    done = Shop(broker, topic_prefix, tmp_path, **settings | {"ALLUVIUM_LOG__LEVEL": "info"}).alluvium("topics")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert not any(secret in done.stderr for secret in (PASSWORD, KEY_PASSWORD, "hush-wrong"))


def _said(shop: Shop, *arguments: str) -> str:
    done = shop.alluvium(*arguments)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
