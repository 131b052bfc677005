"""Keys go where Kafka's own clients send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafka_murmur2

from protos.partition import murmur2, partition_of


@given(st.binary(max_size=300))
def test_murmur2_is_that_of_kafkas_client(key: bytes) -> None:
    assert murmur2(key) == kafka_murmur2(key) & 0xFFFFFFFF


@given(st.text(max_size=64), st.integers(1, 1000))
def test_a_key_goes_where_kafkas_client_sends_it(text: str, partitions: int) -> None:
    key = text.encode(errors="surrogatepass")
    assert partition_of(key, partitions) == (kafka_murmur2(key) & 0x7FFFFFFF) % partitions


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_kafkas_own_test(key: bytes, signed: int) -> None:
    """From org.apache.kafka.common.utils.UtilsTest."""
    assert murmur2(key) == signed & 0xFFFFFFFF


@given(st.binary(), st.integers(1, 64))
def test_a_partition_is_one_of_the_topics(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
