"""`nearline event` and `nearline recommend`: do what a member does, and see what a member gets."""

import json
import time
from typing import Annotated, Any

import grpc
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protos.nearline.v1 import recommender_pb2, recommender_pb2_grpc
from serving.bus.connect import connect_bus
from serving.cli.options import Bus, DataDir, Json, load_settings, parse_scalars
from serving.cli.times import parse_instant, parse_length
from serving.errors import NotFoundError, UnavailableError, UserError
from serving.recipes.event import Scalar, encode_event


def event(
    entity: Annotated[str, typer.Argument(help="Who did it: the entity's id.")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FIELD=VALUE…", help="What, such as item=85123A; with := a number, such as price:=2.55."
        ),
    ] = None,
    kind: Annotated[str, typer.Option("--type", help="Type of the event.")] = "purchase",
    event_id: Annotated[str | None, typer.Option("--id", help="The event's own id, which catches retries.")] = None,
    ts: Annotated[
        str | None, typer.Option(metavar="TIME", help="When: milliseconds, or `2026-12-24T18:00` (UTC). Default: now.")
    ] = None,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Append an event of an entity. Near-line workers take it from there."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    values: dict[str, Scalar] = dict(parse_scalars(fields or [], "FIELD=VALUE"))
    ts_ms = time.time_ns() // 1_000_000 if ts is None else parse_instant(ts, "--ts")
    key, value = encode_event(entity, values, kind=kind, ts_ms=ts_ms, event_id=event_id or f"cli-{time.time_ns()}")
    connected = connect_bus(settings)
    try:
        connected.ensure_topics([settings.topics.events])  # all that an event's producer has rights on
        appended = connected.append(settings.topics.events.name, key, value)
    finally:
        connected.close()
    if as_json:
        typer.echo(json.dumps({"partition": appended.partition, "offset": appended.offset}))
    else:
        typer.echo(f"appended to partition {appended.partition} at offset {appended.offset}")


def recommend(
    objective: Annotated[str, typer.Argument(help="What for; without a rule, the model of that name.")],
    entity: Annotated[str, typer.Argument(help="For whom: the entity's id.")],
    k: Annotated[int, typer.Option("-k", help="How many items; 0 = all that the model gives.")] = 10,
    context: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A `request` field of the recipe; with := a number. May be repeated."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="ITEM", help="An item that must not be in it. May be repeated.")
    ] = None,
    max_age: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Oldest prediction that will do, such as 90s, 15m, 6h, 7d.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="host:port of a node. Default: this machine's.")] = None,
    as_json: Json = False,
) -> None:
    """Ask a node for recommendations, as any gRPC client would."""
    settings = load_settings()
    address = target or f"{settings.host}:{settings.port}"
    features = {name: _feature(value) for name, value in parse_scalars(context or [], "--context").items()}
    request = recommender_pb2.RecommendRequest(
        objective=objective,
        entity_id=entity,
        k=k,
        context=features,
        exclude=exclude or [],
        max_age_ms=0 if max_age is None else 1000 * parse_length(max_age, "--max-age"),
    )
    with grpc.insecure_channel(address) as channel:
        try:
            stub: Any = recommender_pb2_grpc.RecommenderStub(channel)
            answer = stub.Recommend(request, timeout=5)
        except grpc.RpcError as error:
            raise _converted(error, address) from None
    source = recommender_pb2.Source.Name(answer.source).removeprefix("FROM_")
    if as_json:
        found = {"items": list(answer.item_ids), "scores": list(answer.scores), "model": answer.model}
        typer.echo(json.dumps({**found, "version": answer.version, "source": source, "at": answer.computed_at_ms}))
        return
    table = Table(title=f"{answer.model} version {answer.version}, {source}")
    table.add_column("item")
    table.add_column("score", justify="right")
    for item, score in zip(answer.item_ids, answer.scores, strict=True):
        table.add_row(escape(item), f"{score:.4f}")
    Console().print(table)


def _feature(value: float | str) -> recommender_pb2.Feature:
    if isinstance(value, str):
        return recommender_pb2.Feature(text=value)
    return recommender_pb2.Feature(number=value)


def _converted(error: grpc.RpcError, address: str) -> Exception:
    code, details = error.code(), error.details()
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return UnavailableError(f"{address}: {details}; is a node running (`nearline serve`)?")
    if code is grpc.StatusCode.NOT_FOUND:
        return NotFoundError(details)
    return UserError(f"{code.name}: {details}")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(event)
    app.command()(recommend)
