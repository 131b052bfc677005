"""Which answers the model must give, by numpy: what served answers are compared with. Pure."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from protos.nearline.v1 import recommender_pb2
from serving.demo.cases import Case
from serving.demo.purchases import Purchases
from serving.demo.reference import Given, given, recommend
from serving.demo.train import Trained

Source: TypeAlias = "recommender_pb2.Source.ValueType"
Items = Mapping[str, Sequence[str]]
"""By entity."""
Expected = Mapping[tuple[int, Source], Items]
"""By the version and the source that an answer names. Near-line answers as of the entity's newest event, online as of
now: of the same state they may differ, since a window has moved on."""


def expected_answers(
    purchases: Purchases, versions: Mapping[int, Trained], cases: Sequence[Case], now_ms: int
) -> Expected:
    """Return what each version must answer for the cases' entities, which know what happened before their rows."""
    found: dict[tuple[int, Source], Items] = {}
    for version, trained in versions.items():
        for source, instant in ((recommender_pb2.FROM_NEARLINE, None), (recommender_pb2.FROM_ONLINE, now_ms)):
            asked = given(purchases, trained.items, cases, trained.history, now_ms=instant)
            found[version, source] = _answers(trained, cases, asked)
    return found


def expected_nearline(purchases: Purchases, trained: Trained, cases: Sequence[Case]) -> dict[int, list[str]]:
    """Return what near-line must have answered just before each case, by its row."""
    asked = given(purchases, trained.items, cases, trained.history)
    rows, _ = recommend(trained.neighbours, asked, trained.k)
    return {case.row: [trained.items[row] for row in line] for case, line in zip(cases, rows.tolist(), strict=True)}


def expected_look(purchases: Purchases, trained: Trained, case: Case, product: str, now_ms: int) -> list[str]:
    """Return what must be answered, online, to an entity that looks at a product."""
    asked = given(purchases, trained.items, [case], trained.history, now_ms=now_ms, viewing=[product])
    return list(_answers(trained, [case], asked)[case.entity_id])


def _answers(trained: Trained, cases: Sequence[Case], asked: Given) -> Items:
    rows, _ = recommend(trained.neighbours, asked, trained.k)
    found = zip(cases, rows.tolist(), strict=True)
    return {case.entity_id: [trained.items[row] for row in line] for case, line in found}
