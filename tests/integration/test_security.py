"""Every process and command against a broker that asks who they are; their secrets are written nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import typer.main

from stream.cli.main import load_commands
from stream.knowledge.store import ArtifactStore
from tests.alert_kit import SMALL
from tests.artifacts import HOUR, NOON, publish_made
from tests.forked_commands import Run, run_all
from tests.secure_broker import KEY_PASSWORD, PASSWORD, USER, SecureBroker, make_certificates
from tests.worker_kit import Shop, wait_until

pytestmark = pytest.mark.kafka

WRONG = "hush-a3d0-wrong"
SECRETS = (PASSWORD, KEY_PASSWORD, WRONG)
OWN_BROKER = ("demo", "broker", "bench")  # nothing of theirs goes to the shop's Kafka
SERVING = ("worker", "trainer")
OTHER_STORE = {"ALLUVIUM_ARTIFACTS__URL": "moved"}
ANY_PORT = {f"ALLUVIUM_{name.upper()}__HTTP_PORT": "0" for name in SERVING}
COLUMNS = "--columns=user=u,item=i,time=t"
# In an order in which each finds what it needs; `replay` writes what `evaluate` reads.
KAFKA_COMMANDS = (
    ("topics",), ("doctor", "--json"), ("state",), ("recommend", "ann", "--json"), ("similar", "i1"), ("search", "hat"),
    ("dead-letters", "list"), ("dead-letters", "replay"), ("simulate", "--duration=2"), ("replay", "log.csv", COLUMNS),
    ("evaluate", "--model=popular"), ("evaluate", "--protocol=served"), ("artifacts", "list"),
    ("artifacts", "promote", "latest"), ("artifacts", "rollback"), ("artifacts", "gc", "--keep=5"),
)  # fmt: skip
OTHER_COMMANDS = (
    ("doctor",), ("settings",), ("settings", "--json"), ("artifacts", "show"), ("artifacts", "verify", "--all"),
    ("artifacts", "diff", "latest", "latest"), ("artifacts", "export", "latest", "moved.tar"),
)  # fmt: skip
WITHOUT_KAFKA = ("artifacts", "list")  # says what it does not know then


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


def all_commands() -> set[tuple[str, ...]]:
    """The words of each command there is."""
    found: set[tuple[str, ...]] = set()
    for name, command in typer.main.get_command(load_commands()).commands.items():  # type: ignore[attr-defined]
        found |= {(name, inner) for inner in getattr(command, "commands", ())} or {(name,)}
    return found


def test_no_command_is_left_out() -> None:
    """Each that `--help` lists is run below."""
    named = {*KAFKA_COMMANDS, *OTHER_COMMANDS, ("artifacts", "import"), *((n,) for n in (*OWN_BROKER, *SERVING))}
    assert all_commands() == {known for known in all_commands() for line in named if line[: len(known)] == known}


@pytest.mark.timeout(900)  # compiles what serves, the first time
@pytest.mark.parametrize("kind", ["scram", "mutual"])
def test_all_processes_and_commands_pass_and_tell_no_secret(
    kind: str, broker: SecureBroker, tmp_path: Path, topic_prefix: str
) -> None:
    """A click is answered, every command succeeds, the trainer publishes; and neither what they print, nor their logs
    at their most talkative, nor metrics, nor any file of an artifact hold a password.
    """
    shop = Shop(broker, topic_prefix, tmp_path, **SMALL | settings_of(kind, broker, tmp_path))
    store = ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    parent = publish_made(store)
    publish_made(store, created=NOON + HOUR, seed=2, parent=parent.id)
    write_log(tmp_path / "log.csv")
    try:
        shop.create_topics()
        worker = shop.start_worker().wait_until_ready()
        shop.click("ann", "hat")  # by the door without a lock
        shop.flush()
        wait_until(shop.lists, "a list")
        runs = [Run(arguments, shop.environment) for arguments in (*KAFKA_COMMANDS, *OTHER_COMMANDS)]
        runs.append(Run(("artifacts", "import", "moved.tar"), shop.environment | OTHER_STORE))
        runs.append(Run(("trainer",), shop.environment | ANY_PORT, until="artifact published"))
        done = run_all(runs, tmp_path, at_once=1)  # each finds what those before it left
        said = [worker.get("/metrics"), worker.get("/readyz")]
        assert worker.stop() == 0
    finally:
        shop.close()
    for command in done:
        assert command.status == int(command.arguments[0] == "search"), command
    assert len(store.list()) > 2
    assert secrets_in(said + [command.said for command in done]) == set()
    assert secrets_written(tmp_path) == set()


# The first of each door for every command: Kafka's own errors, and those of files; the others for a few.
REFUSED = {
    "wrong password": ("scram", {"SASL_PASSWORD": WRONG}),
    "wrong password of the key": ("mutual", {"SSL_KEY_PASSWORD_FILE": "", "SSL_KEY_PASSWORD": WRONG}),
    "unknown authority": ("scram", {"SSL_CAFILE": ""}),
    "unreachable": ("scram", {"BOOTSTRAP_SERVERS": "localhost:1"}),
    "no certificate": ("mutual", {"SSL_CERTFILE": "", "SSL_KEYFILE": ""}),
    "no key": ("mutual", {"SSL_KEYFILE": "nowhere"}),
    "no password of the key": ("mutual", {"SSL_KEY_PASSWORD_FILE": ""}),
}


@pytest.mark.timeout(900)
def test_who_may_not_pass_is_told_so_without_the_secret(
    broker: SecureBroker, tmp_path: Path, topic_prefix: str
) -> None:
    """Whatever is wrong: exit code 1, a line that says why, no traceback, no password. Worker and
    trainer say it, too, and wait for a broker that lets them in.
    """
    store = ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    publish_made(store, created=NOON + HOUR, parent=publish_made(store).id)
    write_log(tmp_path / "log.csv")
    cases: list[str] = []
    runs: list[Run] = []
    for number, (case, (kind, change)) in enumerate(REFUSED.items()):
        changed = {f"ALLUVIUM_KAFKA__{key}": value for key, value in change.items()}
        shop = Shop(broker, topic_prefix, tmp_path, **settings_of(kind, broker, tmp_path) | changed)
        runs += [Run(arguments, shop.environment) for arguments in KAFKA_COMMANDS[:: 1 if number < 2 else 6]]
        runs += [Run((name,), shop.environment | ANY_PORT, until="waiting for Kafka") for name in SERVING]
        cases += [case] * (len(runs) - len(cases))
    for case, done in zip(cases, run_all(runs, tmp_path, at_once=16), strict=True):
        assert done.status == int(done.arguments != WITHOUT_KAFKA and done.arguments[0] not in SERVING), (case, done)
        assert "Traceback" not in done.said, (case, done)
        assert done.said.strip(), (case, done)
        assert secrets_in([done.said]) == set(), (case, done)
    assert secrets_written(tmp_path) == set()


SETTINGS_FILES = {
    "no-toml": f'[kafka]\nsasl_password = "{PASSWORD}\n',
    "unknown-key": f'[kafka]\nsasl_pasword = "{PASSWORD}"\n',
    "unknown-section": f'[kafak]\nsasl_password = "{PASSWORD}"\n',
    "no-section": f'kafka = "{PASSWORD}"\n',
    "a-list": f'[kafka]\nsasl_password = ["{PASSWORD}"]\n',
    "twice": f'[kafka]\nsasl_password = "{PASSWORD}"\nsasl_password_file = "password"\n',
    "nowhere": f'[kafka]\nsasl_password = "{PASSWORD}"\nssl_key_password_file = "nowhere"\n',
    "no-text": f'[kafka]\nsasl_password = "{PASSWORD}"\nssl_key_password_file = "bytes"\n',
    "a-directory": f'[kafka]\nsasl_password = "{PASSWORD}"\nssl_key_password_file = "."\n',
    "elsewhere": f'[kafka]\nsasl_password = "{PASSWORD}"\n[worker]\nhttp_port = -1\n',
}


def test_bad_settings_and_help_tell_no_secret(tmp_path: Path) -> None:
    """A settings file with a password and a mistake: exit code 2 and a line that says where it is. Help of every
    command, with passwords in its environment: none of them.
    """
    for name, text in SETTINGS_FILES.items():
        (tmp_path / f"{name}.toml").write_text(text, "utf-8")
    (tmp_path / "bytes").write_bytes(b"\xff" + KEY_PASSWORD.encode())
    (tmp_path / "password").write_text(PASSWORD, "utf-8")
    write_log(tmp_path / "log.csv")
    usual = Shop.inherited()
    mistaken = [Run((f"--config={name}.toml", "settings"), usual) for name in SETTINGS_FILES]
    lines: list[Sequence[str]] = [*KAFKA_COMMANDS, *OTHER_COMMANDS, ("broker",), ("bench",), *((n,) for n in SERVING)]
    mistaken += [Run(("--config=twice.toml", *line), usual) for line in lines[::3]]
    secret = usual | {"ALLUVIUM_KAFKA__SASL_PASSWORD": PASSWORD, "ALLUVIUM_KAFKA__SSL_KEY_PASSWORD": KEY_PASSWORD}
    both = {**secret, "ALLUVIUM_KAFKA__SASL_PASSWORD_FILE": "password"}
    mistaken += [Run(("demo",), both), Run(("settings",), both)]
    asked = [Run((*command, "--help"), secret) for command in sorted(all_commands())]
    done = run_all(mistaken + asked, tmp_path)
    for command in done:
        assert command.status == (0 if "--help" in command.arguments else 2), command
        assert "Traceback" not in command.said, command
        assert command.said.strip(), command
        assert secrets_in([command.said]) == set(), command


def write_log(file: Path) -> None:
    file.write_text("u,i,t\n" + "".join(f"u{n % 9},i{n % 7},{1_700_000_000 + n}\n" for n in range(120)), "utf-8")


def secrets_in(texts: Sequence[str]) -> set[str]:
    return {secret for secret in SECRETS for text in texts if secret in text}


def secrets_written(folder: Path) -> set[tuple[str, str]]:
    """Secrets in files of the shop, but for the file that brings one."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "key-password"]
    assert len(files) > 8
    return {(secret, file.name) for file in files for secret in SECRETS if secret.encode() in file.read_bytes()}
