"""What docs/nearline.md shows is what the code does."""

import re
import subprocess
import sys
from pathlib import Path

from pydantic import TypeAdapter

from serving.bundles.nearline import NearlineSettings
from serving.bundles.recipe_file import parse_recipe_file
from serving.recipes.event import decode_event
from serving.recipes.mapping import EventMapping

PAGE = (Path(__file__).parents[1] / "docs" / "nearline.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_worked_example_prints_what_stands_below_it() -> None:
    (source,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout == blocks("text")[-1]


def test_the_recipe_as_a_file_is_the_one_in_python() -> None:
    (text,) = blocks("yaml")
    found = parse_recipe_file(text)
    (source,) = blocks("python")
    names: dict[str, object] = {}
    exec(source.partition("events = ")[0], names)  # noqa: S102 - our own page
    assert found.recipe == names["recipe"]
    assert found.nearline == NearlineSettings(ttl=86_400)


def test_its_events_and_its_mapping_are_valid() -> None:
    event, mapping = blocks("json")
    assert decode_event(b"17850", event.strip().encode(), 1 << 41).fields == {"item": "85123A", "price": 2.55}
    assert TypeAdapter(EventMapping).validate_json(mapping).time_unit == "iso8601"


def test_it_names_every_setting() -> None:
    for name in NearlineSettings.model_fields:
        assert f"`{name}`" in PAGE, name
