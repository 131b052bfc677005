"""The `status` topic as it is at one moment, for whoever looks once and does not follow."""

from protos.status_view import StatusView
from serving.bus.port import Bus


def read_status(bus: Bus, topic: str) -> StatusView:
    """Fold everything up to the end as it is now."""
    view = StatusView()
    end = bus.end_offsets(topic)[0]
    reader = bus.reader(topic)
    try:
        while reader.position(0) < end:
            for batch in reader.poll(1.0):
                for record in batch.records:
                    view.apply(record.key, record.timestamp_ms, record.value)
    finally:
        reader.close()
    return view
