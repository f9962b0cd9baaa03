"""Reads a process's `/metrics` as anybody could: Prometheus text to numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import aiohttp

SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    """One line of the text format."""

    name: str
    labels: dict[str, str]
    value: float


class Samples:
    """All samples of one answer."""

    def __init__(self, text: str = "") -> None:
        self._samples = list(parse(text))

    def select(self, name: str, **labels: str) -> list[Sample]:
        """The samples of a name that carry these labels, in the order of the text."""
        wanted = labels.items()
        return [sample for sample in self._samples if sample.name == name and wanted <= sample.labels.items()]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples of a name that carry these labels."""
        return sum(sample.value for sample in self.select(name, **labels))


def parse(text: str) -> Iterator[Sample]:
    """The samples of a text; comments and blank lines are none.

    >>> list(parse('a_total{k="20",event_type="click"} 3.0'))
    [Sample(name='a_total', labels={'k': '20', 'event_type': 'click'}, value=3.0)]
    """
    for line in text.splitlines():
        found = SAMPLE.match(line)
        if found is not None:
            yield Sample(found["name"], dict(LABEL.findall(found["labels"] or "")), float(found["value"]))


async def scrape(session: aiohttp.ClientSession, url: str) -> Samples | None:
    """What a process says of itself now, None while it does not answer."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
            return Samples(await response.text()) if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError):
        return None


async def status_of(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    """HTTP status and text of an answer; status 0 while there is none."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
            return response.status, (await response.text()).strip()
    except (aiohttp.ClientError, TimeoutError) as error:
        return 0, str(error) or "no answer"
