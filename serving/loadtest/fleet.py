"""Runs a plan in several processes, which begin at the same instant, and adds up what they report."""

import gc
import multiprocessing
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import uvloop

from serving.errors import NearlineError, UnavailableError
from serving.loadtest.generator import Generator
from serving.loadtest.outcome import Outcome
from serving.loadtest.plan import Plan
from serving.loadtest.recorder import Report

_LEAD_S = 0.05
_START_S = 60.0
_STOP_S = 5.0


def run(
    plan: Plan,
    shown: Callable[[Outcome], None] = lambda _outcome: None,
    begun: Callable[[float], None] = lambda _begin_s: None,
) -> Outcome:
    """Run it to its end; InvalidRequestError, UnavailableError.

    shown: sees what has come so far, a few times a second. begun: told when calls begin to count, by `time.monotonic`.
    """
    plan.check()
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe] = []
    processes: list[BaseProcess] = []
    try:
        for number in range(plan.processes):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=_process, args=(plan, number, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        _wait_connected(pipes)
        begin_s = time.monotonic() + _LEAD_S + plan.warm_s
        for pipe in pipes:
            pipe.send(int(begin_s * 1e9))
        begun(begin_s)
        return _collect(plan, pipes, shown)
    finally:
        for process in processes:
            process.join(0 if process.is_alive() and not pipes else _STOP_S)
            if process.is_alive():
                process.kill()
                process.join()


def _wait_connected(pipes: list[Pipe]) -> None:
    deadline = time.monotonic() + _START_S
    for pipe in pipes:
        if not pipe.poll(max(0.0, deadline - time.monotonic())):
            raise NearlineError(f"a process of the load test was not ready within {_START_S:g} s")
        error = _receive(pipe)
        if isinstance(error, str) and error:
            raise UnavailableError(error)


def _collect(plan: Plan, pipes: list[Pipe], shown: Callable[[Outcome], None]) -> Outcome:
    outcome, running = Outcome(plan), list(pipes)
    while running:
        for pipe in wait(running):
            assert isinstance(pipe, Pipe)  # noqa: S101 - what was waited for
            report = _receive(pipe)
            assert isinstance(report, Report)  # noqa: S101 - what processes send once they run
            if report.failure:
                raise NearlineError(f"a process of the load test failed: {report.failure}")
            outcome.add(report)
            if report.last:
                running.remove(pipe)
        shown(outcome)
    return outcome


def _receive(pipe: Pipe) -> object:
    try:
        received: object = pipe.recv()
    except EOFError:
        raise NearlineError("a process of the load test died") from None
    return received


def _process(plan: Plan, number: int, pipe: Pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells all of them; the one that the user sees acts
    with suppress(BrokenPipeError, ConnectionError):
        try:
            uvloop.run(_load(plan, number, pipe))
        except Exception as error:  # noqa: BLE001 - a defect of ours: the parent says it
            pipe.send(Report(failure=f"{type(error).__name__}: {error}", last=True))


async def _load(plan: Plan, number: int, pipe: Pipe) -> None:
    generator = Generator(plan, number)
    try:
        await generator.connect()
    except UnavailableError as error:
        pipe.send(str(error))
        return
    pipe.send("")
    begin_ns: int = pipe.recv()  # blocks the loop for as long as the slowest process needs: nothing is due yet
    gc.collect()
    gc.freeze()  # requests by the thousand, which no collection needs to look at
    await generator.run(begin_ns, pipe.send)
