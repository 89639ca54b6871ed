"""`catalogd doctor`, `demo` and `completion`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from catalogd.cli.base import LoadSettings, cli, print_json
from catalogd.cli.hits import NO_OUTPUTS, show_results
from catalogd.cli.run import run_library

# ── doctor, demo ───────────────────────────────────────────────────────────────────────────────


def _plain(row: Any) -> dict[str, Any]:
    import dataclasses

    import msgspec

    plain = dataclasses.asdict(row) if dataclasses.is_dataclass(row) and not isinstance(row, type) else row
    result: dict[str, Any] = msgspec.to_builtins(plain)
    return result


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a finding.")
@click.pass_obj
def doctor(load: LoadSettings, as_json: bool) -> None:
    """What is missing on this machine, and the command that fixes it. Exit code 1 when something is."""
    from catalogd.doctor import examine
    from catalogd.terminal import escaped

    findings = examine(load())
    for finding in findings:
        if as_json:
            print_json(_plain(finding))
        else:
            mark = click.style("ok     ", fg="green") if finding.ok else click.style("missing", fg="red")
            if finding.ok is None:
                mark = click.style("note   ", fg="yellow")
            click.echo(f"{mark}  {escaped(finding.name)}: {escaped(finding.text)}")
            if finding.fix:
                click.echo(f"         → {escaped(finding.fix)}")
    sys.exit(1 if any(finding.ok is False for finding in findings) else 0)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Hits as JSON, one object each.")
@click.pass_obj
def demo(load: LoadSettings, as_json: bool) -> None:
    """Index a few real photos that come inside installed packages, and run three queries."""
    import dataclasses
    import tempfile

    from catalogd.demo import DEMO_QUERIES, demo_photos
    from catalogd.query.searcher import Searcher

    with tempfile.TemporaryDirectory(prefix="catalogd-demo-") as folder:
        photos = demo_photos(Path(folder) / "photos")
        settings = dataclasses.replace(load(), catalog=Path(folder) / "catalog")
        code = run_library(settings, [os.fsencode(photos)], as_json=False, once=True)
        with Searcher(settings) as searcher:
            for text in DEMO_QUERIES:
                if not as_json:
                    click.secho(f"\n$ catalogd query {text!r} -n 3", bold=True)
                show_results(settings, searcher.search(text, 3), text, {**NO_OUTPUTS, "as_json": as_json})
    sys.exit(code)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL: `eval "$(catalogd completion bash)"`."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "catalogd", "_CATALOGD_COMPLETE").source())
