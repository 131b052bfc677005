"""Structured logs on standard error: one line an event that matters, with node and worker on each."""

import logging
import sys

import structlog


def configure_logs(
    log_format: str, level: str, *, stamp: structlog.typing.Processor | None = None, **context: str
) -> None:
    """Set up structlog for this process; `log_format` is json, human or auto. `context` stands on every line.

    stamp: adds what varies from line to line.
    """
    human = log_format == "human" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if human:
        renderer = structlog.dev.ConsoleRenderer(pad_event_to=20, colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if human else [structlog.processors.format_exc_info]),
            _with(context),
            *([stamp] if stamp is not None else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        # Line and line break in one write: the processes of a node share the file.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def _with(context: dict[str, str]) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, **context}

    return add
