import numpy as np
import pytest

from serving.demo.train import POPULAR, train
from serving.errors import UserError
from tests.demo.streams import stream

# Customers: x 1 2 3, y 1 2, z 3; w 4 alone.
STREAM = [
    ("1", "x", 0.0),
    ("1", "y", 0.0),
    ("1", "y", 1.0),
    ("2", "x", 0.0),
    ("2", "y", 0.0),
    ("3", "x", 0.0),
    ("3", "z", 0.0),
    ("4", "w", 0.0),
]


def test_items_come_in_descending_order_of_customers_then_by_id() -> None:
    trained = train(stream(STREAM))
    assert trained.items == trained.popular == ["x", "y", "w", "z"]
    assert trained.neighbours.customers.tolist() == [3, 2, 1, 1]


def test_similarity_is_customers_in_common_over_the_root_of_both() -> None:
    found = train(stream(STREAM)).neighbours
    assert found.rows[0].tolist() == [0, 1, 3, 2]
    assert found.similarity[0] == pytest.approx([1, 2 / 6**0.5, 1 / 3**0.5, 0], abs=1e-5)


def test_a_repeated_purchase_counts_a_customer_once() -> None:
    found = train(stream([*STREAM, *STREAM])).neighbours
    assert np.array_equal(found.similarity, train(stream(STREAM)).neighbours.similarity)


def test_damping_weakens_what_few_customers_say() -> None:
    plain, damped = train(stream(STREAM)).neighbours, train(stream(STREAM), damping=1.0).neighbours
    assert damped.similarity[0] == pytest.approx([3 / 4, 2 / 12**0.5, 1 / 8**0.5, 0], abs=1e-5)
    assert damped.similarity[3, 0] / plain.similarity[3, 0] < damped.similarity[0, 0] / plain.similarity[0, 0]


def test_only_the_nearest_are_kept() -> None:
    found = train(stream(STREAM), neighbours=2).neighbours
    assert found.rows.tolist() == [[0, 1], [1, 0], [2, 0], [3, 0]]


def test_sums_of_similarities_are_exact_in_any_order() -> None:
    rng = np.random.default_rng(3)
    lines = [(str(rng.integers(40)), str(rng.integers(30)), 0.0) for _ in range(600)]
    similarity = train(stream(lines)).neighbours.similarity.ravel()
    drawn = rng.choice(similarity, 50)
    assert len({np.cumsum(rng.permutation(drawn), dtype=np.float32)[-1].item() for _ in range(50)}) == 1


def test_a_small_catalogue_gives_as_many_recommendations_as_it_has_items() -> None:
    assert train(stream(STREAM)).k == 4


def test_popular_items_are_limited() -> None:
    trained = train(stream([("1", f"{number:03}", 0.0) for number in range(POPULAR + 10)]))
    assert len(trained.items) == POPULAR + 10
    assert trained.popular == trained.items[:POPULAR]


def test_products_beyond_the_limit_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.demo.neighbours.MAX_ITEMS", 2)
    assert train(stream(STREAM)).items == ["x", "y"]


def test_blocks_of_entities_and_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(stream(STREAM)).neighbours
    monkeypatch.setattr("serving.demo.neighbours._ENTITIES_AT_ONCE", 2)
    monkeypatch.setattr("serving.demo.neighbours._ROWS_AT_ONCE", 3)
    blocks = train(stream(STREAM)).neighbours
    assert np.array_equal(whole.rows, blocks.rows)
    assert np.array_equal(whole.similarity, blocks.similarity)


def test_nothing_to_train_on_is_the_users_error() -> None:
    with pytest.raises(UserError, match="expected purchases"):
        train(stream([]))
