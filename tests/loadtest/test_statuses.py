import hpack
import pytest

from protos.nearline.v1 import recommender_pb2 as pb
from serving.loadtest.answers import source_of
from serving.loadtest.statuses import OK, Statuses


def block(*fields: tuple[str, str]) -> bytes:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode(list(fields)))


def test_a_status_is_read_from_its_block_with_its_message() -> None:
    statuses = Statuses()
    assert statuses.of(block(("grpc-status", "0"))) is OK
    assert statuses.of(block(("grpc-status", "0"))) is OK
    assert statuses.of(block(("grpc-status", "5"), ("grpc-message", "no model"))) == ("NOT_FOUND", "no model")
    assert statuses.of(b"\xff\xff\xff").name == "INTERNAL"
    assert statuses.of(block(("grpc-status", "x"))).name == "UNKNOWN"


@pytest.mark.parametrize(
    ("source", "kind"),
    [(pb.FROM_NEARLINE, "NEARLINE"), (pb.FROM_ONLINE, "ONLINE"), (pb.FROM_FALLBACK, "FALLBACK"), (0, "UNSPECIFIED")],
)
def test_the_source_is_read_wherever_it_stands(source: "pb.Source.ValueType", kind: str) -> None:
    answer = pb.RecommendResponse(item_ids=["a"], scores=[1.0], model="m", version=3, source=source)
    assert source_of(answer.SerializeToString()) == kind
    first = pb.RecommendResponse(source=source).SerializeToString()
    assert source_of(first + pb.RecommendResponse(item_ids=["a"]).SerializeToString()) == kind
