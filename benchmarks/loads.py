"""What benchmarks of the serving workers share: a transport by choice, customers with predictions, loads, their CPU."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import psutil

from benchmarks.shop import items
from protos.nearline.v1 import recommender_pb2 as pb
from serving.bus.connect import connect_bus
from serving.loadtest.answers import answered
from serving.loadtest.fleet import run
from serving.loadtest.outcome import Outcome
from serving.loadtest.plan import Closed, Open, Plan
from serving.loadtest.requests import RECOMMEND
from serving.loadtest.secure import Tls, open_channel
from serving.recipes.event import Scalar, encode_event
from serving.settings import Settings

CONNECTIONS = 4
_PATIENCE_S = 120.0
_LOOK_S = 0.01


def parser(about: str | None, seconds: float) -> argparse.ArgumentParser:
    """Options that all of them have."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--transport", default="native", help="what carries gRPC")
    made.add_argument("--seconds", type=float, default=seconds)
    return made


def transport(asked: argparse.Namespace) -> dict[str, Any]:
    """Return the setting."""
    return {"transport": asked.transport}


def said(settings: Settings) -> dict[str, Any]:
    """What the node says of itself."""
    info: dict[str, Any] = json.loads((settings.data_dir / "run" / "node.json").read_text())
    return info


def address(settings: Settings) -> str:
    """host:port of the node's gRPC server."""
    return str(said(settings)["address"])


def serving(settings: Settings) -> list[psutil.Process]:
    """The node's serving workers."""
    workers = said(settings)["workers"]
    return [psutil.Process(pid) for name, pid in sorted(workers.items()) if name.startswith("serving-")]


def customers(count: int) -> list[str]:
    """Ids."""
    return [f"customer-{number}" for number in range(count)]


def fill(settings: Settings, entity_ids: Sequence[str], purchases: int = 5, tls: Tls | None = None) -> None:
    """Let every customer buy something, and wait until each has a prediction."""
    catalogue, bus = items(), connect_bus(settings.bus, settings.data_dir)
    now_ms = time.time_ns() // 1_000_000
    records = []
    for number, entity in enumerate(entity_ids):
        for turn in range(purchases):
            fields: dict[str, Scalar] = {"item": catalogue[bought(number, turn)]}
            event_id, ts_ms = f"{number}-{turn}", now_ms + turn
            records.append(encode_event(entity, fields, kind="purchase", ts_ms=ts_ms, event_id=event_id))
    bus.append_many(settings.topics.events.name, records)
    bus.close()
    wait_for(address(settings), entity_ids, tls=tls)


def bought(number: int, turn: int) -> int:
    """The row of what the `number`th customer buys, the `turn`th time."""
    return (number * 31 + turn * 977) % len(items())


def wait_for(target: str, entity_ids: Sequence[str], version: int = 0, tls: Tls | None = None) -> None:
    """Wait until each gets a near-line answer, of that version or a later one."""
    deadline, waiting = time.monotonic() + _PATIENCE_S, list(entity_ids)
    with open_channel(target, tls) as channel:
        ask = channel.unary_unary(RECOMMEND, pb.RecommendRequest.SerializeToString, pb.RecommendResponse.FromString)
        while waiting and time.monotonic() < deadline:
            try:
                reply = ask(pb.RecommendRequest(objective="shop", entity_id=waiting[-1]), timeout=10)
            except grpc.RpcError:  # not ready yet
                time.sleep(_LOOK_S)
                continue
            if reply.source == pb.FROM_NEARLINE and reply.version >= version:
                waiting.pop()
            else:
                time.sleep(_LOOK_S)
    if waiting:
        raise SystemExit(f"{len(waiting)} entities got no prediction")


def load(
    target: str,
    path: str,
    requests: Sequence[bytes],
    pacing: Open | Closed,
    seconds: float,
    read: Callable[[bytes], str] | None = answered,
    *,
    connections: int = CONNECTIONS,
    begun: Callable[[float], None] = lambda _begin_s: None,
    **more: Any,
) -> Outcome:
    """Run a load to its end; SystemExit where calls failed, unless there is a rate to be kept. `more`: of the plan."""
    plan = Plan(
        target=target, path=path, requests=requests, read=read, pacing=pacing, duration_s=seconds,
        connections=connections, **more,
    )  # fmt: skip
    outcome = run(plan, begun=begun)
    if outcome.failed and isinstance(pacing, Closed):
        raise SystemExit(f"{outcome.failed} calls failed: {dict(outcome.errors)} {outcome.messages}")
    return outcome


def closed(target: str, path: str, requests: Sequence[bytes], m: int, seconds: float, **more: Any) -> Outcome:
    """Keep `m` calls running on each of 4 connections."""
    return load(target, path, requests, Closed(CONNECTIONS * m), seconds, **more)
