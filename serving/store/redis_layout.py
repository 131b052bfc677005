"""What Redis holds, for the writer and the reader: keys, the guarded write, and how to connect. Knows no library.

    nl:{namespace:shard}:c              the shard's cursor
    nl:{namespace:shard}:h:<space>      hash: the entries of a space
    nl:{namespace:shard}:z:<ranking>    sorted set: the members of a ranking
    nl:{namespace:shard}:n              set: `h:<space>` and `z:<ranking>` of those that hold anything

The braces are a hash tag: all of a shard lies in one slot, so that one script may write it in a cluster, too.
Needs Redis 6.2 (HRANDFIELD, ZMSCORE) or any Valkey.
"""

import re
from urllib.parse import urlsplit

from serving.errors import InvalidRequestError
from serving.store.limits import check_name

EXPECTED_URL = "redis://host:port/db, rediss://host:port/db or unix:///path"
# How long connecting, and one answer, may take. A URL may say otherwise: redis://host/0?socket_timeout=5
CONNECT_S = 1.0
READ_S = 2.0
_PORT = 6379
# RESP 2 is all that is needed, and every server speaks it.
PROTOCOL = 2

HASH, SORTED = b"h", b"z"

# KEYS: cursor, names, then the spaces and rankings to change. ARGV: expected cursor ('' = none), new cursor ('' =
# delete it), then for each of the latter: `h` or `z`, name among the names, how many arguments remove, how many put,
# those arguments. Answers 1, or an array with the actual cursor after writing nothing.
# All or nothing although Redis has no rollback. Keys of another type are deleted first, so that no command finds the
# wrong one. The memory limit can refuse only the first write of a script: that is the cursor, when it moves; when it
# does not, either a removal comes first and nothing is refused, or what puts is refused before anything was written.
WRITE_SCRIPT = """
local actual = redis.call('GET', KEYS[1])
if (actual or '') ~= ARGV[1] then
  return {actual}
end
if ARGV[2] ~= ARGV[1] then
  if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
  else
    redis.call('SET', KEYS[1], ARGV[2])
  end
end
local types = {h = 'hash', z = 'zset'}
local commands = {h = {'HDEL', 'HSET'}, z = {'ZREM', 'ZADD'}}
local function demand(key, wanted)
  local found = redis.call('TYPE', key)['ok']
  if found ~= wanted and found ~= 'none' then
    redis.call('DEL', key)
  end
end
local at = 3
local function apply(command, key, count)
  local last = at + count - 1
  while at <= last do  -- Lua's stack holds 8,000 values; an even number, since some come in pairs
    local upto = math.min(at + 3999, last)
    redis.call(command, key, unpack(ARGV, at, upto))
    at = upto + 1
  end
end
if #KEYS > 2 then
  demand(KEYS[2], 'set')
end
for i = 3, #KEYS do
  local kind, name, removed, put = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 4
  demand(KEYS[i], types[kind])
  apply(commands[kind][1], KEYS[i], removed)
  apply(commands[kind][2], KEYS[i], put)
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('SADD', KEYS[2], name)
  else
    redis.call('SREM', KEYS[2], name)
  end
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

    def names(self, shard: int) -> bytes:
        """Return the key of the names of a shard's spaces and rankings."""
        return b"nl:{%s:%d}:n" % (self._namespace, shard)

    def named(self, shard: int, kind: bytes, name: bytes) -> bytes:
        """Return the key of a space (HASH) or ranking (SORTED); InvalidRequestError for what is no name."""
        check_name(name)
        return b"nl:{%s:%d}:%s:%s" % (self._namespace, shard, kind, name)


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
