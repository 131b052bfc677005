"""What only the store over Redis has to stand: a server that is away, forgets, hangs, is full or answers garbage."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from serving.errors import PositionConflictError, StoreFullError, StoreUnavailableError
from serving.store.checksum import wrapped
from serving.store.port import Change, Key, Rank, StoreReader
from serving.store.redis_reader import RedisReader
from serving.store.redis_writer import RedisWriter
from tests.servers.ports import free_port
from tests.servers.redis import RedisServer
from tests.store.stores import at

pytestmark = pytest.mark.redis

STATE = b"s"
A = Key(0, STATE, b"a")
# Connecting and answering may take 3 s by the settings; the rest is a slow machine's.
BOUND_S = 30.0


def put(key: bytes, value: bytes | None) -> Change:
    return Change(STATE, key, value)


@pytest.fixture
def writer(own_redis: RedisServer) -> Iterator[RedisWriter]:
    writer = RedisWriter(own_redis.url, "test")
    yield writer
    writer.close()


@pytest.fixture
def client(own_redis: RedisServer) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(own_redis.url, protocol=2)
    yield client
    client.close()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    os.waitpid(server.pid, os.WUNTRACED)  # until it stands still
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def fail_at_once(reader: StoreReader, count: int) -> None:
    """Read so many times, and see all refused before anything is waited for."""
    reads = [asyncio.ensure_future(reader.read([A])) for _ in range(count)]
    await asyncio.sleep(0)
    assert {type(read.exception()) for read in reads} == {StoreUnavailableError}


async def read_in_the_end(reader: StoreReader, key: Key) -> bytes | None:
    """What is read as soon as the store answers again."""
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                (value,) = await reader.read([key])
            except StoreUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return value


def test_nothing_is_connected_before_the_first_use() -> None:
    RedisWriter("redis://127.0.0.1:1/0", "test").close()
    asyncio.run(RedisReader("redis://127.0.0.1:1/0", "test").close())


def test_while_the_server_is_away_calls_fail_in_time_and_go_on_when_it_is_back(
    own_redis: RedisServer, writer: RedisWriter
) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1")])

    async def run() -> None:
        reader = RedisReader(own_redis.url, "test")
        assert await reader.read([A]) == [b"1"]
        own_redis.kill()
        message = rf"redis at 127\.0\.0\.1:{own_redis.port}"
        with within(BOUND_S):
            answers = await asyncio.gather(*(reader.read([A]) for _ in range(100)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreUnavailableError}
        with within(BOUND_S), pytest.raises(StoreUnavailableError, match=message):
            writer.write(0, at(1), at(2), [put(b"a", b"2")])
        with within(BOUND_S), pytest.raises(StoreUnavailableError, match=message):
            writer.cursor(0)
        own_redis.start()
        writer.write(0, writer.cursor(0), at(2), [put(b"a", b"2")])
        assert await read_in_the_end(reader, A) == b"2"
        await reader.close()

    asyncio.run(run())


def test_a_server_that_hangs_is_given_up_in_time_and_then_not_waited_for_by_every_read(
    own_redis: RedisServer, writer: RedisWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.store.redis_reader._REST_S", 600.0)
    writer.write(0, None, at(1), [put(b"a", b"1")])

    async def run() -> None:
        reader = RedisReader(own_redis.url, "test")
        assert await reader.read([A]) == [b"1"]
        with paused(own_redis):
            with within(BOUND_S), pytest.raises(StoreUnavailableError, match=r"redis at 127\.0\.0\.1"):
                await reader.read([A])
            await fail_at_once(reader, 1)
            with within(BOUND_S), pytest.raises(StoreUnavailableError, match=r"redis at 127\.0\.0\.1"):
                writer.read(0, STATE, [b"a"])
        reader._rest_until = 0.0
        assert await read_in_the_end(reader, A) == b"1"
        assert writer.read(0, STATE, [b"a"]) == [b"1"]
        await reader.close()

    asyncio.run(run())


def test_closing_fails_the_reads_under_way(own_redis: RedisServer) -> None:
    async def run() -> None:
        reader = RedisReader(own_redis.url, "test")
        with paused(own_redis):
            reads = [asyncio.ensure_future(reader.read([A])) for _ in range(3)]
            await asyncio.sleep(0.05)
            reads.append(asyncio.ensure_future(reader.read([A])))
            await asyncio.sleep(0)
            await reader.close()
        answers = await asyncio.gather(*reads, reader.read([A]), return_exceptions=True)
        assert {str(answer) for answer in answers} == {f"redis at 127.0.0.1:{own_redis.port}: closed"}

    asyncio.run(run())


def forget_by_flushing(server: RedisServer, client: redis.Redis) -> None:
    assert server.answers()
    client.flushall()


def forget_by_starting_empty(server: RedisServer, client: redis.Redis) -> None:
    client.close()
    server.kill()
    server.start()


@pytest.mark.parametrize("forget", [forget_by_flushing, forget_by_starting_empty])
def test_a_server_that_forgot_takes_nothing_from_a_writer_with_the_old_cursor(
    own_redis: RedisServer,
    writer: RedisWriter,
    client: redis.Redis,
    forget: Callable[[RedisServer, redis.Redis], None],
) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1")])
    forget(own_redis, client)
    with pytest.raises(PositionConflictError, match="got None"):
        writer.write(0, at(1), at(2), [put(b"a", b"2")])
    assert client.dbsize() == 0
    assert writer.cursor(0) is None
    writer.write(0, None, at(1), [put(b"a", b"1")])
    assert writer.read(0, STATE, [b"a"]) == [b"1"]


def test_the_reads_of_one_tick_are_one_command_a_shard(
    own_redis: RedisServer, writer: RedisWriter, client: redis.Redis
) -> None:
    for shard in range(2):
        writer.write(shard, None, at(1), [put(b"%d" % i, b"%d" % i) for i in range(100)])

    async def run() -> None:
        reader = RedisReader(own_redis.url, "test")
        await reader.read([A])
        client.config_resetstat()
        reads = (reader.read([Key(i % 2, STATE, b"%d" % (i % 100))]) for i in range(400))
        answers = await asyncio.gather(*reads)
        assert answers == [[b"%d" % (i % 100)] for i in range(400)]
        await reader.close()

    asyncio.run(run())
    statistics = client.info("commandstats")
    assert isinstance(statistics, dict)
    assert statistics["cmdstat_hmget"]["calls"] == 2
    assert not {"cmdstat_get", "cmdstat_multi", "cmdstat_exec"} & set(statistics)


def test_a_batch_is_one_command(writer: RedisWriter, client: redis.Redis) -> None:
    writer.write(0, None, at(1), [])
    client.config_resetstat()
    writer.write(0, at(1), at(2), [put(b"%d" % i, b"1") for i in range(1000)])
    statistics = client.info("commandstats")
    assert isinstance(statistics, dict)
    assert statistics["cmdstat_evalsha"]["calls"] == 1
    assert "cmdstat_eval" not in statistics


def test_a_server_that_forgot_its_scripts_is_told_again(writer: RedisWriter, client: redis.Redis) -> None:
    writer.write(0, None, at(1), [])
    client.script_flush()
    writer.write(0, at(1), at(2), [put(b"a", b"2")])
    assert writer.read(0, STATE, [b"a"]) == [b"2"]


def test_all_keys_of_a_shard_lie_in_one_slot(writer: RedisWriter, client: redis.Redis) -> None:
    writer.write(3, None, at(1), [put(b"a", b"1"), put(b"{b}", b"1"), Change(b"p", b"a", b"1")])
    keys: list[bytes] = list(client.scan_iter())
    assert len(keys) == 4
    assert all(key.startswith(b"nl:{test:3}:") for key in keys)


def test_a_node_of_a_cluster_takes_writes_and_reads(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, options=["--cluster-enabled", "yes"])
    server.start()
    try:
        with redis.Redis.from_url(server.url, protocol=2) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                pass
        writer = RedisWriter(server.url, "test")
        for shard in range(8):
            writer.write(shard, None, at(1), [put(b"a", b"1"), put(b"b", None), Change(b"p", b"c", b"1")])
            writer.write(shard, at(1), at(2), [Rank(b"r", b"a", 1), Rank(b"r", b"b", None)])
            assert writer.drop(shard, at(2), b"p", 1)
        writer.close()

        async def run() -> None:
            reader = RedisReader(server.url, "test")
            assert await reader.read([Key(shard, STATE, b"a") for shard in range(8)]) == [b"1"] * 8
            await reader.close()

        asyncio.run(run())
    finally:
        server.stop()


def test_namespaces_are_separate_even_when_they_look_like_patterns(own_redis: RedisServer) -> None:
    names = ["a", "ab", "a*", "[a-z]", "?"]
    writers = [RedisWriter(own_redis.url, name) for name in names]
    for name, writer in zip(names, writers, strict=True):
        writer.write(0, None, at(1), [put(b"name", name.encode())])
    for name, writer in zip(names, writers, strict=True):
        assert list(writer.scan(0, STATE)) == [(b"name", name.encode())]
        assert writer.read(0, STATE, [b"name"]) == [name.encode()]
        writer.close()


@pytest.mark.parametrize("damaged", [b"", b"abc", b"\0\0\0\0other", wrapped(b"1")[:-1] + b"2"])
def test_a_damaged_value_reads_as_missing_and_is_logged_once(
    own_redis: RedisServer, writer: RedisWriter, client: redis.Redis, damaged: bytes
) -> None:
    name = b"damaged-" + damaged
    writer.write(0, None, at(1), [put(name, b"1"), put(b"b", b"1")])
    client.hset("nl:{test:0}:h:s", name, damaged)

    async def run() -> None:
        reader = RedisReader(own_redis.url, "test")
        for _ in range(3):
            assert await reader.read([Key(0, STATE, name), Key(0, STATE, b"b")]) == [None, b"1"]
        await reader.close()

    with capture_logs() as logs:
        asyncio.run(run())
        assert writer.read(0, STATE, [name, b"b"]) == [None, b"1"]
        assert list(writer.scan(0, STATE)) == [(b"b", b"1")]
    assert [entry["event"] for entry in logs] == ["store.damaged"]


def test_a_space_or_ranking_of_another_type_reads_as_empty_and_is_written_anew(
    own_redis: RedisServer, writer: RedisWriter, client: redis.Redis
) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1"), Rank(b"r", b"a", 1)])
    for key in (b"nl:{test:0}:h:s", b"nl:{test:0}:z:r"):
        client.delete(key)
        client.lpush(key, b"other")

    async def run() -> None:
        reader = RedisReader(own_redis.url, "test")
        assert await reader.read([A, Key(1, STATE, b"a")]) == [None, None]
        await reader.close()

    asyncio.run(run())
    assert writer.read(0, STATE, [b"a"]) == [None]
    assert list(writer.scan(0, STATE)) == []
    assert (writer.count(0, STATE), writer.size(0, b"r")) == (0, 0)
    assert (writer.ranks(0, b"r", [b"a"]), writer.ranked(0, b"r", 1)) == ([None], [])
    assert writer.drop(0, at(1), b"r", 1)
    writer.write(0, at(1), at(2), [put(b"a", b"2"), Rank(b"r", b"b", 2)])
    assert writer.read(0, STATE, [b"a"]) == [b"2"]
    assert writer.ranked(0, b"r", 10) == [(b"b", 2)]


def test_a_damaged_cursor_forgets_its_shard_and_no_other(writer: RedisWriter, client: redis.Redis) -> None:
    changes: list[Change | Rank] = [put(b"%d" % i, b"1") for i in range(2500)]
    writer.write(0, None, at(1), [*changes, Rank(b"r", b"a", 1), Change(b"p", b"a", b"1")])
    writer.write(1, None, at(1), [put(b"a", b"1")])
    client.set(b"nl:{test:0}:c", b"\0\0\0\0damaged")
    with pytest.raises(PositionConflictError):
        writer.write(0, at(1), at(2), [put(b"a", b"2")])
    assert writer.cursor(0) is None
    assert list(writer.scan(0, STATE)) == []
    assert client.keys("nl:{test:0}:*") == []
    assert list(writer.scan(1, STATE)) == [(b"a", b"1")]
    writer.write(0, None, at(1), [put(b"a", b"1")])


def test_a_full_server_refuses_the_whole_batch_and_goes_on_reading(writer: RedisWriter, client: redis.Redis) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1")])
    client.config_set("maxmemory", 1)
    changes: list[Change | Rank] = [put(b"gone", None), put(b"a", b"2"), put(b"b", b"2"), Rank(b"r", b"a", 1)]
    for new in (at(1), at(2)):
        with pytest.raises(StoreFullError, match="maxmemory"):
            writer.write(0, at(1), new, changes[1:])
    with pytest.raises(StoreFullError, match="maxmemory"):
        writer.write(0, at(1), at(2), changes)
    assert writer.read(0, STATE, [b"a", b"b"]) == [b"1", None]
    assert writer.cursor(0) == at(1)
    client.config_set("maxmemory", 0)
    writer.write(0, at(1), at(2), [put(b"a", b"2")])


def test_a_full_server_still_removes(writer: RedisWriter, client: redis.Redis) -> None:
    writer.write(0, None, at(1), [put(b"%d" % i, b"1") for i in range(100)])
    client.config_set("maxmemory", 1)
    writer.write(0, at(1), at(1), [put(b"0", None)])
    assert [writer.drop(0, at(1), STATE, 60), writer.drop(0, at(1), STATE, 60)] == [False, True]
    assert client.keys() == [b"nl:{test:0}:c"]


def test_usage_tells_the_memory_limit(writer: RedisWriter, client: redis.Redis) -> None:
    assert writer.usage().bytes_budget is None
    client.config_set("maxmemory", 1 << 30)
    assert writer.usage().bytes_budget == 1 << 30


def test_a_batch_that_fills_the_server_half_way_is_whole(writer: RedisWriter, client: redis.Redis) -> None:
    """The memory limit must not cut a script in two: Redis has no rollback."""
    writer.write(0, None, at(1), [])
    memory = client.info("memory")
    assert isinstance(memory, dict)
    client.config_set("maxmemory", memory["used_memory"] + (8 << 20))
    keys = [b"%d" % i for i in range(64)]
    cursor = at(1)
    with suppress(StoreUnavailableError):
        for offset in range(2, 10):
            writer.write(0, cursor, at(offset), [put(b"%d-" % offset + key, bytes(64 << 10)) for key in keys])
            cursor = at(offset)
    assert cursor.positions[0][1] < 9
    for offset in range(2, 10):
        present = {value is not None for value in writer.read(0, STATE, [b"%d-" % offset + key for key in keys])}
        assert present == {offset <= cursor.positions[0][1]}
    assert writer.cursor(0) == cursor


def test_a_server_that_may_drop_entries_is_told_of(writer: RedisWriter, client: redis.Redis) -> None:
    with capture_logs() as logs:
        writer.sweep()
        client.config_set("maxmemory-policy", "allkeys-lru")
        writer.sweep()
        assert logs == []
        client.config_set("maxmemory", 1 << 30)
        writer.sweep()
    assert [(entry["event"], entry["policy"]) for entry in logs] == [("store.evicts", "allkeys-lru")]


def test_housekeeping_leaves_a_server_that_is_away_alone(own_redis: RedisServer, writer: RedisWriter) -> None:
    own_redis.kill()
    writer.sweep()


def test_a_wrong_password_is_told_without_the_password(own_redis: RedisServer, client: redis.Redis) -> None:
    client.config_set("requirepass", "right")
    writer = RedisWriter(f"redis://:secret@127.0.0.1:{own_redis.port}/0", "test")
    with pytest.raises(StoreUnavailableError) as caught:
        writer.cursor(0)
    assert str(caught.value).startswith(f"redis at 127.0.0.1:{own_redis.port}: ")
    assert "secret" not in str(caught.value)
    writer.close()


def test_tls_is_spoken_and_an_unknown_certificate_refused(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    assert openssl, "openssl is not installed"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    port, cert, key = free_port(), str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    options = ["--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no"]
    server = RedisServer(tmp_path / "server", options=options)
    server.start()
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={cert}"
    try:
        writer = RedisWriter(url, "test")
        writer.write(0, None, at(1), [put(b"a", b"1")])
        writer.close()

        async def run() -> None:
            reader, stranger = RedisReader(url, "test"), RedisReader(url.partition("?")[0], "test")
            assert await reader.read([A]) == [b"1"]
            with pytest.raises(StoreUnavailableError, match="certificate"):
                await stranger.read([A])
            await reader.close()
            await stranger.close()

        asyncio.run(run())
    finally:
        server.stop()


class Relay:
    """Forwards connections to a server; may swallow the answer to one command, and garble answers."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.swallow = b""
        self.garbage = b""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except OSError:
            return

    def _serve(self, connection: socket.socket) -> None:
        with connection, socket.create_connection(("127.0.0.1", self._target)) as server:
            while command := connection.recv(1 << 20):
                server.sendall(command)
                answer = server.recv(1 << 20)
                if self.swallow and self.swallow in command:
                    self.swallow = b""
                    return
                connection.sendall(self.garbage or answer)


@pytest.fixture
def relay(own_redis: RedisServer) -> Iterator[Relay]:
    relay = Relay(own_redis.port)
    yield relay
    relay.close()


def test_a_write_whose_answer_was_lost_happened_once_and_the_cursor_tells(own_redis: RedisServer, relay: Relay) -> None:
    assert own_redis.answers()
    writer = RedisWriter(f"redis://127.0.0.1:{relay.port}/0", "test")
    writer.write(0, None, at(1), [put(b"a", b"1")])
    relay.swallow = b"EVALSHA"
    with pytest.raises(PositionConflictError, match="'log', 2"):
        writer.write(0, at(1), at(2), [put(b"a", b"2")])
    cursor = writer.cursor(0)
    assert cursor == at(2)
    writer.write(0, cursor, at(3), [put(b"b", b"3")])
    assert writer.read(0, STATE, [b"a", b"b"]) == [b"2", b"3"]
    writer.close()


@pytest.mark.parametrize(
    "garbage", [b"HTTP/1.1 200 OK\r\n\r\n", b":abc\r\n", b":5\r\n", b"*1\r\n$1\r\nx\r\n", b"\xff" * 64 + b"\r\n"]
)
def test_garbage_instead_of_answers_is_a_store_that_is_away(
    own_redis: RedisServer, relay: Relay, garbage: bytes
) -> None:
    assert own_redis.answers()
    url = f"redis://127.0.0.1:{relay.port}/0"
    writer = RedisWriter(url, "test")
    writer.write(0, None, at(1), [put(b"a", b"1")])

    async def run() -> None:
        reader = RedisReader(url, "test")
        assert await reader.read([A]) == [b"1"]
        relay.garbage = garbage
        with pytest.raises(StoreUnavailableError):
            await reader.read([A, Key(0, STATE, b"b")])
        with pytest.raises(StoreUnavailableError):
            writer.read(0, STATE, [b"a", b"b"])
        relay.garbage = b""
        assert await read_in_the_end(reader, A) == b"1"
        assert writer.read(0, STATE, [b"a"]) == [b"1"]
        await reader.close()

    asyncio.run(run())
    writer.close()


def test_one_read_at_a_time_looks_whether_the_server_is_back(own_redis: RedisServer, writer: RedisWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1")])

    async def run() -> None:
        reader = RedisReader(own_redis.url, "test")
        assert await reader.read([A]) == [b"1"]
        with paused(own_redis):
            with pytest.raises(StoreUnavailableError):
                await reader.read([A])
            while True:  # until its rest is over
                probe = asyncio.ensure_future(reader.read([A]))
                if not (await asyncio.wait([probe], timeout=0.05))[0]:
                    break
                assert isinstance(probe.exception(), StoreUnavailableError)
            await fail_at_once(reader, 100)
        assert await probe == [b"1"]
        assert await asyncio.gather(*(reader.read([A]) for _ in range(100))) == [[b"1"]] * 100
        await reader.close()

    asyncio.run(run())
