"""`alluvium broker`: a real Apache Kafka in the foreground."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import JsonOption, fail, load_settings, print_json_line, stderr, stdout
from stream.shop.broker import Broker
from stream.shop.kafka_jars import BrokerError


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("broker")(broker)


def broker(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port on loopback; 0 takes a free one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where records are kept between runs.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the records of earlier runs first.")] = False,
    json: JsonOption = False,
) -> None:
    """Run a real Apache Kafka (one node, loopback only) until Ctrl-C; needs Java 17, and Maven the first time."""
    settings = load_settings(context).broker
    kafka = Broker(
        data_dir or Path(settings.data_dir),
        port=settings.port if port is None else port,
        heap=settings.heap,
        fresh=fresh,
    )
    with stop_signals():
        try:
            stderr.print(f"starting Apache Kafka, records in {kafka.data_dir}")
            kafka.start()
            if json:
                print_json_line({"bootstrap_servers": kafka.bootstrap_servers, "pid": kafka.pid})
            else:
                stdout.print(kafka.bootstrap_servers)
            stdout.file.flush()
            stderr.print("Kafka is ready; Ctrl-C stops it")
            status = kafka.wait()
        except BrokerError as error:
            fail(str(error))
        except KeyboardInterrupt:
            stderr.print("stopping Kafka")
            return
        finally:
            kafka.stop()
    fail(f"Kafka ended by itself with status {status}; see {kafka.log_file}")


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
