"""The features that a recipe is made of, one class for each operation. Pure.

Those over events see the ones of the given `types` (none given: of every type) that happened before the instant.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.recipes.scalars import MAX_TEXT
from serving.recipes.windows import bucket_ms, span_ms

MAX_N = 1000

FieldName = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00]+$")]
TypeName = Annotated[str, Field(max_length=60)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Value = int | Number | Text
Word = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Words = Annotated[tuple[Word, ...], Field(min_length=1)]
Vocabulary = Literal["catalogue"] | Words | None
"""Where strings become rows: the bundle's catalogue, or a list whose rows count from 0. None: as it comes."""


class Base(BaseModel):
    """What every operation has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OfEvents(Base):
    """Over events of some types."""

    types: Annotated[tuple[TypeName, ...], Field(max_length=50)] = ()


class _Valued(OfEvents):
    """With values of a field, looked up in a vocabulary or as they are."""

    vocabulary: Vocabulary = None
    unknown: int | None = None

    @property
    def fill(self) -> int | float | str:
        """What stands where there is no value; text means that the feature is of text."""
        raise NotImplementedError

    @property
    def values(self) -> Literal["rows", "numbers", "text"]:
        """What the feature is of."""
        return "rows" if self.vocabulary is not None else "text" if isinstance(self.fill, str) else "numbers"

    def _check_rows(self, name: str) -> None:
        if self.vocabulary is not None and not isinstance(self.fill, int):
            raise ValueError(f"{name}: expected a row, a whole number, since there is a vocabulary, got {self.fill!r}")
        if self.vocabulary is None and self.unknown is not None:
            raise ValueError(f"unknown: expected none without a vocabulary, got {self.unknown}")
        check_words(self.vocabulary)


class Last(_Valued):
    """The value of the newest event that has the field; scalar.

    With a vocabulary its row (a string that it does not know: `unknown`, or `missing` if that is not given), else the
    number, or the text if `missing` is a text; a value of the other kind counts as none.
    """

    op: Literal["last"] = "last"
    field: FieldName
    missing: Value = -1

    @property
    def fill(self) -> int | float | str:
        """What stands where there is no event."""
        return self.missing

    @model_validator(mode="after")
    def _fits(self) -> "Last":
        self._check_rows("missing")
        return self


class LastN(_Valued):
    """The newest `n` values, oldest first; [batch, n], unused places on the left hold `pad`.

    With a vocabulary their rows; strings that it does not know give `unknown`, or are left out if that is not given
    (their places go to older ones, out of the newest max(n, 100) values). Without: numbers, or text if `pad` is one.
    `mask` names another input, [batch, n], that gets 1 where there is a value and 0 elsewhere.
    """

    op: Literal["last_n"] = "last_n"
    field: FieldName = "item"
    n: int = Field(ge=1, le=MAX_N)
    pad: Value = -1
    vocabulary: Vocabulary = "catalogue"
    mask: str | None = Field(default=None, min_length=1)

    @property
    def fill(self) -> int | float | str:
        """What stands in unused places."""
        return self.pad

    @model_validator(mode="after")
    def _fits(self) -> "LastN":
        self._check_rows("pad")
        return self


class Windowed(OfEvents):
    """Over a sliding window, such as `15m`, `6h` or `7d`; see windows.py for how it is cut into buckets."""

    window: str
    bucket: str | None = None

    @model_validator(mode="after")
    def _divides(self) -> "Windowed":
        bucket_ms(self.window, self.bucket)
        return self

    @property
    def width_ms(self) -> int:
        """Width of a bucket."""
        return bucket_ms(self.window, self.bucket)

    @property
    def buckets(self) -> int:
        """How many buckets the window has."""
        return span_ms(self.window, "window") // self.width_ms


class Count(Windowed):
    """How many events."""

    op: Literal["count"] = "count"


class Sum(Windowed):
    """Sum of a field's numbers; 0 without any."""

    op: Literal["sum"] = "sum"
    field: FieldName


class Mean(Windowed):
    """Mean of a field's numbers."""

    op: Literal["mean"] = "mean"
    field: FieldName
    missing: Number = 0.0


class Max(Windowed):
    """Largest of a field's numbers."""

    op: Literal["max"] = "max"
    field: FieldName
    missing: Number = 0.0


class Distinct(Windowed):
    """How many different values a field had; never more than `limit`."""

    op: Literal["distinct"] = "distinct"
    field: FieldName
    limit: int = Field(default=1000, ge=1, le=1000)


class Age(OfEvents):
    """Seconds since the newest event."""

    op: Literal["age"] = "age"
    missing: Number = -1.0


class Request(Base):
    """A field of the request's context. Near-line, and where a request does not say, `default`, which gives its type.

    With a vocabulary a string's row; `unknown` where it has none.
    """

    op: Literal["request"] = "request"
    field: FieldName
    default: Value
    vocabulary: Vocabulary = None
    unknown: int = -1

    @model_validator(mode="after")
    def _fits(self) -> "Request":
        if self.vocabulary is not None and not isinstance(self.default, str):
            raise ValueError(f"default: expected a text, since there is a vocabulary, got {self.default!r}")
        check_words(self.vocabulary)
        return self


class Constant(Base):
    """Always the same."""

    op: Literal["constant"] = "constant"
    value: Value


def check_words(vocabulary: Vocabulary) -> None:
    """ValueError for a list that has a word twice."""
    if isinstance(vocabulary, tuple) and len(set(vocabulary)) != len(vocabulary):
        twice = next(word for at, word in enumerate(vocabulary) if word in vocabulary[:at])
        raise ValueError(f"vocabulary: expected each word once, got {twice!r} twice")
