"""Plans of tests, and running one on the test's own event loop."""

import asyncio
from typing import Any

from serving.loadtest.generator import Generator
from serving.loadtest.outcome import Outcome
from serving.loadtest.plan import Open, Plan
from serving.loadtest.recorder import now_ns
from tests.loadtest.server import Answer, Limits, Server


def kind(message: bytes) -> str:
    return message.decode()


def plan(**more: Any) -> Plan:
    values: dict[str, Any] = {
        "target": "127.0.0.1:1",
        "path": "/service/Method",
        "requests": [b"one", b"two"],
        "read": kind,
        "pacing": Open(500),
        "duration_s": 0.3,
        "warm_s": 0.0,
        "timeout_s": 5.0,
        "connections": 2,
    }
    return Plan(**{**values, **more})


def run_against(answer: Answer, settings: Limits | None = None, **more: Any) -> tuple[Outcome, Server]:
    """Load a server of the test's own."""
    server = Server(answer, settings)

    async def run() -> Outcome:
        await server.start()
        outcome = Outcome(plan(target=server.target, **more))
        generator = Generator(outcome.plan, 0)
        try:
            await generator.connect()
            await generator.run(now_ns() + int((outcome.plan.warm_s + 0.01) * 1e9), outcome.add)
        finally:
            await server.stop()
        return outcome

    return asyncio.run(run()), server
