"""Every setting of an installation, from `NEARLINE_*` environment variables and command-line options.

Reading settings does no other I/O. docs/settings.md is generated from the descriptions below.
"""

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import AfterValidator, Field, PlainSerializer, SecretStr, SerializationInfo, ValidationInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from protos.names import LABEL_NAME
from protos.topics import Topics


def _default_node() -> str:
    return socket.gethostname().split(".")[0][:63] or "node"


def _check_label(text: str) -> str:
    if not LABEL_NAME.fullmatch(text):
        raise ValueError("1 to 63 letters, digits, `.`, `_` and `-`, the first a letter or digit")
    return text


def _check_store(url: str) -> str:
    if url != "lmdb" and not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("`lmdb` or redis://host:port/db")
    return url


def _check_traces(url: str) -> str:
    if url not in {"", "otlp"} and not url.startswith(("http://", "https://")):
        raise ValueError("nothing, `otlp` or http://host:port")
    return url


def _check_topic(name: str, given: ValidationInfo) -> str:
    if name and not _TOPIC.fullmatch(name):
        raise ValueError("1 to 249 letters, digits, `.`, `_` and `-`")
    others = Topics(given.data.get("topic_prefix", ""))
    if name in {topic.name for topic in others.all()} - {others.events.name}:
        raise ValueError("a topic that nearline has no other use for")
    return name


def _in_json(secret: SecretStr, info: SerializationInfo) -> str:
    return secret.get_secret_value() if info.context == _REVEAL else str(secret)


_REVEAL = {"secrets": "revealed"}
Secret = Annotated[SecretStr, PlainSerializer(_in_json, when_used="json")]
"""Printed and dumped as asterisks, but in `Settings.revealed`."""
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
Label = Annotated[str, AfterValidator(_check_label)]
"""A node's name stands in keys of the status topic, a label's name and value in scopes of rollouts."""


class _Variables(EnvSettingsSource):
    """`NEARLINE_*`, without what was given already: labels given replace the variable's, and do not add to them."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name not in self.current_state}


class Settings(BaseSettings):
    """One object for every command, so that they all agree where things are."""

    model_config = SettingsConfigDict(env_prefix="NEARLINE_", frozen=True, extra="forbid")

    data_dir: Path = Field(
        default_factory=lambda: user_data_path("nearline"),
        description="Folder that the processes of a node share: embedded bus, store, artifacts, models on disk.",
    )
    bus: str = Field("embedded", description="`embedded`, or `kafka://host:port[,host:port…]`.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"] = Field(
        "PLAINTEXT",
        description="How to speak with Kafka: `SSL` = TLS, `SASL_SSL` = TLS and a login; the others do not encrypt.",
    )
    kafka_tls_ca: Path | None = Field(
        None, description="PEM file of the CA that signed the brokers' certificates; none = the system's CAs."
    )
    kafka_tls_certificate: Path | None = Field(
        None, description="PEM file of this client's certificate, where brokers ask for one (mTLS)."
    )
    kafka_tls_key: Path | None = Field(None, description="PEM file of its key; none = in the certificate's file.")
    kafka_tls_key_password: Secret | None = Field(None, description="Password of that key.")
    kafka_sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="How to log in: `SCRAM-SHA-512`, `SCRAM-SHA-256`, `PLAIN` or `OAUTHBEARER`."
    )
    kafka_user: str = Field("", description="User of a login by SCRAM or PLAIN.")
    kafka_password: Secret | None = Field(None, description="Its password.")
    kafka_password_file: Path | None = Field(
        None, description="File with the password instead, read for each new connection of a client."
    )
    kafka_token_file: Path | None = Field(
        None, description="OAUTHBEARER: file with the token, read for each login; somebody else keeps it fresh."
    )
    kafka_token_url: str = Field(
        "", description="OAUTHBEARER: token endpoint to ask for tokens (client credentials), `https://…`."
    )
    kafka_token_ca: Path | None = Field(
        None, description="PEM file of the CA of the token endpoint; none = the system's CAs."
    )
    kafka_token_client_id: str = Field("", description="OAUTHBEARER: client to ask for tokens as.")
    kafka_token_client_secret: Secret | None = Field(None, description="Its secret.")
    kafka_token_client_secret_file: Path | None = Field(None, description="File with that secret instead.")
    kafka_token_scope: str = Field("", description="OAUTHBEARER: scope to ask for; empty = none.")
    store: Annotated[str, AfterValidator(_check_store)] = Field(
        "lmdb", description="`lmdb` (one node), or `redis://host:port/db` (shared by nodes)."
    )
    store_bytes: int = Field(
        16 << 30,
        ge=1 << 20,
        le=60 << 30,
        description="Bytes that a store over `lmdb` may take; what would make it larger is refused.",
    )
    durability: Literal["batch", "process"] = Field(
        "batch",
        description="What a store over `lmdb` survives: `batch`: a loss of power, as every write is synced; "
        "`process`: the end of a process only, but faster; after a loss of power the store starts empty.",
    )
    snapshot_every_s: float = Field(
        0.0,
        ge=0,
        description="Seconds between snapshots of a store over `lmdb`, taken by any of the nodes; 0 = none by itself.",
    )
    snapshots_kept: int = Field(3, ge=1, description="The newest snapshots, so many, stay in the artifact store.")
    restore: bool = Field(
        True, description="Whether a node that has no store yet, over `lmdb`, begins with the newest snapshot."
    )
    artifacts: str = Field(
        "", description="fsspec URL of the artifact store; empty = `artifacts` in the data directory."
    )
    topic_prefix: str = Field("nearline.", description="First part of every topic's name.")
    events_topic: Annotated[str, AfterValidator(_check_topic)] = Field(
        "",
        description="Topic of the events; empty = `events` with the prefix. One that exists is read as it is: tell how "
        "long it keeps them in `NEARLINE_EVENT_RETENTION_S`.",
    )
    event_partitions: int = Field(8, ge=1, le=4096, description="Partitions of `events` when it is created.")
    event_retention_s: int = Field(7 * 24 * 3600, ge=1, description="Seconds that events are kept.")

    node: Label = Field(
        default_factory=_default_node, description="Name of this node; no other on the bus may have it."
    )
    labels: dict[Label, Label] = Field(
        default_factory=dict, description='Labels that scopes of rollouts match, as JSON: `{"region":"eu"}`.'
    )
    host: str = Field("127.0.0.1", description="Address that the gRPC server listens on.")
    port: int = Field(8500, ge=0, le=65535, description="Port of the gRPC server; 0 = any free one.")
    metrics_port: int = Field(9500, ge=0, le=65535, description="Port of `/metrics`, `/healthz`, `/readyz`.")
    workers: int = Field(2, ge=1, le=256, description="Serving workers of a node.")
    nearline_workers: int = Field(1, ge=0, le=256, description="Near-line workers of a node.")
    nearline_nice: int = Field(
        5,
        ge=0,
        le=19,
        description="How far near-line workers give way to serving workers on a core that both need, as `nice` does: "
        "with 5 they get a quarter of it; 0 = half.",
    )
    grace_s: float = Field(10.0, ge=0, description="Seconds that requests get to end when a node stops.")
    max_message_bytes: int = Field(4 << 20, ge=1024, description="Largest gRPC message that is accepted.")
    transport: Literal["grpcio", "native"] = Field(
        "native", description="What carries gRPC: `native`, nearline's own (docs/transport.md), or `grpcio`."
    )
    rpc_limits: dict[str, float] = Field(
        default_factory=dict, description="Limits of the transport `native` other than its defaults, as JSON."
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file of the server's certificate; with it the transport `native` speaks TLS."
    )
    tls_key: Path | None = Field(None, description="PEM file of its key.")
    tls_client_ca: Path | None = Field(None, description="PEM file of the CA whose certificates clients must show.")
    access_file: Path | None = Field(
        None, description="File that says who may call what (docs/transport.md); without it, everybody everything."
    )
    max_batch: int = Field(64, ge=1, description="Rows that one online run of a model takes at most.")
    inline_run_s: float = Field(
        0.001,
        ge=0,
        description="Seconds of a core that an online run may take on the event loop itself; one of 16 rows or more "
        "may take three times as long. What takes longer gets a thread; 0 = all do.",
    )
    max_waiting_rows: int = Field(
        4096, ge=1, description="Rows that may wait for a version to run online; more requests are refused."
    )
    max_wait_s: float = Field(
        2.0,
        gt=0,
        description="Seconds that a request may have to wait for that; one that would wait longer is refused.",
    )
    nearline_batch: int = Field(4096, ge=1, description="Events that a near-line worker folds in one step at most.")

    nearline_share_s: float = Field(
        0.1, gt=0, description="Seconds that a version gets in a step; what does not fit is marked as due."
    )
    lateness_s: int = Field(
        3600, ge=0, le=90 * 86_400, description="Seconds that an event may be older than the entity's newest one."
    )
    late_dead_letters: bool = Field(
        False, description="Events that come later become dead letters, beside being counted."
    )
    oldest_event_s: int = Field(0, ge=0, description="Older events cause no prediction, only states; 0 = all do.")
    stall_s: float = Field(
        30.0, gt=0, description="A consumer that stands still for so long with events waiting is made anew."
    )
    former_bytes: int = Field(
        4 << 30, ge=0, description="Bytes that predictions of a model's former versions may take, for a way back."
    )
    former_age_s: int = Field(7 * 86_400, ge=0, description="Seconds that they are kept.")
    inactive_s: int = Field(
        180 * 86_400,
        ge=3600,
        description="Seconds that an entity is kept after its last event; has to be longer than windows.",
    )
    event_mapping: dict[str, Any] | None = Field(
        None, description="How to read events that are not in nearline's own format, as JSON: see docs/nearline.md."
    )

    signing_key: Path | None = Field(
        None, description="File of `nearline keys new` that signs whatever is published and said; empty = unsigned."
    )
    signing_passphrase: SecretStr = Field(SecretStr(""), description="What opens that file, if it is encrypted.")
    sign_bundles: bool = Field(
        True, description="Whether the key signs bundles, too (needs the extra `signing`), beside what is said of them."
    )
    trusted_keys: Path | None = Field(
        None,
        description="YAML file, or folder of them, that says whose statements count (docs/security.md); without it, "
        "everybody's.",
    )
    require_bundle_signature: bool = Field(
        False, description="Nodes refuse bundles that no trusted key has signed (needs the extra `signing`)."
    )

    max_bundle_bytes: int = Field(8 << 30, ge=1024, description="Largest bundle that a node fetches.")
    bundle_cache_bytes: int = Field(
        32 << 30, ge=0, description="Bundles that a node keeps on its disk; beyond it, those that nobody uses go."
    )
    trial_timeout_s: float = Field(60.0, gt=0, description="Seconds that a model may take to load and run on trial.")
    trial_memory_bytes: int = Field(8 << 30, description="Address space of the trial, beside the bundle's size.")
    model_memory_bytes: int | None = Field(
        None,
        ge=0,
        description="Bytes that the models loaded by one worker may take, an old and a new version together; 0 = any; "
        "none = four fifths of the machine's or container's memory, split between the node's workers, and never more "
        "than is free.",
    )
    model_memory_policy: Literal["refuse", "unload_first"] = Field(
        "refuse",
        description="Where a new version does not fit beside the one that it replaces: `refuse` it, or `unload_first`, "
        "and answer nothing (UNAVAILABLE) until it is loaded.",
    )
    circuit_failures: int = Field(
        20,
        ge=0,
        description="Rows of `circuit_rows` that may fail (NaN, Inf, wrong shape) before a version is taken away.",
    )
    circuit_rows: int = Field(200, ge=1, description="Rows of a version, within one process, among which they count.")
    retry_first_s: float = Field(1.0, gt=0, description="Wait before the first retry of a failed load; then doubled.")
    retry_most_s: float = Field(300.0, gt=0, description="Longest wait between retries of a failed load.")

    traces: Annotated[str, AfterValidator(_check_traces)] = Field(
        "",
        description="Where spans of requests go, by OTLP over gRPC: http://host:4317, or `otlp`: where "
        "OTEL_EXPORTER_OTLP_ENDPOINT says; empty = no traces. See docs/operations.md.",
    )
    log_format: Literal["json", "human", "auto"] = Field(
        "auto", description="`json`, `human`, or `auto`: human on a terminal."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="`debug`, `info`, `warning` or `error`."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Say where values come from: what is given wins over variables."""
        del env_settings, dotenv_settings, file_secret_settings
        return init_settings, _Variables(settings_cls)

    def revealed(self, *, exclude_unset: bool = False) -> str:
        """As JSON with secrets as they are: for processes of ours, by pipe or environment, and for nothing else."""
        return self.model_dump_json(context=_REVEAL, exclude_unset=exclude_unset)

    @property
    def topics(self) -> Topics:
        """The topics of this installation."""
        return Topics(self.topic_prefix, self.event_partitions, self.event_retention_s, self.events_topic)

    @property
    def artifacts_url(self) -> str:
        """The artifact store's root as a URL."""
        return self.artifacts or (self.data_dir.absolute() / "artifacts").as_uri()
