"""`nearline bench` against a node that speaks TLS and asks its clients for certificates."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from publisher.api import publish
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import doubler


def write(folder: Path, name: str, issued: trustme.LeafCert) -> tuple[str, str]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return str(certificate), str(key)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[tuple[Installation, Node]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    trustme.CA().cert_pem.write_to_path(folder / "other-ca.pem")
    certificate, key = write(folder, "server", authority.issue_cert("127.0.0.1"))
    write(folder, "client", authority.issue_cert(common_name="bench"))
    more = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": str(folder / "ca.pem")}
    installation = Installation(folder, {"workers": "1", "nearline_workers": "0", "transport": "native", **more})
    publish("doubler", doubler(), settings=installation.settings())
    with Node(installation) as started:
        yield installation, started


def ours(folder: Path) -> list[str]:
    return ["--tls-certificate", str(folder / "client.pem"), "--tls-key", str(folder / "client-key.pem")]


@pytest.mark.parametrize("more", [[], ["--count-only"], ["--fresh-deadline", "--fresh-trace"]])
def test_calls_go_over_tls_with_our_certificate(node: tuple[Installation, Node], folder: Path, more: list[str]) -> None:
    installation, started = node
    said = installation.ask(
        "bench", "--model", "doubler", "--infer", "--target", started.address, "--closed", "4", "--duration", "0.5",
        "--warm", "0", "--tls-ca", str(folder / "ca.pem"), *ours(folder), *more,
    )  # fmt: skip
    assert said["tls"] is True
    assert said["failed"] == 0
    assert said["answered"] > 0


@pytest.mark.parametrize(("ca", "shows"), [("other-ca.pem", True), ("ca.pem", False)])
def test_who_is_not_trusted_is_said_in_a_line(
    node: tuple[Installation, Node], folder: Path, ca: str, *, shows: bool
) -> None:
    installation, started = node
    ended = installation.run(
        "bench", "--model", "doubler", "--target", started.address, "--duration", "0.5", "--tls-ca", str(folder / ca),
        *(ours(folder) if shows else []),
    )  # fmt: skip
    assert ended.returncode != 0
    assert len(ended.stderr.splitlines()) == 1
    assert f"--target {started.address}: " in ended.stderr


def test_files_that_are_none_are_refused_by_name(node: tuple[Installation, Node], folder: Path) -> None:
    installation, started = node
    asked = ["bench", "--model", "doubler", "--target", started.address]
    (folder / "nothing.pem").write_text("nothing")
    for options, words in (
        (["--tls-ca", str(folder / "nothing.pem")], "--tls-ca: expected a PEM file of certificates"),
        (["--tls-key", str(folder / "client-key.pem")], "--tls-certificate, --tls-key: expected both or none"),
    ):
        ended = installation.run(*asked, *options)
        assert ended.returncode == 2
        assert words in ended.stderr
