"""A shop under the eyes of a real Prometheus, which evaluates the committed alert rules and the same in a hurry."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from stream.shop.broker import Broker, free_port
from stream.shop.children import end, last_lines, signal_group, spawn
from tests.prometheus_tools import ROOT, tool
from tests.worker_kit import Shop, wait_until

RULES = ROOT / "deploy/prometheus/rules.yml"
HURRIED = "Hurried"  # before the names of alerts in a hurry
PATIENCE = 200.0
UNITS = {"s": 1, "m": 60, "h": 3600}
SMALL = {  # models that are learned within a second
    "ALLUVIUM_TRAINER__REFRESH_SECONDS": "2",
    "ALLUVIUM_TRAINER__SESSION_TIMEOUT_SECONDS": "6",
    "ALLUVIUM_TRAINER__THREADS": "1",
    "ALLUVIUM_TRAINER__NICENESS": "0",  # a busy machine must not starve the one that a test waits for
    "ALLUVIUM_MODEL__DIMENSIONS": "16",
    "ALLUVIUM_MODEL__TOKEN_BUCKETS": "256",
    "OMP_WAIT_POLICY": "PASSIVE",
}


def hurried(rules: str, minute: float, others: Mapping[str, float] | None = None) -> str:
    """The alerts of a rules file in which a minute lasts `minute` seconds, under names of their own.

    `others`: alerts for which it lasts longer, since what they look at takes its time. Scaled are `for:`, ranges in
    brackets, and numbers of seconds, which the rules write as products with 60 or 3600. Nothing else is changed: what
    is compared, and with what.
    """
    alerts = _alerts(rules, minute)
    for name, longer in (others or {}).items():
        alerts[name] = _alerts(rules, longer)[name]
    named = [{**rule, "alert": HURRIED + name} for name, rule in alerts.items()]
    return str(yaml.safe_dump({"groups": [{"name": "hurried", "rules": named}]}))


def _alerts(rules: str, minute: float) -> dict[str, dict[str, Any]]:
    def milliseconds(match: re.Match[str]) -> str:
        return f"{match[1]}{int(match[2]) * UNITS[match[3]] * minute / 60 * 1000:.0f}ms{match[4]}"

    def seconds(match: re.Match[str]) -> str:
        return f"* {int(match[1]) * minute / 60:g}"

    text = re.sub(r"(for: )(\d+)([smh])()", milliseconds, rules)
    text = re.sub(r"(\[)(\d+)([smh])(\])", milliseconds, text)
    text = re.sub(r"\* (60|3600)\b", seconds, text)
    (group,) = yaml.safe_load(text)["groups"]
    return {rule["alert"]: rule for rule in group["rules"] if "alert" in rule}


def choice(number: int) -> tuple[str, str]:
    """The user and the item of the click of this number: each of forty users goes round the six items of a group."""
    user = number % 40
    return f"u{user}", f"i{user % 5 * 6 + number // 40 % 6}"


class Prometheus:
    """A real one, scraping twice a second; `minute` is how many seconds a minute lasts for its hurried alerts."""

    def __init__(self, directory: Path, minute: float, others: Mapping[str, float] | None = None) -> None:
        self._directory = directory
        self._targets = {"alluvium-worker": set[int](), "alluvium-trainer": set[int]()}
        for job in self._targets:
            self._write_targets(job)
        (directory / "hurried.yml").write_text(hurried(RULES.read_text("utf-8"), minute, others), "utf-8")
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(RULES), str(directory / "hurried.yml")],
            "scrape_configs": [
                {
                    "job_name": job,
                    "file_sd_configs": [{"files": [str(directory / f"{job}.json")], "refresh_interval": "1s"}],
                }
                for job in self._targets
            ],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
        self._port = free_port()
        self.process = spawn(
            [
                tool("prometheus"),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            directory / "prometheus.log",
        )

    def scrape(self, job: str, port: int) -> None:
        """From now on this process is to be up."""
        self._targets[job].add(port)
        self._write_targets(job)

    def scrape_no_more(self, job: str, port: int) -> None:
        """The process is about to be taken away on purpose; returns once it is not looked at any more."""
        self._targets[job].discard(port)
        self._write_targets(job)
        wait_until(lambda: f"127.0.0.1:{port}" not in self._scraped(), "a process to be left alone", PATIENCE)

    def _scraped(self) -> set[str]:
        targets = self._api("targets?state=active")
        return {target["labels"]["instance"] for target in targets["activeTargets"]} if targets else set()

    def _write_targets(self, job: str) -> None:
        targets = [f"127.0.0.1:{port}" for port in sorted(self._targets[job])]
        written = self._directory / f"{job}.new"
        written.write_text(json.dumps([{"targets": targets}]), "utf-8")
        written.rename(self._directory / f"{job}.json")

    def _api(self, path: str) -> Any:  # noqa: ANN401 - JSON
        try:
            with closing(urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}", timeout=10)) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, OSError):
            assert self.process.poll() is None, last_lines(self._directory / "prometheus.log")
            return None

    def value(self, query: str) -> float:
        """The one value of a PromQL query, 0 when it has none."""
        data = self._api("query?" + urllib.parse.urlencode({"query": query}))
        return float(data["result"][0]["value"][1]) if data and data["result"] else 0.0

    def firing(self, prefix: str = "") -> set[str]:
        """The committed alerts that fire, or those in a hurry, without the prefix of these."""
        data = self._api("rules")
        rules = [rule for group in data["groups"] for rule in group["rules"]] if data else []
        assert not [rule for rule in rules if rule["health"] == "err"], rules
        names = {rule["name"] for rule in rules if rule.get("state") == "firing"}
        if prefix:
            return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        return {name for name in names if not name.startswith(HURRIED)}

    def ever_fired(self) -> set[str]:
        """The committed alerts that have fired at any time."""
        data = self._api("query?" + urllib.parse.urlencode({"query": 'max_over_time(ALERTS{alertstate="firing"}[1d])'}))
        names = {str(result["metric"]["alertname"]) for result in data["result"]}
        return {name for name in names if not name.startswith(HURRIED)}

    def wait_for(self, *alerts: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Returns once each of these has fired in a hurry; `meanwhile` keeps the failure going."""
        missing = set(alerts)

        def seen() -> bool:
            meanwhile()
            missing.difference_update(self.firing(HURRIED))
            return not missing

        try:
            wait_until(seen, "alerts", PATIENCE)
        except AssertionError:
            raise AssertionError(f"never fired: {missing}") from None

    def wait_for_peace(self, *besides: str) -> None:
        """Returns once nothing fires in a hurry, but these."""

        def peace() -> bool:
            return not self.firing(HURRIED) - {*besides}

        try:
            wait_until(peace, "all alerts to end", PATIENCE)
        except AssertionError:
            raise AssertionError(f"still firing: {self.firing(HURRIED)}") from None


class Watched(Shop):
    """A shop whose workers and trainers keep their ports when they are started again, watched by Prometheus."""

    def __init__(
        self,
        broker: Broker,
        prefix: str,
        directory: Path,
        *,
        minute: float = 1.0,
        others: Mapping[str, float] | None = None,
        **settings: str,
    ) -> None:
        super().__init__(broker, prefix, directory, **{**SMALL, **settings})
        self.prometheus = Prometheus(directory, minute, others)
        self.kind = "click"  # what shoppers do with items
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}
        self._load: threading.Thread | None = None
        self._quiet = threading.Event()

    def start(self, name: str, *wrapper: str, **settings: str) -> subprocess.Popen[bytes]:
        """`worker…` or `trainer…`: another name, another process; scraped from now on."""
        command = name.split("-", maxsplit=1)[0]
        port = self.reserve(name)
        environment = {**self.environment, f"ALLUVIUM_{command.upper()}__HTTP_PORT": str(port), **settings}
        arguments = [*wrapper, sys.executable, "-m", "stream.cli", command]
        self.processes[name] = spawn(arguments, self.log(name), environment=environment)
        self.prometheus.scrape(f"alluvium-{command}", port)
        return self.processes[name]

    def reserve(self, name: str) -> int:
        """Where a process of this name is scraped, whenever it is started."""
        return self._ports.setdefault(name, free_port())

    def log(self, name: str) -> Path:
        """What a process has said."""
        return self.directory / f"{name}.log"

    def port(self, name: str) -> int:
        """Where a process is scraped."""
        return self._ports[name]

    def instance(self, name: str) -> str:
        """The label that Prometheus gives a process."""
        return f"127.0.0.1:{self._ports[name]}"

    def wait_until_ready(self, *names: str) -> None:
        """Returns once Prometheus has seen each of them ready."""

        def ready() -> bool:
            for name in names:
                assert self.processes[name].poll() is None, last_lines(self.log(name), 40)
            return all(self.prometheus.value(f'alluvium_ready{{instance="{self.instance(n)}"}}') == 1 for n in names)

        wait_until(ready, f"{names} to be ready", PATIENCE)

    def wait_until_served(self, artifacts: int) -> None:
        """Returns once the worker has loaded so many artifacts since it was started."""
        loaded = f'alluvium_artifact_loads_total{{outcome="loaded",instance="{self.instance("worker")}"}}'
        wait_until(lambda: self.prometheus.value(loaded) >= artifacts, "artifacts to serve", PATIENCE)

    def kill_process(self, name: str) -> None:
        """SIGKILL."""
        signal_group(self.processes[name], signal.SIGKILL)
        self.processes[name].wait()

    def miss_no_more(self, name: str) -> None:
        """Returns once nobody looks at a process any more."""
        self.prometheus.scrape_no_more(f"alluvium-{name.split('-', maxsplit=1)[0]}", self._ports[name])

    def stop_process(self, name: str) -> None:
        """SIGTERM, of a process that nobody is to miss."""
        self.miss_no_more(name)
        assert end(self.processes[name], 30) == 0, last_lines(self.log(name), 40)

    def shop_on(self, per_second: float = 40) -> None:
        """Clicks, or events of another `kind`, within groups of items, at this pace, until `shop_off`."""
        self._quiet.clear()
        self._load = threading.Thread(target=self._click_on, args=(per_second,), daemon=True)
        self._load.start()

    def shop_off(self) -> None:
        """No clicks any more."""
        self._quiet.set()
        if self._load is not None:
            self._load.join()

    def _click_on(self, per_second: float) -> None:
        number = 0
        while not self._quiet.wait(1 / per_second):
            number += 1
            self.click(*choice(number), self.kind)

    def announced(self) -> str:
        """The artifact that is announced."""
        return str(json.loads(self.read("artifacts")[-1].value() or b"{}")["artifact"])

    def close(self) -> None:
        """Ends all processes."""
        self.shop_off()
        for process in self.processes.values():
            end(process, 5)
        end(self.prometheus.process, 5)
        super().close()
