"""The manifest: the contract of a version, as `manifest.json` in its bundle."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from protos.nearline.v1 import status_pb2
from serving.bundles.about import About
from serving.bundles.nearline import NearlineSettings
from serving.errors import ModelError
from serving.recipes.check import check_recipe, covered
from serving.recipes.parse import place
from serving.recipes.recipe import Recipe, changing_inputs

SCHEMA = 1


class Tensor(BaseModel):
    """An input or output: Open Inference Protocol datatype (`INT64`, `FP32`, `BYTES`, …), -1 for any size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    datatype: str
    shape: tuple[int, ...]


class Recommendation(BaseModel):
    """How a recommender's outputs are read: catalogue rows (INT64 [batch, k]) and scores (FP32 [batch, k])."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: str = "items"
    scores: str = "scores"


class Manifest(About):
    """What nodes rely on. Unknown fields of a newer minor format are ignored; a larger `schema_version` is refused.

    A model with `recommendation` answers `Recommend`; it needs a recipe for every input, and a catalogue.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: int = SCHEMA
    inputs: tuple[Tensor, ...] = Field(min_length=1)
    outputs: tuple[Tensor, ...] = Field(min_length=1)
    recipe: Recipe = Field(default_factory=dict)
    recommendation: Recommendation | None = None
    nearline: NearlineSettings = Field(default_factory=NearlineSettings)

    @model_validator(mode="after")
    def _fits(self) -> "Manifest":
        if self.schema_version != SCHEMA:
            raise ValueError(f"schema_version: expected {SCHEMA}, got {self.schema_version}")
        outputs = {tensor.name: tensor for tensor in self.outputs}
        check_recipe(self.recipe, self.inputs)
        if self.nearline.ttl is None and (changing := changing_inputs(self.recipe)):
            raise ValueError(
                "nearline.ttl: expected a length of time such as `1d`, since windows and ages change while nothing "
                f"happens ({', '.join(changing)}), got none"
            )
        if self.recommendation:
            if missing := sorted({tensor.name for tensor in self.inputs} - covered(self.recipe)):
                raise ValueError(f"recipe: expected an entry for every input, got none for {missing}")
            for name, datatype in (
                (self.recommendation.items, "INT64"),
                (self.recommendation.scores, "FP32"),
            ):
                tensor = outputs.get(name)
                if (
                    tensor is None
                    or tensor.datatype != datatype
                    or len(tensor.shape) != 2  # noqa: PLR2004 - [batch, k]
                    or tensor.shape[0] != -1
                ):
                    raise ValueError(f"output {name!r}: expected {datatype} of shape [batch, k], got {tensor}")
        return self


def read_manifest(data: bytes) -> Manifest:
    """Parse and check; ModelError(MANIFEST) names field, expected and actual."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = place(first["loc"]) or "manifest.json"
        raise ModelError(status_pb2.MANIFEST, f"{where}: {first['msg']}", detail=str(error), rejected=True) from error
