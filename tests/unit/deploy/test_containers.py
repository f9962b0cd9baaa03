"""The compose file, the image, the Kubernetes base and the settings file say the same as the embedded run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main
import yaml

from stream.cli.main import load_commands
from stream.settings import Settings, read_settings
from stream.shop.kafka_jars import kafka_version

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("alluvium:")}
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
# What one node on loopback and one node in a container must say differently.
PLACES = {
    "controller.quorum.voters", "listeners", "advertised.listeners", "listener.security.protocol.map", "log.dirs",
}  # fmt: skip


def test_who_runs() -> None:
    """Kafka, topics, two workers, one trainer, a shop, Prometheus and Grafana; our commands exist."""
    commands = [service["command"][0] for service in OURS.values()]
    assert sorted(commands) == ["simulate", "topics", "trainer", "worker", "worker"]
    assert {"kafka", "prometheus", "grafana"} == set(SERVICES) - set(OURS)
    assert set(commands) <= set(typer.main.get_command(load_commands()).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """A tag with a full version, ours that of the project."""
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z/-]+:v?\d+\.\d+\.\d+", image), image
    if name in OURS:
        assert image == f"alluvium:{VERSION}"


def test_kafka_is_the_embedded_one() -> None:
    """The same version as deploy/kafka/pom.xml, the same properties as deploy/kafka/server.properties."""
    assert SERVICES["kafka"]["image"] == "apache/kafka:" + kafka_version(
        (ROOT / "deploy/kafka/pom.xml").read_text("utf-8")
    )
    given = {name: str(value) for name, value in SERVICES["kafka"]["environment"].items()}
    for line in (ROOT / "deploy/kafka/server.properties").read_text("utf-8").splitlines():
        key, separator, value = line.partition("=")
        if separator and not key.startswith("#") and key not in PLACES:
            assert given.pop("KAFKA_" + key.upper().replace(".", "_")) == value, key
    assert given.pop("KAFKA_HEAP_OPTS") == f"-Xmx{Settings().broker.heap}"
    assert set(given) == {"KAFKA_" + key.upper().replace(".", "_") for key in PLACES}


def test_kafkas_listeners_fit_together() -> None:
    """Every listener has a protocol; what is advertised to containers is what our services connect to."""
    given = SERVICES["kafka"]["environment"]
    listeners = dict(entry.split("://") for entry in given["KAFKA_LISTENERS"].split(","))
    advertised = dict(entry.split("://") for entry in given["KAFKA_ADVERTISED_LISTENERS"].split(","))
    protocols = dict(entry.split(":") for entry in given["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(listeners) == set(protocols)
    assert set(advertised) == set(listeners) - {given["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    for name, address in advertised.items():
        assert address.rpartition(":")[2] == listeners[name].rpartition(":")[2]
    assert given["KAFKA_CONTROLLER_QUORUM_VOTERS"] == f"{given['KAFKA_NODE_ID']}@{listeners['CONTROLLER']}"
    for service in OURS.values():
        assert service["environment"]["ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS"] == advertised["PLAINTEXT"]
    assert f"127.0.0.1:{Settings().broker.port}:{advertised['HOST'].rpartition(':')[2]}" in SERVICES["kafka"]["ports"]


@pytest.mark.parametrize("name", OURS)
def test_variables_are_settings(name: str) -> None:
    """Every ALLUVIUM_ variable is a setting, and all services but for their command run with the same ones."""
    environment = {key: str(value) for key, value in OURS[name]["environment"].items()}
    assert environment == {key: str(value) for key, value in OURS["topics"]["environment"].items()}
    settings = read_settings(None, environment)
    assert settings.worker.http_host == settings.trainer.http_host == "0.0.0.0"
    assert any(volume.endswith(f":{settings.artifacts.url}") for volume in OURS[name]["volumes"])
    # Places aside, containers run with the defaults.
    changed = {
        key for key, value in msgspec.to_builtins(settings).items() if value != msgspec.to_builtins(Settings())[key]
    }
    assert changed == {"kafka", "artifacts", "worker", "trainer"}


def test_services_wait_for_what_they_need() -> None:
    """Each dependency is a service, and one that is waited for as healthy can say so."""
    for service in SERVICES.values():
        for needed, how in dict.fromkeys(service.get("depends_on", {})).items():
            assert needed in SERVICES
            condition = service["depends_on"][needed]["condition"] if isinstance(service["depends_on"], dict) else how
            assert condition != "service_healthy" or "healthcheck" in SERVICES[needed]
    for name, service in OURS.items():
        if service["command"] == ["worker"]:
            assert f":{Settings().worker.http_port}/readyz" in service["healthcheck"]["test"][-1], name


def test_volumes_and_files_exist() -> None:
    """Named volumes are declared, mounted files are in the repository."""
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"], volume


def test_the_image_holds_what_it_needs() -> None:
    """Every folder that is copied exists and is let through, packages come from the constraints, nobody is root."""
    dockerfile = (ROOT / "deploy/Dockerfile").read_text("utf-8")
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")
    }
    copied = {source for line in re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE) for source in line.split()}
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)
    assert "--constraint constraints.txt" in dockerfile
    assert re.search(r"^USER \d+$", dockerfile, re.MULTILINE)
    assert re.search(r"^FROM python:3\.11-slim$", dockerfile, re.MULTILINE)
    settings = Settings()
    assert f"EXPOSE {settings.worker.http_port} {settings.trainer.http_port}" in dockerfile
    variables = dict(re.findall(r"\b(ALLUVIUM_\w+)=(\S+)", dockerfile))
    assert read_settings(None, variables).artifacts.cache_dir.startswith("/tmp/")


def kubernetes() -> dict[str, dict[str, Any]]:
    base = ROOT / "deploy/kustomize"
    kustomization = yaml.safe_load((base / "kustomization.yaml").read_text("utf-8"))
    documents = [
        document
        for file in kustomization["resources"]
        for document in yaml.safe_load_all((base / file).read_text("utf-8"))
    ]
    return {f"{document['kind']}/{document['metadata']['name']}": document for document in documents}


def test_the_kubernetes_base_is_two_workers_and_a_trainer() -> None:
    """Images, ports, probes and variables are those of everything else; nothing runs as root or writes to its root."""
    found = kubernetes()
    settings = Settings()
    workers, trainer = found["Deployment/alluvium-worker"]["spec"], found["Deployment/alluvium-trainer"]["spec"]
    assert (workers["replicas"], trainer["replicas"]) == (2, 1)
    assert trainer["strategy"] == {"type": "Recreate"}
    for name, spec, port in (
        ("worker", workers, settings.worker.http_port),
        ("trainer", trainer, settings.trainer.http_port),
    ):
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        assert container["args"] == [name]
        assert container["ports"] == [{"name": "http", "containerPort": port}]
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert_confined(container["securityContext"])
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert "PersistentVolumeClaim/alluvium-artifacts" in found
    topics = found["Job/alluvium-topics"]["spec"]["template"]["spec"]
    assert topics["containers"][0]["args"] == ["topics"]
    assert topics["securityContext"]["runAsNonRoot"] is True
    assert_confined(topics["containers"][0]["securityContext"])


def assert_confined(context: dict[str, Any]) -> None:
    assert context == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_containers_of_ours_are_confined(name: str) -> None:
    """A root file system that is only read, no capability, and no way to more; the user is the image's."""
    service = OURS[name]
    assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], ["/tmp"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service


def test_the_kubernetes_variables_are_settings() -> None:
    """The config map is read as an environment; the image's tag is the project's version."""
    kustomization = yaml.safe_load((ROOT / "deploy/kustomize/kustomization.yaml").read_text("utf-8"))
    (config,) = kustomization["configMapGenerator"]
    settings = read_settings(None, dict(literal.split("=", 1) for literal in config["literals"]))
    assert settings.worker.http_host == settings.trainer.http_host == "0.0.0.0"
    assert kustomization["images"] == [{"name": "alluvium", "newTag": VERSION}]


def test_the_settings_file_is_the_defaults() -> None:
    """As it stands it changes nothing; with every `#key = value` in force it says all defaults, each explained."""
    file = ROOT / "deploy/alluvium.toml"
    assert read_settings(file, {}) == Settings()
    text = file.read_text("utf-8")
    in_force = re.sub(r"^#(?=[a-z_]+ = )", "", text, flags=re.MULTILINE)
    assert tomllib.loads(in_force) == msgspec.json.decode(msgspec.json.encode(Settings()))
    lines = text.splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"#[a-z_]+ = ", line)]
    unexplained = [lines[number] for number in keys if not lines[number - 1].startswith("# ")]
    assert not unexplained
