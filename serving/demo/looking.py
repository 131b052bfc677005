"""One question with the request field: what a customer gets who looks at a product just now."""

import time

from protos.nearline.v1 import recommender_pb2
from serving.demo.asking import Answer, Client
from serving.demo.cases import Case
from serving.demo.expected import expected_look
from serving.demo.purchases import Purchases
from serving.demo.recipe import VIEWING
from serving.demo.train import Trained
from serving.errors import NearlineError


def look(client: Client, purchases: Purchases, trained: Trained, case: Case, before: Answer) -> str:
    """Ask for a customer who looks at a product that is not in the answer `before`; say what came, in a line.

    NearlineError where it was not made online, or is not what numpy computes.
    """
    product = next((item for item in trained.items if item not in before.item_ids), trained.items[0])
    answer = client.one(case.entity_id, {VIEWING: product})
    expected = expected_look(purchases, trained, case, product, time.time_ns() // 1_000_000)
    source = recommender_pb2.Source.Name(answer.source).removeprefix("FROM_")
    if answer.source != recommender_pb2.FROM_ONLINE or list(answer.item_ids) != expected:
        got = f"{list(answer.item_ids)} from {source}"
        raise NearlineError(f"{VIEWING}={product}: expected {expected} from ONLINE, got {got}")
    others = len(set(answer.item_ids) - set(before.item_ids))
    what = f"{others} of {len(expected)} products differ"
    return f"customer {case.entity_id} looks at {product}: answered {source}, {what}"
