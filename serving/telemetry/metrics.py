"""Every metric of a worker. Made once by the composition root; the supervisor adds the workers' files up.

With PROMETHEUS_MULTIPROC_DIR set, prometheus_client keeps each process's numbers in a file of that folder.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.telemetry.rpc import RpcMetrics

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)


class Metrics:
    """Names begin with `nearline_`; counters end in `_total`, times are seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rpc = RpcMetrics(registry)
        self.requests = Counter(
            "nearline_requests", "RPCs by method and gRPC status.", ["method", "code"], registry=registry
        )
        self.request_seconds = Histogram(
            "nearline_request_seconds", "Time of an RPC.", ["method"], buckets=SECONDS, registry=registry
        )
        self.recommendations = Counter(
            "nearline_recommendations",
            "Answers of Recommend by model, version, source and traffic.",
            ["model", "version", "source", "traffic"],
            registry=registry,
        )
        self.online_rows = Histogram(
            "nearline_online_batch_rows",
            "Rows of one online run of a model.",
            ["model"],
            buckets=ROWS,
            registry=registry,
        )
        self.online_refused = Counter(
            "nearline_online_refused",
            "Requests that no model was run for: `overload`, or past their `deadline` when their turn came.",
            ["model", "reason"],
            registry=registry,
        )
        self.transitions = Counter(
            "nearline_instance_transitions",
            "States that model instances entered.",
            ["model", "version", "role", "state"],
            registry=registry,
        )
        self.load_errors = Counter(
            "nearline_load_errors",
            "Model instances that ended FAILED or REJECTED, by kind.",
            ["model", "version", "worker", "kind"],
            registry=registry,
        )
        self.model_memory = Gauge(
            "nearline_model_memory_bytes",
            "Memory that a worker's models count for, loaded or being loaded.",
            ["worker"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.model_memory_budget = Gauge(
            "nearline_model_memory_budget_bytes",
            "What they may take; 0 = any.",
            ["worker"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.run_errors = Counter(
            "nearline_run_errors", "Runs of a model that failed.", ["model", "version"], registry=registry
        )
        self.ledger_faults = Counter(
            "nearline_ledger_faults", "Ledger records that could not be used.", ["kind"], registry=registry
        )
        self.accepts_unsigned = Gauge(
            "nearline_accepts_unsigned",
            "1 while a worker trusts no keys, and so does whatever anybody says on the ledger.",
            ["worker"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        self.trust_refused = Counter(
            "nearline_trust_refused",
            "Changed files of trusted keys that could not be used; the former keys stayed.",
            ["worker"],
            registry=registry,
        )
        self.degraded = Gauge(
            "nearline_degraded",
            "1 while a worker serves from disk because the bus is away.",
            ["worker"],
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
