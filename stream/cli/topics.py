"""`alluvium topics`: creates the topics and checks the existing ones."""

from __future__ import annotations

import typer
from aiokafka.errors import KafkaError

from stream.cli.common import FAILED, JsonOption, fail, load_settings, print_json, run, stdout
from stream.kafka import admin_client
from stream.settings import Settings
from stream.wire.topics import TopicsError, create_topics, topic_advice, topic_names, topic_problems


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("topics")(topics)


def topics(context: typer.Context, json: JsonOption = False) -> None:
    """Create all topics that are missing, and check partitions and clean-up policies of the others."""
    settings = load_settings(context)
    try:
        created, problems, advice = run(_create_and_check(settings))
    except (KafkaError, OSError) as error:
        fail(
            f"no Kafka broker answers at {settings.kafka.bootstrap_servers}: {error}; start one with `alluvium broker`"
        )
    except TopicsError as error:
        fail(str(error))
    names = list(topic_names(settings.kafka, settings.worker.group_id).values())
    if json:
        print_json({"topics": names, "created": created, "problems": problems, "advice": advice})
    else:
        for name in names:
            stdout.print(f"{'created' if name in created else 'present'}  {name}")
        for problem in problems:
            stdout.print(f"problem  {problem}", style="red")
        for sentence in advice:
            stdout.print(f"advice   {sentence}", style="yellow")
    if problems:
        raise typer.Exit(FAILED)


async def _create_and_check(settings: Settings) -> tuple[list[str], list[str], list[str]]:
    async with admin_client(settings.kafka) as admin:
        created = await create_topics(admin, settings.kafka, settings.worker.group_id)
        problems = await topic_problems(admin, settings.kafka, settings.worker.group_id)
        advice = [] if problems else await topic_advice(admin, settings.kafka, settings.worker.group_id)
        return created, problems, advice
