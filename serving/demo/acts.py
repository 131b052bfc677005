"""The acts of the demo, in their order: publish, replay, answer, stream, swap, break, roll back."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from protos.nearline.v1 import status_pb2
from publisher import rollouts
from publisher.announce import Announcement
from publisher.api import publish
from publisher.progress import Progress as Waiting
from publisher.signing import open_ledger
from publisher.wait import wait_until_ended
from serving.bus.port import Bus
from serving.bus.read_status import read_status
from serving.demo.asking import Client
from serving.demo.broken import announce_broken
from serving.demo.cases import Case, month_cases, next_cases, products_before, sample_entities
from serving.demo.evaluate import month_recall, popularity
from serving.demo.expected import expected_answers, expected_nearline
from serving.demo.filling import wait_until_filled
from serving.demo.looking import look
from serving.demo.purchases import Purchases
from serving.demo.recipe import NEARLINE, VIEWING
from serving.demo.replay import Player, wait_until_computed
from serving.demo.report import Quality, Report
from serving.demo.stage import Stage
from serving.demo.streaming import stream_events
from serving.demo.swapping import Traffic
from serving.demo.train import Trained
from serving.errors import NearlineError

MODEL = "also-bought"
SAMPLED = 20_000
"""Purchases of the last month that are predicted one by one, at most; half of the customers are left for the swap."""
LOOKED_AT = 2_000
"""So many of them are asked for once more, with the product before as the one that is looked at."""
_LOAD_ENTITIES = 300
_ANSWERS = 1000
_WAIT_S = 60.0
_LOOK_S = 0.02

_Advance = Callable[[int], None]


class Play:
    """The acts, in their order."""

    def __init__(self, stage: Stage, bus: Bus, purchases: Purchases, report: Report, console: Console) -> None:
        self._stage = stage
        self._bus = bus
        self._topics = stage.settings.topics
        self._purchases = purchases
        self._report = report
        self._console = console

    def act(self, first: Trained, second: Trained) -> None:
        """Everything."""
        self._publish(first, "3")
        player = Player(self._bus, self._topics, self._purchases)
        self._replay(player)
        with Client(self._stage.address, MODEL, first.k) as client:
            cases = self._month(client, first)
            streamed = self._stream(client, player, first)
            self._swap(first, second, [case for case in cases if case.entity_id not in streamed])
            self._month_of_second(client, second, cases, streamed)
            self._break(second, client, cases[0].entity_id)
            self._roll_back(client, cases[0].entity_id)

    def _publish(self, trained: Trained, act: str) -> tuple[float, float]:
        """Return when it was announced, by the monotonic clock, and how many seconds later it was READY."""
        announced = publish(
            MODEL,
            trained.graph,
            items=trained.items,
            popular=trained.popular,
            recipe=trained.recipe,
            nearline=NEARLINE,
            settings=self._stage.settings,
            bus=self._bus,
        )
        at = time.monotonic()
        ended = self._wait(announced)
        if not ended.ended or ended.failed:
            raise NearlineError(f"version {announced.version}: expected READY in every worker, got {_states(ended)}")
        self._console.print(f"[bold]{act}[/] published {MODEL} version {announced.version}: {_states(ended)}")
        return at, ended.seconds

    def _wait(self, announced: Announcement) -> Waiting:
        return wait_until_ended(self._bus, self._topics, announced, _WAIT_S)

    def _replay(self, player: Player) -> None:
        count = self._purchases.first_held_out
        began = time.monotonic()
        with self._progress("replaying the months before", count) as advance:
            player.play(range(count))
            wait_until_computed(self._stage, player.played, advance)
        self._report.replayed, self._report.replay_s = count, time.monotonic() - began
        rate = count / self._report.replay_s
        self._console.print(
            f"[bold]4[/] replayed {count:,} events through the bus, each computed near-line ({rate:,.0f}/s)"
        )

    def _month(self, client: Client, trained: Trained) -> list[Case]:
        cases = month_cases(self._purchases, trained.items)
        answers = client.many(case.entity_id for case in cases)
        value = month_recall(cases, [list(answer.item_ids) for answer in answers])
        popular = month_recall(cases, popularity(cases, trained.popular))
        self._report.quality.append(Quality("month", len(cases), popular, value, "customers", "version 1"))
        self._console.print(f"[bold]5[/] asked gRPC for {len(cases):,} customers: what will they buy this month?")
        self._console.print(f"  {look(client, self._purchases, trained, cases[0], answers[0])}")
        return cases

    def _stream(self, client: Client, player: Player, trained: Trained) -> set[str]:
        every = next_cases(self._purchases, trained.items)
        cases = sample_entities(every, seed=0, at_least=min(SAMPLED, len(every) // 2))
        entities = {case.entity_id for case in cases}
        names = np.array([name in entities for name in self._purchases.entity_ids])
        count = int(names[self._purchases.held_out.entities].sum())
        looked_at = products_before(self._purchases, cases, trained.items)
        looked_at = looked_at[:: max(1, len(looked_at) // LOOKED_AT)]
        seen = {case.row: product for case, product in looked_at}
        expected = expected_nearline(self._purchases, trained, cases)
        with self._progress("streaming the last month", count) as advance:
            settle = partial(self._settle, player)
            what = (self._purchases, cases, expected, seen, trained.popular)
            found = stream_events(client, player, *what, settle, advance)
        if found.nearline != found.model.count:
            raise NearlineError(f"expected {found.model.count} answers made near-line, got {found.nearline}")
        if found.skewed:
            raise NearlineError(f"expected the answers that numpy computes, got {found.skewed} others near-line")
        if found.online != len(seen):
            raise NearlineError(f"expected {len(seen)} answers with {VIEWING} made online, got {found.online}")
        self._report.quality.append(
            Quality("next event", found.model.count, found.popular.value, found.model.value, "purchases", "version 1")
        )
        looking, popular = found.looking, found.looking_popular.value
        of = ("next in the order", looking.count, popular, looking.value, "purchases", f"with {VIEWING}")
        self._report.quality.append(Quality(*of, without=found.not_looking.value))
        self._report.fresh_p50_ms, self._report.fresh_p99_ms = np.percentile(found.fresh_ms, (50, 99)).tolist()
        self._console.print(
            f"[bold]6[/] streamed {count:,} events of {len(entities):,} customers one by one; every one of "
            f"{found.model.count:,} predictions was made near-line, just before its event, and is what numpy computes "
            "from the events before"
        )
        return entities

    def _settle(self, player: Player) -> None:
        wait_until_computed(self._stage, player.played)

    def _swap(self, first: Trained, second: Trained, cases: list[Case]) -> None:
        chosen = cases[:_LOAD_ENTITIES]
        expected = expected_answers(self._purchases, {1: first, 2: second}, chosen, time.time_ns() // 1_000_000)
        with Traffic(self._stage.address, MODEL, first.k, expected) as traffic:
            traffic.wait_for(1, _ANSWERS)
            announced_at, ready_s = self._publish(second, "7")
            traffic.wait_for(2, _ANSWERS)
        report = self._report
        report.ready_s, report.switch_s = ready_s, traffic.first_at[2] - announced_at
        report.filled = wait_until_filled(self._bus, self._topics, MODEL, 2, _WAIT_S)
        report.swap_answers, report.swap_failed, report.swap_mixed = traffic.total, traffic.failed, traffic.mixed
        report.swap_by_version, report.swap_s = dict(traffic.answered), traffic.seconds
        report.swap_online = traffic.online
        self._console.print(
            f"  READY after {ready_s:.1f} s; Recommend went over to it after {report.switch_s:.1f} s, when "
            f"{NEARLINE.switch_percent:g} % of {report.filled:,} active customers had a prediction by it"
        )
        self._console.print(
            f"  {traffic.total:,} answers meanwhile, each compared with what its version computes offline: "
            f"{traffic.failed} failed, {traffic.mixed} mixed"
        )

    def _month_of_second(self, client: Client, trained: Trained, cases: list[Case], streamed: set[str]) -> None:
        left = [case for case in cases if case.entity_id not in streamed]
        answers = client.many(case.entity_id for case in left)
        value = month_recall(left, [list(answer.item_ids) for answer in answers])
        popular = month_recall(left, popularity(left, trained.popular))
        self._report.quality.append(Quality("month", len(left), popular, value, "other customers", "version 2"))

    def _break(self, trained: Trained, client: Client, entity: str) -> None:
        announced = announce_broken(MODEL, trained, self._stage.settings, self._bus)
        ended = self._wait(announced)
        if not ended.rows or len(ended.failed) != len(ended.rows):
            raise NearlineError(f"version {announced.version}: expected an error in every worker, got {_states(ended)}")
        error = ended.failed[0].error
        self._report.broken_workers = len(ended.failed)
        self._report.broken_error = f"{status_pb2.ErrorKind.Name(error.kind)}: {error.message}"
        self._report.still_serving = client.one(entity).version
        self._console.print(f"[bold]8[/] announced a broken version {announced.version}: {_states(ended)}")

    def _roll_back(self, client: Client, entity: str) -> None:
        """Twice: first from the broken version to the one that never stopped serving, then to the one before it."""
        steps = [self._rolled_back(), self._rolled_back()]
        if steps != [2, 1]:
            raise NearlineError(f"rollback: expected to go back to version 2, then 1, got {steps}")
        deadline = time.monotonic() + _WAIT_S
        while (version := client.one(entity).version) != 1:
            if time.monotonic() > deadline:
                raise NearlineError(f"rollback: expected version 1 to serve, got {version}")
            time.sleep(_LOOK_S)
        self._report.rolled_back_to = version
        self._console.print("[bold]9[/] rolled back to version 2, then to 1: version 1 serves again")

    def _rolled_back(self) -> int:
        """Do what `nearline rollback` does; return the version that is pinned now."""
        ready = read_status(self._bus, self._topics.status.name).ready_digests(MODEL)
        record = rollouts.rollback(open_ledger(self._bus, self._stage.settings), MODEL, ready, {}, "the demo's end")
        return record.lines[0].shares[0].version

    @contextmanager
    def _progress(self, what: str, total: int) -> Iterator[_Advance]:
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            task = progress.add_task(what, total=total)
            yield lambda count: progress.advance(task, count)


def _states(waiting: Waiting) -> str:
    said = []
    for presence, status in waiting.rows:
        state = status_pb2.InstanceState.Name(status.state) if status else "nothing yet"
        said.append(f"{presence.worker} {state}")
    return ", ".join(said) or "no worker is live"
