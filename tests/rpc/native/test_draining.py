"""A worker that stops under load fails nothing: those that share its port go on."""

import asyncio

import grpc
from prometheus_client import CollectorRegistry

from serving.rpc.native.server import NativeServer
from serving.telemetry.metrics import Metrics
from tests.rpc.native.scenes import ask, play, stage

CHANNELS, CALLS = 6, 20


def test_no_call_fails_while_servers_of_one_port_come_and_go() -> None:
    async def scene() -> None:
        async with stage() as on:
            leaving = on.server
            heirs = []
            channels = [
                grpc.aio.insecure_channel(on.address, options=(("grpc.use_local_subchannel_pool", 1),))
                for _ in range(CHANNELS)
            ]
            stopped = asyncio.Event()
            answered = 0

            async def load(channel: grpc.aio.Channel, name: str) -> None:
                nonlocal answered
                while not stopped.is_set():
                    assert (await ask(channel, name, f"later {answered}")).service
                    answered += 1

            loads = [
                asyncio.ensure_future(load(channel, name)) for channel in channels for name in ("Echo", "Now", "Echo")
            ]
            for _ in range(3):
                heirs.append(NativeServer(on.methods(), on.address, Metrics(CollectorRegistry()), 4 << 20))
                await heirs[-1].start()
                aim = answered + CALLS * CHANNELS
                while answered < aim:  # noqa: ASYNC110 - each tick is work of the others
                    await asyncio.sleep(0)
                await leaving.stop(20)
                leaving = heirs[-1]
            stopped.set()
            await asyncio.gather(*loads)
            for channel in channels:
                await channel.close()
            await leaving.stop(0)

    play(scene)
