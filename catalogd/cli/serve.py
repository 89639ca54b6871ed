"""`catalogd serve` and `catalogd token`: the HTTP API without a run, and what opens it."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from catalogd.cli.base import LoadSettings, cli, echo

# ── serve ─────────────────────────────────────────────────────────────────────────────────────


@cli.command()
@click.option("--host", help="The address to listen at.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Its port; 0 takes any.  [default: 8766]")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="A certificate (PEM): speak TLS.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key (PEM).")
@click.option("--insecure", is_flag=True, default=None, help="Serve other machines without TLS.")
@click.pass_obj
def serve(
    load: LoadSettings,
    host: str | None,
    port: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: bool | None,
) -> None:
    """Serve the HTTP API while nothing is indexed. A `catalogd run` that watches serves it too.

    Ctrl-C ends it once what was asked is answered (exit code 0); a second one at once (130).
    """
    from catalogd.web.server import serve_here
    from catalogd.web.tokens import token_path

    settings = load(
        http_host=host,
        http_port=port,
        http_tls_cert=tls_cert,
        http_tls_key=tls_key,
        http_insecure=insecure,
    )

    def tell(url: str) -> None:
        echo(f"API at {url}")
        echo(f"token in {token_path(settings)}; `catalogd token` shows it. Ctrl-C ends this")

    serve_here(settings, tell, _stop_by_signals())


def _stop_by_signals() -> threading.Event:
    """Set by the first Ctrl-C or SIGTERM; a second one is a KeyboardInterrupt."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop


# ── token ─────────────────────────────────────────────────────────────────────────────────────


@cli.group(invoke_without_command=True)
@click.pass_context
def token(ctx: click.Context) -> None:
    """The token that programs show to the HTTP API. Without a command: show."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(show)


@token.command()
@click.pass_obj
def show(load: LoadSettings) -> None:
    """Print the token; it is made when there is none. Who has it sees the whole catalog."""
    from catalogd.web.tokens import ensure_token, token_path

    click.echo(ensure_token(token_path(load())))


@token.command()
@click.pass_obj
def new(load: LoadSettings) -> None:
    """Make another token: the one before opens nothing any more, also in servers that run."""
    from catalogd.web.tokens import renew_token, token_path

    file = token_path(load())
    renew_token(file)
    echo(f"a new token is in {file}; `catalogd token` shows it. Programs that use the API need it")
