"""Which release this is, and which start of which worker."""

import importlib.metadata
import uuid

from protos.nearline.v1 import status_pb2
from serving.models.instance import Identity
from serving.settings import Settings

VERSION = importlib.metadata.version("nearline")


def new_identity(settings: Settings, worker: str, role: "status_pb2.Role.ValueType") -> Identity:
    """Name this start of a worker."""
    return Identity(settings.node, worker, role, uuid.uuid4().hex)
