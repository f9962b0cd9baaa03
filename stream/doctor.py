"""The checks of `alluvium doctor`: each says what is well, or what to do."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Literal

import fsspec
import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from stream import failpoints
from stream.kafka import admin_client, producer
from stream.settings import Settings
from stream.wire.topics import topic_advice, topic_problems

LIBRARIES = ("faust-streaming", "aiokafka", "torch", "faiss-cpu", "numpy", "numba", "msgspec", "prometheus-client")
JAVA, PYTHON = 17, (3, 11)
SKEW_SECONDS = 1.0


class Check(msgspec.Struct, frozen=True):
    """One line of the doctor. `remedy` is empty when all is well."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    remedy: str = ""


async def examine(settings: Settings) -> AsyncIterator[Check]:
    """All checks, cheapest first; those that need a broker are left out when none answers."""
    yield check_python()
    yield check_libraries()
    yield check_failpoints(os.environ)
    yield await asyncio.to_thread(check_java)
    yield await asyncio.to_thread(check_maven)
    yield await asyncio.to_thread(check_store, settings.artifacts.url)
    try:
        async with admin_client(settings.kafka) as admin:
            yield Check("broker", "ok", f"answers at {settings.kafka.bootstrap_servers}")
            yield await check_topics(admin, settings)
            yield await check_clock(admin, settings)
    except (KafkaError, OSError) as error:
        yield Check(
            "broker",
            "failed",
            f"no answer at {settings.kafka.bootstrap_servers}: {error}",
            "start one with `alluvium broker`, or set kafka.bootstrap_servers to your cluster",
        )


def check_python() -> Check:
    """The interpreter is recent enough."""
    version = sys.version.split()[0]
    if sys.version_info[:2] >= PYTHON:
        return Check("python", "ok", version)
    return Check("python", "failed", version, "install Python 3.11 or newer")


def check_libraries() -> Check:
    """What is installed."""
    versions = []
    for library in LIBRARIES:
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            return Check("versions", "failed", f"{library} is not installed", "install Alluvium again: `make demo`")
    return Check("versions", "ok", ", ".join(versions))


def check_failpoints(environment: Mapping[str, str]) -> Check:
    """No process that is started here is told to break."""
    told = environment.get(failpoints.VARIABLE)
    if not told:
        return Check("failpoints", "ok", "none")
    remedy = f"unset {failpoints.VARIABLE}: it is for tests"
    return Check("failpoints", "warning", f"processes started here break at {told}", remedy)


def check_java() -> Check:
    """Java for the embedded broker."""
    remedy = f"install Java {JAVA} or newer (Debian: openjdk-17-jre-headless), or use a cluster of your own"
    program = shutil.which("java")
    if program is None:
        return Check("java", "warning", "not found: the embedded broker cannot run", remedy)
    answer = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    found = re.search(r'version "(\d+)', answer)
    if found and int(found.group(1)) >= JAVA:
        return Check("java", "ok", answer.splitlines()[0])
    return Check("java", "warning", answer.splitlines()[0] if answer else "says no version", remedy)


def check_maven() -> Check:
    """Maven fetches the embedded broker."""
    if shutil.which("mvn"):
        return Check("maven", "ok", "found")
    remedy = "install Maven (Debian: maven), or use a cluster of your own"
    return Check("maven", "warning", "not found: the embedded broker cannot be fetched", remedy)


def check_store(url: str) -> Check:
    """Something can be written to the artifact store, read back and removed."""
    remedy = "set artifacts.url to a directory or bucket that this process may write to"
    try:
        files, path = fsspec.core.url_to_fs(url)
        probe = f"{path}/.doctor-{uuid.uuid4().hex}"
        files.makedirs(path, exist_ok=True)
        files.pipe_file(probe, b"probe")
        held = files.cat_file(probe) == b"probe"
        files.rm_file(probe)
    except (OSError, ValueError, ImportError) as error:
        return Check("artifacts", "failed", f"{url}: {error}", remedy)
    if held:
        return Check("artifacts", "ok", f"{url} is writable")
    return Check("artifacts", "failed", f"{url} does not give back what was written", remedy)


async def check_topics(admin: AIOKafkaAdminClient, settings: Settings) -> Check:
    """All topics exist with the right partitions and clean-up policies."""
    problems = await topic_problems(admin, settings.kafka, settings.worker.group_id)
    if problems:
        return Check("topics", "failed", f"{len(problems)} problems", "; ".join(problems))
    advice = await topic_advice(admin, settings.kafka, settings.worker.group_id)
    if advice:
        return Check("topics", "warning", f"{len(advice)} could be better", "; ".join(advice))
    return Check("topics", "ok", f"all present, {settings.kafka.partitions} partitions")


async def check_clock(admin: AIOKafkaAdminClient, settings: Settings) -> Check:
    """This machine's clock agrees with the broker's: a probe record is stamped by the broker."""
    topic = f"{settings.kafka.topic_prefix}doctor-{uuid.uuid4().hex[:8]}"
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})])
    try:
        async with producer(settings.kafka, linger_ms=0) as sender:
            await sender.send_and_wait(topic, b"warm-up")
            before = time.time()
            stamped = await sender.send_and_wait(topic, b"probe")
            after = time.time()
    finally:
        await admin.delete_topics([topic])
    broker = stamped.timestamp / 1000
    skew = max(before - broker, broker - after, 0.0)
    if skew <= SKEW_SECONDS:
        return Check("clock", "ok", f"within {max(skew, 0.001):.3f} s of the broker's")
    return Check("clock", "failed", f"{skew:.1f} s off the broker's", "synchronise both machines with NTP")
