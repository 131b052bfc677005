"""`nearline bench`: load a running node as its clients will, and see how fast it answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from serving.cli.files import read_lines
from serving.cli.options import Json, load_settings, parse_labels
from serving.errors import InvalidRequestError, NearlineError
from serving.loadtest.answers import answered, source_of
from serving.loadtest.chart import check_chart, draw
from serving.loadtest.describe import describe
from serving.loadtest.fleet import run
from serving.loadtest.inferring import INFER, infer_requests
from serving.loadtest.outcome import Outcome
from serving.loadtest.plan import Closed, Open, Plan
from serving.loadtest.requests import ENTITIES, RECOMMEND, ZIPF, entities, recommend_requests
from serving.loadtest.screen import Progress, print_outcome
from serving.loadtest.secure import Tls


def bench(
    model: Annotated[str, typer.Option(help="The model, or with Recommend the objective.")],
    target: Annotated[str | None, typer.Option(help="host:port of a node. Default: this machine's.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Open loop: calls a second, by a Poisson process, however slow the server is.")
    ] = None,
    closed: Annotated[
        int | None, typer.Option(help="Closed loop: so many calls at any time; finds the peak. Default: 64.")
    ] = None,
    duration: Annotated[float, typer.Option(help="Seconds that count.")] = 10.0,
    warm: Annotated[float, typer.Option(help="Seconds of load beforehand that do not.")] = 1.0,
    entities_file: Annotated[
        Path | None, typer.Option("--entities", help="Entity ids, one a line, asked for evenly.")
    ] = None,
    zipf: Annotated[
        bool,
        typer.Option(
            "--zipf",
            help="Ask by Zipf's law with exponent 0.99: the first entities most often. Default where --entities is not "
            f"given, of {ENTITIES:,} made-up ids.",
        ),
    ] = False,
    k: Annotated[int, typer.Option("-k", help="Items an answer; 0 = all that the model gives.")] = 0,
    infer: Annotated[
        bool, typer.Option("--infer", help="Call ModelInfer with random inputs, instead of Recommend.")
    ] = False,
    rows: Annotated[int, typer.Option(help="Rows of each ModelInfer.")] = 1,
    processes: Annotated[int, typer.Option(help="Client processes.")] = 1,
    connections: Annotated[
        int, typer.Option(help="Connections of each; a node's workers share connections, not calls.")
    ] = 4,
    streams: Annotated[int, typer.Option(help="Calls that run on one connection at most.")] = 100,
    timeout: Annotated[float, typer.Option(help="Deadline of a call in seconds.")] = 10.0,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Metadata of every call. May be repeated.")
    ] = None,
    fresh_deadline: Annotated[
        bool, typer.Option("--fresh-deadline", help="Another deadline on every call, up to 5 % shorter than --timeout.")
    ] = False,
    fresh_trace: Annotated[
        bool, typer.Option("--fresh-trace", help="A traceparent on every call, as clients send that trace.")
    ] = False,
    count_only: Annotated[
        bool,
        typer.Option(
            "--count-only", help="Only count answers: costs the least, and knows no latencies. With --closed only."
        ),
    ] = False,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS; trust what the system trusts.")] = False,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM file of the CA to trust; implies --tls.")] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="PEM file of our certificate, for servers that ask for one; implies --tls.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the figures there, as JSON.")] = None,
    chart: Annotated[Path | None, typer.Option(help="Draw latency by percentile there (.png, .svg, .pdf).")] = None,
    as_json: Json = False,
) -> None:
    """Load a node with Recommend or ModelInfer, and show rates, errors, and latencies by source of the answer.

    With --rate, latency counts from when a call was due, so that a stall counts for every call that it held up. Calls
    are marked as test traffic.
    """
    if rate is not None and closed is not None:
        raise InvalidRequestError("--rate, --closed", "one of them", "both")
    for given, option in ((entities_file, "--entities"), (zipf, "--zipf"), (k, "-k")):
        if infer and given:
            raise InvalidRequestError(option, "nothing beside --infer, which asks for no entity", "it")
    settings = load_settings()
    address = target or f"{settings.host}:{settings.port}"
    if chart is not None:
        check_chart(chart)
    for file, option in ((out, "--out"), (chart, "--chart")):
        if file is not None and not file.absolute().parent.is_dir():
            raise InvalidRequestError(option, "a file in a folder that exists", file)
    if rows < 1:
        raise InvalidRequestError("--rows", "a positive number", rows)
    if k < 0:
        raise InvalidRequestError("-k", "0 or more", k)
    secure = Tls(tls_ca, tls_certificate, tls_key) if tls or tls_ca or tls_certificate or tls_key else None
    if secure is not None:
        secure.check()
    calls = _calls(address, model, entities_file, k, rows, seed, secure, infer=infer, zipf=zipf)
    requests, read, skew, path = calls
    plan = Plan(
        target=address,
        path=path,
        requests=requests,
        read=None if count_only else read,
        pacing=Open(rate) if rate is not None else Closed(64 if closed is None else closed),
        duration_s=duration,
        warm_s=warm,
        timeout_s=timeout,
        processes=processes,
        connections=connections,
        streams=streams,
        skew=skew,
        seed=seed,
        metadata=parse_labels(metadata or [], "--metadata"),
        deadline="fresh" if fresh_deadline else "same",
        traceparent=fresh_trace,
        tls=secure,
    )
    with Progress(Console(stderr=True)) as progress:
        outcome = run(plan, progress.show, progress.begun)
    _tell(outcome, out, chart, as_json=as_json)


def _calls(
    address: str,
    model: str,
    file: Path | None,
    k: int,
    rows: int,
    seed: int,
    secure: Tls | None,
    *,
    infer: bool,
    zipf: bool,
) -> tuple[list[bytes], Callable[[bytes], str], float, str]:
    """Return what is sent, how answers are told apart, how skewed, and the method."""
    if infer:
        return infer_requests(address, model, rows, seed, tls=secure), answered, 0.0, INFER
    ids = read_lines(file, "--entities")
    if ids is not None and not ids:
        raise InvalidRequestError("--entities", "at least one id", f"{file}: none")
    skew = ZIPF if zipf or ids is None else 0.0
    return recommend_requests(model, ids or entities(), k), source_of, skew, RECOMMEND


def _tell(outcome: Outcome, out: Path | None, chart: Path | None, *, as_json: bool) -> None:
    described = describe(outcome)
    if out is not None:
        try:
            out.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise InvalidRequestError("--out", "a file that can be written", f"{out}: {error}") from error
    if chart is not None:
        draw(outcome, chart)
    if not outcome.answered:
        codes = ", ".join(f"{count:,} x {code}" for code, count in outcome.errors.most_common())
        words = next((words[0] for words in outcome.messages.values() if words), "")
        raise NearlineError(f"no call was answered: {codes or 'none ended in time'}{': ' * bool(words)}{words}")
    if as_json:
        typer.echo(json.dumps(described))
    else:
        print_outcome(Console(), outcome)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)
