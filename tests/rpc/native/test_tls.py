"""TLS, mTLS, tokens, and taking over new credentials."""

import asyncio
import ssl
from pathlib import Path

import grpc
import pytest
import trustme

from serving.errors import InvalidRequestError, UserError
from serving.rpc.native.access import Access
from serving.rpc.native.tls import TlsFiles
from tests.rpc.native.scenes import ask, play, stage

RULES = "# who may what\ndata token secret-of-data\ndata,admin token secret-of-admin\nadmin certificate boss.example\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def write(folder: Path, authority: trustme.CA, *, mutual: bool = False) -> TlsFiles:
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "certificate.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return TlsFiles(folder / "certificate.pem", folder / "key.pem", folder / "ca.pem" if mutual else None)


def channel(port: int, authority: trustme.CA, name: str = "") -> grpc.aio.Channel:
    issued = authority.issue_cert(common_name=name) if name else None
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        issued.private_key_pem.bytes() if issued else None,
        issued.cert_chain_pems[0].bytes() if issued else None,
    )
    return grpc.aio.secure_channel(f"localhost:{port}", credentials, options=(("grpc.enable_retries", 0),))


async def code(call: object) -> grpc.StatusCode:
    try:
        await call  # type: ignore[misc]  # a call of grpcio
    except grpc.aio.AioRpcError as error:
        found: grpc.StatusCode = error.code()
        return found
    return grpc.StatusCode.OK


def test_calls_go_over_tls(tmp_path: Path, authority: trustme.CA) -> None:
    async def scene() -> None:
        async with stage(tls=write(tmp_path, authority)) as on, channel(on.server.port, authority) as secure:
            for size in (1, 300_000):
                assert (await ask(secure, "Echo", "x" * size)).service == "x" * size
            async with grpc.aio.insecure_channel(on.address) as plain:
                assert await code(ask(plain, "Echo", timeout=1)) is not grpc.StatusCode.OK

    play(scene)


def test_who_does_not_choose_h2_is_sent_away(tmp_path: Path, authority: trustme.CA) -> None:
    async def scene() -> None:
        async with stage(tls=write(tmp_path, authority)) as on:
            context = ssl.create_default_context()
            authority.configure_trust(context)
            context.set_alpn_protocols(["http/1.1"])
            reader, writer = await asyncio.open_connection("localhost", on.server.port, ssl=context)
            while await reader.read(1000):
                pass
            writer.close()

    play(scene)


def test_with_a_ca_clients_must_show_a_certificate_of_it(tmp_path: Path, authority: trustme.CA) -> None:
    async def scene() -> None:
        async with stage(tls=write(tmp_path, authority, mutual=True)) as on:
            async with channel(on.server.port, authority, "somebody") as known:
                assert await code(ask(known, "Echo")) is grpc.StatusCode.OK
            async with channel(on.server.port, authority) as nobody:
                assert await code(ask(nobody, "Echo", timeout=2)) is not grpc.StatusCode.OK

    play(scene)


def test_tokens_and_names_say_who_may_call_what(tmp_path: Path, authority: trustme.CA) -> None:
    (tmp_path / "access").write_text(RULES)

    async def scene() -> None:
        tls = write(tmp_path, authority, mutual=True)
        async with stage(tls=tls, access=tmp_path / "access") as on:
            ok, unknown, denied = (
                grpc.StatusCode.OK,
                grpc.StatusCode.UNAUTHENTICATED,
                grpc.StatusCode.PERMISSION_DENIED,
            )
            async with channel(on.server.port, authority, "somebody") as secure:
                for token, expected in (
                    (None, (ok, unknown, unknown)),
                    ("wrong", (ok, unknown, unknown)),
                    ("secret-of-data", (ok, ok, denied)),
                    ("secret-of-admin", (ok, ok, ok)),
                ):
                    said = (("authorization", f"Bearer {token}"),) if token else ()
                    found = [await code(ask(secure, name, metadata=said)) for name in ("Open", "Echo", "Admin")]
                    assert tuple(found) == expected
            async with channel(on.server.port, authority, "boss.example") as boss:
                assert [await code(ask(boss, name)) for name in ("Echo", "Admin")] == [denied, ok]

    play(scene)


def test_new_credentials_are_taken_over_and_wrong_ones_are_not(tmp_path: Path, authority: trustme.CA) -> None:
    rules = tmp_path / "access"
    rules.write_text("data token old\n")

    async def scene() -> None:
        async with stage(tls=write(tmp_path, authority), access=rules) as on:

            async def accepted(token: str, by: trustme.CA) -> bool:
                async with channel(on.server.port, by) as secure:
                    said = (("authorization", f"Bearer {token}"),)
                    return await code(ask(secure, "Echo", metadata=said, timeout=30)) is grpc.StatusCode.OK

            assert await accepted("old", authority)
            (tmp_path / "certificate.pem").write_text("torn")
            await on.wait_struck("credentials")
            rules.write_text("everybody token new\n")
            await on.wait_struck("credentials", 2)
            assert await accepted("old", authority)
            other = trustme.CA()
            rules.write_text("data token new\n")
            write(tmp_path, other)
            while not await accepted("new", other):
                pass
            assert not await accepted("old", other)
            assert not await accepted("new", authority)

    play(scene)


def test_connections_go_when_other_callers_are_let_in_but_not_for_a_new_certificate(
    tmp_path: Path, authority: trustme.CA
) -> None:
    rules = tmp_path / "access"
    rules.write_text("data token old\n")

    async def scene() -> None:
        async with (
            stage(tls=write(tmp_path, authority), access=rules) as on,
            channel(on.server.port, authority) as secure,
        ):
            said = (("authorization", "Bearer old"),)

            async def renew() -> None:
                context = on.server._credentials.context
                write(tmp_path, authority)
                while on.server._credentials.context is context:  # noqa: ASYNC110 - a reload tells nobody
                    await asyncio.sleep(0.01)

            assert await code(ask(secure, "Echo", metadata=said)) is grpc.StatusCode.OK
            wires = set(on.server._wires)
            await renew()
            assert await code(ask(secure, "Echo", metadata=said)) is grpc.StatusCode.OK
            assert on.server._wires == wires, "the same connection"
            held = asyncio.ensure_future(ask(secure, "Hold", metadata=said))
            await on.started.get()
            rules.write_text("data token another\n")
            while await code(ask(secure, "Echo", metadata=said)) is not grpc.StatusCode.UNAUTHENTICATED:
                pass
            on.release.set()
            assert await code(held) is grpc.StatusCode.OK, "what ran was let end"

    play(scene)


def test_credentials_that_cannot_be_used_are_named_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^TLS: expected a certificate, its key"):
        TlsFiles(tmp_path / "no", tmp_path / "no").context()
    for line in ("data token", "all token x", "data password x"):
        with pytest.raises(InvalidRequestError, match=r"^access file, line 2: expected "):
            Access(["# comment", line])
