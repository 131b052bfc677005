"""Where a version comes from: what trained it, with which code, on which data, and how well it did. Pure."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_TEXT = 1000
MAX_ENTRIES = 1000

Text = Annotated[str, Field(max_length=MAX_TEXT)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Scalar = bool | int | Number | Text | None


class _Part(BaseModel):
    # A newer release may say more of it, and nodes decide nothing by it.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Code(_Part):
    """The commit, and whether files that git tracks had been changed since."""

    commit: Text
    dirty: bool = False


class TrainingData(_Part):
    """A reference (path, URL, table and snapshot), and the time that its rows span, `end` excluded."""

    reference: Text = ""
    start: datetime | None = None
    end: datetime | None = None

    @model_validator(mode="after")
    def _in_order(self) -> "TrainingData":
        if self.start and self.end:
            if (self.start.tzinfo is None) != (self.end.tzinfo is None):
                raise ValueError("end: expected a time zone in both `start` and `end` or in none, got it in one")
            if self.end < self.start:
                raise ValueError(f"end: expected no time before start ({self.start}), got {self.end}")
        return self


class Lineage(_Part):
    """Every field may be left out; framework, version and code are filled in where they can be seen.

    framework, framework_version: What trained the model, as its package is called.
    code: Of the training; default: the working directory's, when it is in a git repository.
    training_data: What it was trained on.
    metrics: By name, such as `recall@20`.
    parents: Models that it was made from, as `name@version`.
    flow, run, step: Of the pipeline that published it.
    code_package: Digest of the code that the run ran, as its pipeline keeps it.
    parameters: The run's parameters; whatever is not a number, a text or a boolean as text.
    artefacts: The run's data artefacts: `step/name` to digest.
    """

    framework: Text = ""
    framework_version: Text = ""
    code: Code | None = None
    training_data: TrainingData | None = None
    metrics: Annotated[dict[str, Number], Field(max_length=MAX_ENTRIES)] = Field(default_factory=dict)
    parents: Annotated[tuple[Text, ...], Field(max_length=MAX_ENTRIES)] = ()
    flow: Text = ""
    run: Text = ""
    step: Text = ""
    code_package: Text = ""
    parameters: Annotated[dict[str, Scalar], Field(max_length=MAX_ENTRIES)] = Field(default_factory=dict)
    artefacts: Annotated[dict[str, Text], Field(max_length=MAX_ENTRIES)] = Field(default_factory=dict)

    def completed(self, **found: Any) -> "Lineage":
        """Return it with `found` where nothing was said."""
        empty = {name: value for name, value in found.items() if not getattr(self, name)}
        return self.model_copy(update=empty)
