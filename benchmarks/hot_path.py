"""The hot path without a transport: `python -m benchmarks.hot_path [SECONDS]`, in requests a second of a core.

`ModelInfer` of a 64-128-1000 ranker with TopK 20, from the request's bytes to the answer's, beside its session called
at batch 1; and `Recommend`, computed online from states of 50 items in a store over LMDB. CPU time, not the
clock: other processes may be running.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import onnx
import uvloop
from onnx import TensorProto, helper, numpy_helper
from prometheus_client import CollectorRegistry

from benchmarks.machine import machine, versions
from benchmarks.result import PACKAGES
from benchmarks.shop import HISTORY, items, model
from protos.digest import bundle_digest
from protos.inference import inference_pb2 as pb
from protos.partition import partition_of
from protos.records import MILLION, Share
from protos.topics import Topics
from publisher.build import build_bundle
from publisher.recommender import Described, describe_recommender
from publisher.sources.source import Source, draw_samples
from serving.bundles.bundle import open_bundle
from serving.bundles.nearline import DAY_S, NearlineSettings
from serving.bundles.session import ModelSession
from serving.bus.port import Bus
from serving.errors import BusUnavailableError
from serving.models.loaded import LoadedModel
from serving.models.places import STATES
from serving.models.table import ActiveModel, ActiveTable
from serving.recipes.event import Event, id_hash
from serving.recipes.features import LastN
from serving.recipes.fold import fold
from serving.recipes.recipe import Recipe
from serving.recipes.state import tracks_of
from serving.recommend.batcher import Batcher
from serving.recommend.infer import Inference
from serving.recommend.misses import Misses
from serving.recommend.query import Query
from serving.recommend.recommend import Recommender
from serving.rpc.inference import InferenceService
from serving.rpc.method import Call, Reply
from serving.store.connect import connect_reader, connect_writer
from serving.store.port import Change, Cursor
from serving.telemetry.metrics import Metrics

_ENTITIES = 1_000
_SHARDS = 4
_AT_ONCE = (1, 16, 64)
_RECIPE: Recipe = {"history": LastN(n=HISTORY, types=("purchase",))}


def main() -> None:
    """Measure all of it, and end with a line of JSON."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as folder:
        figures = uvloop.run(_measure(Path(folder), seconds))
    about = {"versions": versions(*PACKAGES), "machine": machine()}
    sys.stdout.write(json.dumps({"what": "requests/s of a core, in process", **figures, **about}) + "\n")


async def _measure(folder: Path, seconds: float) -> dict[str, float]:
    table, metrics = ActiveTable(), Metrics(CollectorRegistry())
    shop, net = _shop(folder / "shop"), _opened(folder / "net", "net", _source(_net()))
    for loaded in (shop, net):
        whole = (Share(1, MILLION),)
        table.swap(ActiveModel(loaded.model, whole, whole, {1: loaded}))
    _remember(folder)
    store = connect_reader("lmdb", folder, "b.", durability="process")
    batcher = Batcher(metrics, 64)
    recommender = Recommender(table, store, batcher, Misses(_no_bus, Topics("b.")), metrics, lambda: _SHARDS)
    infer = _inferring(InferenceService(Inference(table, batcher), lambda: True, "0"))
    figures = {"session at batch 1": await _rate(_calling(net), 1, seconds)}
    for many in _AT_ONCE:
        figures[f"infer, {many} at once"] = await _rate(infer, many, seconds)
    for many in _AT_ONCE:
        figures[f"recommend, {many} at once"] = await _rate(_recommending(recommender), many, seconds)
    batcher.close()
    await store.close()
    return figures


async def _rate(call: Callable[[int], Awaitable[object]], many: int, seconds: float) -> float:
    """Calls a second of this process's CPU, so many always under way."""
    done = 0

    async def client(until: float) -> None:
        nonlocal done
        while time.process_time() < until:
            await call(done)
            done += 1

    for share in (0.2, 1.0):  # the first warms up
        done, began = 0, time.process_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(many):
                group.create_task(client(began + share * seconds))
        rate = done / (time.process_time() - began)
    return round(rate, 1)


def _calling(net: LoadedModel) -> Callable[[int], Awaitable[object]]:
    row = {"x": np.ones((1, 64), np.float32)}
    names = [tensor.name for tensor in net.session.outputs]

    async def call(_at: int) -> object:
        return net.session.run(row, names)

    return call


def _inferring(service: InferenceService) -> Callable[[int], Awaitable[object]]:
    method = next(method for method in service.methods() if method.path.endswith("/ModelInfer"))
    request = pb.ModelInferRequest(model_name="net", raw_input_contents=[np.ones((1, 64), np.float32).tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 64])
    data, about = request.SerializeToString(), Call(method.path, "", None, ())

    async def call(_at: int) -> object:
        # As a transport does: a task for each request, bytes in and out.
        return await asyncio.create_task(_handled(data))

    async def _handled(data: bytes) -> bytes:
        reply: Reply = await method.handler(method.request.FromString(data), about)
        return reply if isinstance(reply, bytes) else reply.SerializeToString()

    return call


def _recommending(recommender: Recommender) -> Callable[[int], Awaitable[object]]:
    query = Query("shop")

    async def call(at: int) -> object:
        return await asyncio.create_task(recommender.recommend(query, f"customer-{at % _ENTITIES}"))

    return call


def _shop(folder: Path) -> LoadedModel:
    graph = model()
    described = describe_recommender(graph, items(), items()[:100], _RECIPE)
    return _opened(folder, "shop", _source(graph), described)


def _source(graph: onnx.ModelProto) -> Source:
    return Source(graph, draw_samples(graph))


def _opened(folder: Path, name: str, source: Source, described: Described | None = None) -> LoadedModel:
    folder.mkdir()
    about = described or Described()
    files = build_bundle(
        source,
        folder,
        recipe=about.recipe,
        recommendation=about.recommendation,
        catalogue=about.catalogue,
        nearline=NearlineSettings(ttl=DAY_S) if described else None,
    )
    return LoadedModel.of(name, 1, bundle_digest(files), open_bundle(folder), ModelSession.open(folder))


def _net() -> onnx.ModelProto:
    """`x` FP32 [batch, 64] -> `scores` FP32, `items` INT64, both [batch, 20]."""
    random = np.random.default_rng(0)
    weights = {"w1": (64, 128), "b1": (128,), "w2": (128, 1000), "b2": (1000,)}
    held = [numpy_helper.from_array(random.normal(size=s).astype(np.float32), n) for n, s in weights.items()]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["all"]),
        helper.make_node("TopK", ["all", "k"], ["scores", "items"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 20]),
            helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", 20]),
        ],
        [*held, numpy_helper.from_array(np.array([20], np.int64), "k")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _remember(folder: Path) -> None:
    random = np.random.default_rng(0)
    ids = items()
    tracks = tracks_of([_RECIPE])
    states: dict[int, list[Change]] = {shard: [] for shard in range(_SHARDS)}
    for number in range(_ENTITIES):
        entity = f"customer-{number}".encode()
        chosen = enumerate(random.integers(0, len(ids), HISTORY).tolist())
        events = [Event(entity, id_hash(at), "purchase", at, {"item": ids[row]}) for at, row in chosen]
        document = fold(None, events, tracks, 1 << 40).document
        states[partition_of(entity, _SHARDS)].append(Change(STATES, entity, document))
    writer = connect_writer("lmdb", folder, "b.", store_bytes=1 << 30, durability="process")
    for shard, changes in states.items():
        writer.write(shard, None, Cursor((("log", 1),)), changes)
    writer.close()


def _no_bus() -> Bus:
    raise BusUnavailableError("a benchmark has none")


if __name__ == "__main__":
    main()
