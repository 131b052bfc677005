"""Finding models by what their newest version says."""

from protos.ledger import World
from protos.records import MILLION, Announced, Line, ModelRecord, Searchable, Share
from publisher.models import list_models

DAY_MS = 86_400_000


def announced(version: int, about: Searchable, *, held: bool = False) -> Announced:
    return Announced(version, f"{version:064x}", "file:///a", (), held, version, version * DAY_MS, about=about)


def record(*abouts: Searchable) -> ModelRecord:
    return ModelRecord(versions={at: announced(at, about) for at, about in enumerate(abouts, 1)})


SHOP = Searchable("Team Reco", "", ("homepage", "shop"), ("history", "item"), "onnx", 2 * 86_400)
RANKER = Searchable("search@example.com", "", ("shop",), ("X",), "xgboost", 0)
WORLD = World(models={"shop": record(RANKER, SHOP), "ranker": record(RANKER), "blocked-only": ModelRecord()})


def names(**wanted: object) -> list[str]:
    return [one.name for one in list_models(WORLD, now_ms=0, **wanted)]  # type: ignore[arg-type]


def test_models_are_found_by_what_their_newest_version_says() -> None:
    assert names() == ["ranker", "shop"], "one that was never announced is none"
    assert names(name="rank") == ["ranker"]
    assert names(owner="team") == ["shop"]
    assert names(tags=["shop"]) == ["ranker", "shop"]
    assert names(tags=["shop", "homepage"]) == ["shop"]
    assert names(features=["item"]) == ["shop"]
    assert names(features=["X"]) == ["ranker"], "the newest version of shop has no X"
    assert names(owner="team", features=["X"]) == []


def test_a_retired_version_is_not_the_newest() -> None:
    retired = record(RANKER, SHOP)
    retired.retired.add(2)
    (one,) = list_models(World(models={"m": retired}))
    assert (one.newest.version, one.newest.about) == (1, RANKER)


def test_it_tells_what_serves_everywhere() -> None:
    pinned = record(RANKER, SHOP)
    pinned.lines = (Line({}, (Share(1, MILLION),)), Line({"region": "eu"}, (Share(2, MILLION),)))
    (one,) = list_models(World(models={"m": pinned}))
    assert one.serving == (Share(1, MILLION),)


def test_a_model_is_stale_once_it_is_older_than_it_says_that_it_may_become() -> None:
    def stale(now_ms: int) -> list[str]:
        return [one.name for one in list_models(WORLD, now_ms=now_ms) if one.stale]

    assert stale(4 * DAY_MS) == []
    assert stale(4 * DAY_MS + 1) == ["shop"], "ranker never says"
