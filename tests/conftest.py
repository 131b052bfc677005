"""Fixtures of every test."""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.fixtures", "tests.servers.redis_fixtures", "tests.store.fixtures"]

_KAFKA_PYTHON = r"ignore:(read|open)_text is deprecated:DeprecationWarning"
"""kafka-python 3.0.12, while it is imported on Python 3.11 and 3.12."""
_KAFKA_SOCKET = r"ignore:Exception ignored in. <socket.socket .* raddr=:pytest.PytestUnraisableExceptionWarning"
"""kafka-python 3.0.12 leaves a connection to the collector now and then, when it gives up one that is being made. The
warning falls on whichever test runs by then."""


_NODES = ("tests/end_to_end/", "tests/security/", "tests/supervisor/")

# Other work on the machine is no failure.
settings.register_profile("nearline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nearline")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", _KAFKA_PYTHON)
    config.addinivalue_line("filterwarnings", _KAFKA_SOCKET)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with those that start nodes: of several processes, none is left with the longest ones at the end."""
    items.sort(key=lambda item: next((n for n, f in enumerate(_NODES) if item.nodeid.startswith(f)), len(_NODES)))
