"""The transport by its name, imported on choice."""

from collections.abc import Sequence

from serving.errors import InvalidRequestError
from serving.rpc.method import Method, Server
from serving.settings import Settings
from serving.telemetry.metrics import Metrics


def make_server(settings: Settings, methods: Sequence[Method], address: str, metrics: Metrics) -> Server:
    """Return what the settings name; InvalidRequestError for settings that do not fit each other."""
    if settings.transport == "grpcio":
        for name in ("rpc_limits", "tls_certificate", "tls_key", "tls_client_ca", "access_file"):
            if getattr(settings, name):
                raise InvalidRequestError(name, "the transport `native` with it", "`grpcio`")
        from serving.rpc.grpcio_server import GrpcioServer  # noqa: PLC0415 - on choice

        return GrpcioServer(methods, address, metrics, settings.max_message_bytes)
    from serving.rpc.native.limits import read_limits  # noqa: PLC0415 - on choice
    from serving.rpc.native.server import NativeServer  # noqa: PLC0415 - on choice
    from serving.rpc.native.tls import TlsFiles  # noqa: PLC0415 - on choice

    certificate, key = settings.tls_certificate, settings.tls_key
    if (certificate is None) != (key is None) or (settings.tls_client_ca is not None and certificate is None):
        raise InvalidRequestError("tls_certificate", "tls_key beside it, for tls_client_ca both", "a part of them")
    return NativeServer(
        methods,
        address,
        metrics,
        settings.max_message_bytes,
        limits=read_limits(settings.rpc_limits),
        tls=TlsFiles(certificate, key, settings.tls_client_ca) if certificate is not None and key is not None else None,
        access=settings.access_file,
    )
