"""A gRPC server over the `h2` library whose every answer a test decides, and which takes down what it was asked."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.settings

Limits = dict[h2.settings.SettingCodes, int]
Answer = Callable[["Call"], None]
OPENING = [(":status", "200"), ("content-type", "application/grpc")]


class Call:
    """One request, and the ways to answer it."""

    def __init__(self, connection: "_Connection", stream: int, headers: dict[str, str]) -> None:
        self.connection = connection
        self.stream = stream
        self.headers = headers
        self.body = b""

    @property
    def message(self) -> bytes:
        return self.body[5:]

    def reply(self, message: bytes) -> None:
        self.connection.h2.send_headers(self.stream, OPENING)
        self.connection.h2.send_data(self.stream, b"\0" + len(message).to_bytes(4, "big") + message)
        self.connection.h2.send_headers(self.stream, [("grpc-status", "0")], end_stream=True)
        self.connection.flush()

    def fail(self, code: int, message: str) -> None:
        fields = [*OPENING, ("grpc-status", str(code)), ("grpc-message", message)]
        self.connection.h2.send_headers(self.stream, fields, end_stream=True)
        self.connection.flush()

    def send(self, *frames: Callable[[Any, int], None]) -> None:
        """Do things to the `h2` connection, given it and the stream's number."""
        for frame in frames:
            frame(self.connection.h2, self.stream)
        self.connection.flush()

    def raw(self, data: bytes) -> None:
        self.connection.transport.write(data)


class _Connection(asyncio.Protocol):
    transport: Any

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.calls: dict[int, Call] = {}
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self.lost.set_result(None)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.connections.append(self)
        # Set otherwise they would hold from the acknowledgement on, without having been said.
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=self.server.settings)
        self.h2.initiate_connection()
        self.flush()

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.RequestReceived(stream_id=int(stream)):
                    self.calls[stream] = Call(self, stream, {str(n): str(v) for n, v in event.headers or ()})
                case h2.events.DataReceived(stream_id=int(stream), data=bytes(part)):
                    self.calls[stream].body += part
                    if event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                case h2.events.StreamEnded(stream_id=int(stream)):
                    call = self.calls.pop(stream)
                    self.server.calls.append(call)
                    self.server.answer(call)
                case _:
                    pass
        self.flush()

    def flush(self) -> None:
        if (data := self.h2.data_to_send()) and not self.transport.is_closing():
            self.transport.write(data)


class Server:
    """Used on the test's own event loop, or with `with` on one of its own in a thread."""

    def __init__(self, answer: Answer, settings: Limits | None = None) -> None:
        self.answer = answer
        self.settings = settings or {}
        self.calls: list[Call] = []
        self.connections: list[_Connection] = []
        self.target = ""
        self._ready = threading.Event()
        self._stop = asyncio.Event()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for connection in self.connections:
            connection.transport.abort()
        await asyncio.gather(*(connection.lost for connection in self.connections))
        await asyncio.sleep(0)  # and the clients, on the same loop

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        await self.start()
        self._ready.set()
        await self._stop.wait()
        await self.stop()


def echo(call: Call) -> None:
    call.reply(call.message)
