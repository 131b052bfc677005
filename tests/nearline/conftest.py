"""Models that near-line tests compute with."""

import pytest

from serving.models.loaded import LoadedModel
from tests.builders.bundles import load, load_recommender
from tests.builders.graphs import recommender


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Version 1 of `m`: recommends the next two items."""
    return load(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Version 2 of `m`: recommends every other item."""
    return load_recommender(tmp_path_factory.mktemp("bundle"), recommender(step=2), "m", 2)


@pytest.fixture(scope="session")
def bad(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Version 3 of `m`: fails where item-9 is in the history."""
    return load_recommender(tmp_path_factory.mktemp("bundle"), recommender(step=3, bad_row=9), "m", 3)
