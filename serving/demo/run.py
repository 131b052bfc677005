"""The main job, acted out on real parts: train, publish, replay, answer, swap, fail, roll back."""

import tempfile
from pathlib import Path

from rich.console import Console

from serving.bus.connect import connect_bus
from serving.demo.acts import Play
from serving.demo.readers.load import load
from serving.demo.report import Report
from serving.demo.stage import Stage
from serving.demo.train import train


def run_demo(data: Path | None, bus: str, store: str, seed: int, console: Console) -> Report:
    """Act the whole main job; NearlineError where it does not go as it must."""
    report = Report(source=str(data.name) if data else f"generated with seed {seed}")
    with console.status("reading purchases, training two versions …"):
        purchases = load(data, seed)
        first = train(purchases.training)
        second = train(purchases.training, neighbours=10, damping=2.0)
    began, ended = purchases.period
    report.purchases, report.period = len(purchases), f"{began:%Y-%m-%d} to {ended:%Y-%m-%d}"
    report.entities, report.items = len(purchases.entity_ids), len(purchases.item_ids)
    console.print(
        f"[bold]1[/] trained on {len(purchases.training):,} purchases before the last month ({report.source})"
    )
    with tempfile.TemporaryDirectory(prefix="nearline-demo-") as temporary:
        with console.status("starting a node …"):
            stage = Stage(Path(temporary), bus, store)
            report.prefix = stage.settings.topic_prefix
            connected = connect_bus(stage.settings)
        with stage:
            console.print(f"[bold]2[/] a node serves on {stage.address}: {', '.join(stage.workers)}")
            try:
                Play(stage, connected, purchases, report, console).act(first, second)
            finally:
                connected.close()
    report.show(console)
    return report
