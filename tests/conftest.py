"""Fixtures of every test."""

import pytest

pytest_plugins = ["tests.servers.fixtures", "tests.servers.redis_fixtures"]

_KAFKA_PYTHON = r"ignore:(read|open)_text is deprecated:DeprecationWarning"
"""kafka-python 3.0.12, while it is imported on Python 3.11 and 3.12."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", _KAFKA_PYTHON)
