"""What is remembered of requests that hits answer: how each is answered, and its last answer, within bounds."""

from weakref import ref

from protos.nearline.v1 import recommender_pb2
from serving.models.answers import SOURCE_BYTES, computed_at, message_of
from serving.models.blocking import Blocked, Hidden
from serving.models.loaded import LoadedModel
from serving.models.places import PREDICTIONS, key_of
from serving.models.predictor import Predictor
from serving.models.table import ActiveModel
from serving.recommend.parts import narrowed, part
from serving.recommend.ready import Ready
from serving.store.port import Slot
from serving.telemetry.metrics import Metrics

_PLANS = 1 << 13
"""Requests that are remembered at most: objects that a garbage collection looks at."""
_BYTES = 64 << 20
"""What they may take at most, of each serving worker, as `Plan.weight` counts: enough for all of them with answers of
a hundred items. Many requests with answers of a thousand are remembered in part only."""
_PLAN_BYTES = 1 << 10
_EXCLUDED_BYTES = 100
"""Of a plan without an answer, and of each item that its request excludes, as sys.getsizeof counts."""
_SOURCES = recommender_pb2.FROM_NEARLINE, recommender_pb2.FROM_FALLBACK
_HIT, _SPARE = (SOURCE_BYTES[source] for source in _SOURCES)
_KINDS = ("real", "test")
_NEVER = 1 << 62
_NOTHING = Blocked.of({})


class Version:
    """A version as hits need it, and how many of each kind it had since they were last counted; `spared`: no hits."""

    __slots__ = ("_metrics", "_refused", "blocked", "counted", "loaded", "space", "spared", "ttl_ms", "whole", "width")

    def __init__(self, active: ActiveModel, loaded: LoadedModel, predictor: Predictor, metrics: Metrics) -> None:
        ttl_s = predictor.settings.ttl
        self.whole = predictor.stores_all
        """Whether its stored answers hold all that the model gives."""
        self.width = predictor.width
        self.blocked = active.blocked if active.ledger.blocked else None
        self.space = PREDICTIONS + key_of(loaded)
        self.ttl_ms = _NEVER if ttl_s is None else ttl_s * 1000
        self.loaded = ref(loaded)
        """Nothing here keeps a version in memory."""
        self.counted, self.spared = [0, 0], [0, 0]
        self._refused = metrics.online_refused.labels(loaded.model, "overload")
        self._metrics = [
            [metrics.recommendations.labels(loaded.model, loaded.version, name, kind) for kind in _KINDS]
            for name in map(recommender_pb2.Source.Name, _SOURCES)
        ]

    def count(self) -> None:
        """Bring the metrics up to date."""
        self._refused.inc(sum(self.spared))
        for counted, metrics in zip((self.counted, self.spared), self._metrics, strict=True):
            for kind, count in enumerate(counted):
                if count:
                    metrics[kind].inc(count)
                    counted[kind] = 0


class Plan:
    """How a request is answered as long as the table stays what it is, and the answer of the last time."""

    __slots__ = ("hidden", "k", "kind", "least_ms", "ready", "slot", "spare", "until_ms", "value", "version", "weight")

    def __init__(self, slot: Slot, version: Version, request: recommender_pb2.RecommendRequest) -> None:
        self.slot = slot
        self.version = version
        self.k = request.k
        self.hidden = Hidden(frozenset(request.exclude), _NOTHING, 0)
        self.kind = int(request.traffic == recommender_pb2.TEST)
        self.least_ms = min(request.max_age_ms, version.ttl_ms) if request.max_age_ms else version.ttl_ms
        self.value: bytes | None = None
        self.ready: Ready | None = None
        """Of `value`; None where that has to be looked at: a blocked item may be in it, or it holds too little."""
        self.spare: Ready | None = None
        """What is answered where there is no time for better; made when it is needed."""
        self.until_ms = 0
        self.weight = 0
        """Bytes that Plans has counted for it; 0 = it is not remembered."""

    def look(self, value: bytes | None) -> None:
        """Take what is stored now."""
        self.value, self.ready, self.spare = value, None, None
        if value is None:
            return
        version, message = self.version, message_of(value)
        if version.blocked is not None and version.blocked.may_be_in(message):
            return
        wanted = part(message, self.k, self.hidden, version.width, whole=version.whole)
        if wanted is not None:
            self.ready, self.until_ms = Ready(wanted + _HIT), computed_at(value) + self.least_ms

    def spared(self, now_ms: int) -> Ready | None:
        """Return the last prediction although it has expired, or popular items; None where a blocked one may be in."""
        version, value, loaded = self.version, self.value, self.version.loaded()
        if value is not None:
            message = narrowed(message_of(value), self.k, self.hidden)
        elif loaded is not None and loaded.predictor is not None:
            message = loaded.predictor.popular(now_ms).without(self.hidden).first(self.k or version.width).message()
        else:
            return None
        if version.blocked is None or not version.blocked.may_be_in(message):
            self.spare = Ready(message + _SPARE)
        return self.spare

    def size(self) -> int:
        """Return about how many bytes it takes: the answer as it is stored and as it is sent, twice each."""
        stored = len(self.value) if self.value is not None else 0
        sent = sum(len(ready.message) for ready in (self.ready, self.spare) if ready is not None)
        return _PLAN_BYTES + len(self.hidden.exclude) * _EXCLUDED_BYTES + 2 * (stored + sent)


class Plans:
    """By request, in two generations: once the young one is half of what may be, the old one is forgotten for it.

    So what was asked for since then stays, and the bounds hold but for one answer of each generation.
    """

    __slots__ = ("_bytes", "_old", "young")

    def __init__(self) -> None:
        self.young: dict[bytes, Plan] = {}
        """To be looked at first; what is not in it may be in the old one: see `find`."""
        self._old: dict[bytes, Plan] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def find(self, request: bytes) -> Plan | None:
        """Return the plan, which is young from now on."""
        plan = self.young.get(request)
        if plan is None:
            plan = self._old.pop(request, None)
            if plan is not None:
                self.keep(request, plan)
        return plan

    def keep(self, request: bytes, plan: Plan) -> None:
        """Remember one."""
        if len(self.young) >= _PLANS // 2:
            self._age()
        self.young[request] = plan
        plan.weight = max(plan.weight, plan.size())
        self._count(plan.weight + len(request))

    def weigh(self, plan: Plan) -> None:
        """Count what a plan has grown by.

        What it shrinks by is not: it may have been counted for the generation before. So each byte that is there was
        counted since the old generation was young.
        """
        size = plan.size()
        if plan.weight and size > plan.weight:
            grown, plan.weight = size - plan.weight, size
            self._count(grown)

    def clear(self) -> None:
        """Forget all."""
        self._age()
        self._age()

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > _BYTES // 2:
            self._age()

    def _age(self) -> None:
        self._old, self.young, self._bytes = self.young, {}, 0
