from pathlib import Path

import pytest

from serving.demo.readers.files import read_purchases
from serving.errors import InvalidRequestError

RATINGS = [("7", "31", "2.5", "1260759205"), ("1", "1029", "3.0", "1260759179"), ("7", "1029", "4.0", "1260759205")]


def write(path: Path, separator: str, header: str = "") -> Path:
    path.write_text(header + "".join(separator.join(rating) + "\n" for rating in RATINGS))
    return path


FORMS = [("ratings.csv", ",", "userId,movieId,rating,timestamp\n"), ("u.data", "\t", ""), ("ratings.dat", "::", "")]


@pytest.mark.parametrize(("name", "separator", "header"), FORMS)
@pytest.mark.parametrize("by_folder", [False, True])
def test_ratings_are_read_by_file_and_by_folder(
    tmp_path: Path, name: str, separator: str, header: str, by_folder: bool
) -> None:
    path = write(tmp_path / name, separator, header)
    purchases = read_purchases(tmp_path if by_folder else path)
    assert [purchases.entity_ids[entity] for entity in purchases.entities] == ["1", "7", "7"]
    assert [purchases.item_ids[item] for item in purchases.items] == ["1029", "31", "1029"]
    assert purchases.ts.tolist() == [1260759179000, 1260759205000, 1260759205000]


def test_a_headerless_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1\t2\t3\n")
    with pytest.raises(InvalidRequestError, match="3 columns"):
        read_purchases(tmp_path / "u.data")


def test_a_time_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1\t2\t3\tnoon\n")
    with pytest.raises(InvalidRequestError, match="timestamp: expected seconds since the epoch, got 'noon'"):
        read_purchases(tmp_path / "u.data")
