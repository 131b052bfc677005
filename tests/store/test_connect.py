"""Which store a URL chooses."""

import asyncio
import sys
from pathlib import Path

import pytest

from serving.errors import InvalidRequestError, UserError
from serving.store.connect import connect_reader, connect_writer, is_shared
from serving.store.redis_layout import address, without_password


@pytest.mark.parametrize("url", ["redis://host:1/0", "rediss://user:pw@host", "unix:///run/redis.sock"])
def test_a_redis_url_chooses_redis_and_connects_to_nothing_yet(url: str, tmp_path: Path) -> None:
    assert is_shared(url)
    writer, reader = connect_writer(url, tmp_path, "test"), connect_reader(url, tmp_path, "test")
    assert (type(writer).__name__, type(reader).__name__) == ("RedisWriter", "RedisReader")
    writer.close()
    asyncio.run(reader.close())


def test_lmdb_lives_in_the_data_directory(tmp_path: Path) -> None:
    assert not is_shared("lmdb")
    writer, reader = connect_writer("lmdb", tmp_path, "test"), connect_reader("lmdb", tmp_path, "test")
    assert (tmp_path / "store" / "data.mdb").exists()
    writer.close()
    asyncio.run(reader.close())


@pytest.mark.parametrize(
    "url",
    [
        "", "redis", "http://host", "memcached://user:secret@host", "redis:/:secret@host", "redis://", "redis:///0",
        "redis://host:port/0", "redis://host:99999", "redis://host/db", "redis://:secret@[::1", "unix://",
    ],
)  # fmt: skip
def test_any_other_url_is_refused_with_what_is_expected(url: str, tmp_path: Path) -> None:
    for connect in (connect_writer, connect_reader):
        with pytest.raises(InvalidRequestError, match=r"^store: expected .*redis://host:port/db") as caught:
            connect(url, tmp_path, "test")
        assert "secret" not in str(caught.value)


def test_without_the_library_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    for connect in (connect_writer, connect_reader):
        with pytest.raises(UserError, match=r"^[^\n]*pip install 'nearline\[redis\]'$"):
            connect("redis://host/0", tmp_path, "test")


def test_addresses_name_host_and_port_only() -> None:
    assert address("redis://user:pw@host/3") == "host:6379"
    assert address("rediss://:p@@host:7/3?socket_timeout=5") == "host:7"
    assert address("unix:///run/redis.sock") == "/run/redis.sock"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:se@c/re?t@host:1/0", "redis://***@host:1/0"),
        ("redis://host/0?password=secret", "redis://host/0"),
        ("redis:/:secret@host", "redis:/***@host"),
        ("user:secret@host", "user:***@host"),
        ("lmbd", "lmbd"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
