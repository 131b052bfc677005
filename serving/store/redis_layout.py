"""What Redis holds, for the writer and the reader: keys, the guarded write, and how to connect. Knows no library.

    nl:{namespace:shard}:c          the shard's cursor
    nl:{namespace:shard}:s:<key>    a state
    nl:{namespace:shard}:p:<key>    a prediction

The braces are a hash tag: all of a shard lies in one slot, so that one script may write it in a cluster, too.
"""

import re
from urllib.parse import urlsplit

from serving.errors import InvalidRequestError
from serving.store.port import Table

EXPECTED_URL = "redis://host:port/db, rediss://host:port/db or unix:///path"
# How long connecting, and one answer, may take. A URL may say otherwise: redis://host/0?socket_timeout=5
CONNECT_S = 1.0
READ_S = 2.0
_PORT = 6379
# RESP 2 is all that is needed, and every server speaks it.
PROTOCOL = 2

# KEYS: cursor, then one a change. ARGV: expected cursor ('' = none), new cursor ('' = delete it), then one value a
# change ('' = delete; no stored value is empty). Answers 1, or an array with the actual cursor after writing nothing.
# All or nothing although Redis has no rollback: these commands suit any type of key, and the memory limit can refuse
# only the first write of a script. That is the cursor, since a deletion would not be refused.
WRITE_SCRIPT = """
local actual = redis.call('GET', KEYS[1])
if (actual or '') ~= ARGV[1] then
  return {actual}
end
local function put(key, value)
  if value == '' then
    redis.call('DEL', key)
  else
    redis.call('SET', key, value)
  end
end
put(KEYS[1], ARGV[2])
for i = 2, #KEYS do
  put(KEYS[i], ARGV[i + 1])
end
return 1
"""


class KeySpace:
    """Keys of one installation."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace.encode()

    def cursor(self, shard: int) -> bytes:
        """Return the key of a shard's cursor."""
        return b"nl:{%s:%d}:c" % (self._namespace, shard)

    def prefix(self, shard: int, table: Table) -> bytes:
        """Return what the keys of a shard's table begin with."""
        return b"nl:{%s:%d}:%s:" % (self._namespace, shard, table.value)


def address(url: str) -> str:
    """Return host:port, or the socket's path, for messages; InvalidRequestError for what is no URL of a Redis."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError:
        raise _invalid(url) from None
    if parts.scheme == "unix" and parts.path:
        return parts.path
    database = parts.path.strip("/")
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname or (database and not database.isdecimal()):
        raise _invalid(url)
    return f"{parts.hostname}:{port}"


def without_password(url: str) -> str:
    """Return as much of a URL as may be shown."""
    return re.sub(r"^(\w*:?/*).*@", r"\1***@", url).partition("?")[0]


def _invalid(url: str) -> InvalidRequestError:
    return InvalidRequestError("store", EXPECTED_URL, without_password(url))
