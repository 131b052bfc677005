"""Recommendations for several entities as one run, whichever way they wait for it."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from protos.nearline.v1.recommender_pb2 import RecommendResponse
from serving.models.loaded import LoadedModel
from serving.recommend.answering import Answering, Asked
from serving.recommend.queue import Waiting
from tests.builders.bundles import ITEMS, load
from tests.builders.states import document


class Nobody:
    """See queue.Answer: the results are looked at where they are made."""

    def done(self) -> bool:
        return False

    def set_result(self, result: object, /) -> None:
        raise AssertionError(result)

    def set_exception(self, error: Exception, /) -> None:
        raise error


def waiting(items: list[Asked]) -> Waiting:
    return Waiting(items if len(items) > 1 else items[0], len(items), 0, None, Nobody(), len(items))


def said(answer: bytes | None) -> list[str] | None:
    return None if answer is None else list(RecommendResponse.FromString(answer).item_ids)


def test_calls_that_wait_as_one_get_what_they_get_by_themselves(tmp_path: Path) -> None:
    loaded: LoadedModel = load(tmp_path, "m", 3)
    states = [None, *(document(item) for item in ITEMS[:4])]
    alone = [said(Answering(alone=False).run(loaded, [waiting([Asked(state)])], 1)[0]) for state in states]

    @given(st.lists(st.lists(st.integers(0, len(states) - 1), min_size=1, max_size=5), min_size=1, max_size=5))
    def check(groups: list[list[int]]) -> None:
        work = Answering(alone=False)
        requests = [waiting([Asked(states[number]) for number in group]) for group in groups]
        found = work.run(loaded, requests, sum(map(len, groups)))
        for group, result in zip(groups, found, strict=True):
            answers = result if len(group) > 1 else [result]
            assert [said(answer) for answer in answers] == [alone[number] for number in group]

    check()
