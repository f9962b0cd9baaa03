"""Alert rules, scrape configurations and the dashboard name what exists and say what they should."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.settings import Settings
from tests.known_metrics import problems
from tests.prometheus_tools import promtool

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text("utf-8"))
RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "rules.yml").read_text("utf-8"))["groups"][0]["rules"]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


def test_promtool_finds_nothing_wrong() -> None:
    """The rules and both configurations are valid."""
    promtool("check", "rules", "deploy/prometheus/rules.yml")
    promtool("check", "config", "deploy/prometheus/prometheus.yml")
    promtool("check", "config", "deploy/prometheus/local.yml")


def test_the_cases_of_the_alerts_hold() -> None:
    """`promtool test rules` over the committed cases."""
    promtool("test", "rules", "deploy/prometheus/rules_test.yml")


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_its_cases(alert: str) -> None:
    """Some case says when it fires; every one of them is also silent in the healthy case."""
    tests = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text("utf-8"))["tests"]
    fires = [
        case["expr"]
        for test in tests
        for case in test["promql_expr_test"]
        if f'"{alert}"' in case["expr"] and case["exp_samples"]
    ]
    assert fires
    healthy = tests[0]["promql_expr_test"]
    assert all(case["expr"] == 'count(ALERTS{alertstate="firing"})' and not case["exp_samples"] for case in healthy)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_leads_to_its_page(alert: str) -> None:
    """The runbook is a heading of docs/operations.md; severity and both texts are there."""
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert {"summary", "description", "runbook"} == set(rule["annotations"])
    file, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / file).read_text("utf-8"), re.MULTILINE)
    assert anchor in {heading.lower() for heading in headings}, rule["annotations"]["runbook"]


def test_alerts_are_said_to_have_been_seen_as_tests_see_them() -> None:
    """The table of docs/reliability.md names the alerts that stories wait for in a real Prometheus, and counts them."""
    stories = "".join(file.read_text("utf-8") for file in sorted((ROOT / "tests/integration").glob("test_*alerts.py")))
    waited = {
        alert
        for call in re.findall(r"wait_for\((.*?)\)", stories, re.DOTALL)
        for alert in re.findall(r"Alluvium\w+", call)
    }
    page = (ROOT / "docs/reliability.md").read_text("utf-8")
    table = page.split("| story | alerts |\n|---|---|\n")[1].split("\n\n")[0]
    named = [alert for row in table.splitlines() for alert in row.split("|")[2].strip().split(", ")]
    assert sorted(f"Alluvium{name}" for name in named) == sorted(waited)
    assert f"{len(named)} of the {len(ALERTS)} alerts" in page


def test_rules_name_metrics_and_labels_that_exist() -> None:
    """Against the one place where metrics are declared."""
    assert not [problem for rule in RULES for problem in problems(rule["expr"])]


def test_the_dashboard_names_metrics_and_labels_that_exist() -> None:
    """Each panel has a query, and its legend uses labels that are there."""
    assert DASHBOARD["panels"]
    for panel in DASHBOARD["panels"]:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert "alluvium_" in target["expr"]
            assert not list(problems(target["expr"])), panel["title"]
            assert panel["datasource"]["uid"] == "prometheus"


def test_dashboard_queries_are_promql(tmp_path: Path) -> None:
    """promtool reads every query of the dashboard as the expression of a rule."""
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(file))


def test_panels_do_not_overlap() -> None:
    """Grafana's grid has 24 columns; each panel has its own place, id and title."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for key in ("id", "title"):
        assert len({panel[key] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def scraped(file: str) -> dict[str, list[str]]:
    jobs = yaml.safe_load((PROMETHEUS / file).read_text("utf-8"))["scrape_configs"]
    return {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}


def test_local_targets_are_the_default_ports() -> None:
    """Prometheus on the same machine finds a worker and a trainer that run with the defaults."""
    settings = Settings()
    assert scraped("local.yml") == {
        "alluvium-worker": [f"{settings.worker.http_host}:{settings.worker.http_port}"],
        "alluvium-trainer": [f"{settings.trainer.http_host}:{settings.trainer.http_port}"],
    }


def test_targets_in_containers_are_the_services() -> None:
    """Every worker and trainer of docker-compose.yml is scraped, and nothing else."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    settings = Settings()
    by_command = {
        command: [f"{name}:{port}" for name, service in services.items() if service.get("command") == [command]]
        for command, port in (("worker", settings.worker.http_port), ("trainer", settings.trainer.http_port))
    }
    assert scraped("prometheus.yml") == {
        "alluvium-worker": by_command["worker"],
        "alluvium-trainer": by_command["trainer"],
    }
