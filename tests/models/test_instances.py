"""What is known of one model's instances."""

from dataclasses import replace

from serving.models.instances import Instances
from serving.models.lifecycle import State
from tests.builders.ledger import announced


def test_that_one_bundle_failed_says_nothing_of_another_that_counts_under_its_number() -> None:
    instances = Instances()
    instance = instances.announced("m", announced(3))
    instance.enter(State.FAILED)
    instance.tried = True

    assert instances.announced("m", announced(3)).tried
    instance.enter(State.FAILED)
    again = instances.announced("m", replace(announced(3), digest="0" * 64))
    assert (again, again.tried) == (instance, False)
