"""Which partition, and so which shard, an entity belongs to: Kafka's default, so that any producer agrees.

murmur2 as in org.apache.kafka.common.utils.Utils (seed 0x9747b28c). Producers built on librdkafka need
`partitioner=murmur2_random`.
"""

from functools import lru_cache
from struct import unpack_from

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return the unsigned 32-bit hash."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    whole = length & ~3
    for offset in range(0, whole, 4):
        k = unpack_from("<I", data, offset)[0] * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    tail = data[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=1 << 16)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition, 0 to partitions - 1, of a record's key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
