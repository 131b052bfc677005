"""No two nodes share a port, however their hosts are spelled."""

import sys

import pytest

from serving.errors import UserError
from serving.supervisor.ports import claim, reserve

ALL = "0.0.0.0"  # noqa: S104 - what is tested

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")


@pytest.mark.parametrize(
    ("first", "second"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("127.0.0.1", ALL), (ALL, "127.0.0.1")],
)
def test_a_port_is_one_nodes_until_it_ends(first: str, second: str) -> None:
    with reserve(first, 0) as ours:
        port = ours.getsockname()[1]
        with reserve(second, port) as theirs:
            with claim(ours), pytest.raises(UserError, match=f"^port: expected a free one, got .*:{port} "):
                claim(theirs)
            claim(theirs).close()


def test_two_addresses_are_two_ports() -> None:
    with reserve("127.0.0.1", 0) as ours, reserve("127.0.0.2", ours.getsockname()[1]) as theirs, claim(ours):
        claim(theirs).close()
