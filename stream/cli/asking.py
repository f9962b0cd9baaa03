"""`alluvium recommend USER`, `similar ITEM`, `search QUERY`: a request through Kafka to a running worker."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from rich.table import Table

from stream.asking import NoAnswerError, ask, read_titles
from stream.cli.common import JsonOption, fail, load_settings, print_json, run, stdout
from stream.settings import Settings
from stream.wire.messages import Filters, PriceRange, Recommendation, Request, RequestKind

CountOption = Annotated[int, typer.Option("--count", "-n", min=1, max=200, help="How many items.")]
CategoryOption = Annotated[str | None, typer.Option(help="Only items of this category.")]
MinPriceOption = Annotated[float | None, typer.Option(help="Only items that cost at least this.")]
MaxPriceOption = Annotated[float | None, typer.Option(help="Only items that cost at most this.")]
TimeoutOption = Annotated[float, typer.Option(help="Seconds to wait for an answer.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("recommend")(recommend)
    app.command("similar")(similar)
    app.command("search")(search)


def recommend(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="The user's id.")],
    count: CountOption = 20,
    category: CategoryOption = None,
    min_price: MinPriceOption = None,
    max_price: MaxPriceOption = None,
    exclude_seen: Annotated[bool, typer.Option(help="Leave out what the user has interacted with.")] = False,
    exclude_purchased: Annotated[
        bool | None,
        typer.Option(
            "--exclude-purchased/--keep-purchased", help="Leave out what the user has bought; default: the setting."
        ),
    ] = None,
    intent: Annotated[
        str | None, typer.Option(help="For what to click, cart or purchase; default: the setting.")
    ] = None,
    timeout: TimeoutOption = 10.0,
    json: JsonOption = False,
) -> None:
    """Ask the running workers for a user's list."""
    filters = Filters(
        category=category,
        price=_price(min_price, max_price),
        exclude_seen=exclude_seen,
        exclude_purchased=exclude_purchased,
    )
    _ask(context, "user", user_id=user, count=count, filters=filters, timeout=timeout, json=json, intent=intent)


def similar(
    context: typer.Context,
    item: Annotated[str, typer.Argument(help="The item's id.")],
    count: CountOption = 20,
    category: CategoryOption = None,
    min_price: MinPriceOption = None,
    max_price: MaxPriceOption = None,
    timeout: TimeoutOption = 10.0,
    json: JsonOption = False,
) -> None:
    """Ask the running workers for items like this one."""
    filters = Filters(category=category, price=_price(min_price, max_price))
    _ask(context, "item", item_id=item, count=count, filters=filters, timeout=timeout, json=json)


def search(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    count: CountOption = 20,
    timeout: TimeoutOption = 10.0,
    json: JsonOption = False,
) -> None:
    """Ask the running workers for items that match a text (not available in this release: the answer says so)."""
    _ask(context, "search", query=query, count=count, filters=Filters(), timeout=timeout, json=json)


def _price(low: float | None, high: float | None) -> PriceRange | None:
    return None if low is None and high is None else PriceRange(low, high)


def _ask(
    context: typer.Context,
    kind: RequestKind,
    *,
    count: int,
    filters: Filters,
    timeout: float,
    json: bool,
    user_id: str | None = None,
    item_id: str | None = None,
    query: str | None = None,
    intent: str | None = None,
) -> None:
    settings = load_settings(context)
    request = Request(
        f"cli-{uuid.uuid4().hex}",
        kind,
        user_id=user_id,
        item_id=item_id,
        query=query,
        count=count,
        filters=filters,
        explain=True,
        intent=intent,
    )
    try:
        answer = run(ask(settings, request, timeout))
        if json:
            print_json(answer)
        elif not answer.error:
            _print(settings, answer)
    except NoAnswerError as error:
        fail(str(error))
    except (KafkaError, OSError) as error:
        fail(f"no Kafka broker answers at {settings.kafka.bootstrap_servers}: {error}")
    if answer.error:
        fail(f"{answer.error.code}: {answer.error.message}")


def _print(settings: Settings, answer: Recommendation) -> None:
    reasons = {because for item in answer.items if item.reason for because in item.reason.because}
    titles = run(read_titles(settings.kafka, {item.item_id for item in answer.items} | reasons))
    table = Table("item", "title", "score", "source", "because")
    for item in answer.items:
        because = ", ".join(titles.get(other) or other for other in item.reason.because) if item.reason else ""
        table.add_row(item.item_id, titles.get(item.item_id, ""), f"{item.score:.3f}", ", ".join(item.source), because)
    stdout.print(table)
    fallback = f", fallback {answer.fallback}" if answer.fallback else ""
    stdout.print(f"artifact {answer.provenance.artifact}{fallback}, recommendation {answer.recommendation_id}")
