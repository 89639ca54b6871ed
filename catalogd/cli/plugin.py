"""`catalogd lightroom`: the Lightroom Classic plugin put where Lightroom looks, taken away, packed."""

from __future__ import annotations

from pathlib import Path

import click

from catalogd.cli.base import LoadSettings, cli, echo

_TO = click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to put it in  [default: Lightroom's own Modules folder]",
)


@cli.group()
def lightroom() -> None:
    """The plugin for Lightroom Classic: docs/lightroom.md."""


@lightroom.command()
@_TO
@click.pass_obj
def install(load: LoadSettings, folder: Path | None) -> None:
    """Put the plugin where Lightroom finds it, over an older one.

    It is told where the catalogd of this machine is, so that nothing has to be typed in Lightroom.
    """
    from catalogd import plugin

    target, replaced = plugin.install(folder or plugin.modules_folder(), load())
    version = plugin.version_of(target)
    echo(f"{target}: version {version}" + (f", in place of {replaced}" if replaced else ""))
    if folder is None:
        echo("Start Lightroom Classic again: the commands are under Library > Plug-in Extras.")
    else:
        echo("In Lightroom Classic: File > Plug-in Manager > Add, and choose this folder.")


@lightroom.command()
@_TO
def uninstall(folder: Path | None) -> None:
    """Take the plugin away.

    What it wrote in Lightroom stays; its command "Take back what catalogd wrote" removes that before.
    """
    from catalogd import plugin

    target, left = plugin.uninstall(folder or plugin.modules_folder())
    echo(f"{target}: removed")
    for path in left:
        echo(f"  stays, it is not the plugin's: {path}")


@lightroom.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.zip")
def package(file: Path) -> None:
    """Pack the plugin for another machine: unpack it there, and add it in Lightroom's Plug-in Manager.

    The address and the token of catalogd are then typed in its settings.
    """
    from catalogd import plugin

    count = plugin.package(file)
    echo(f"{file}: {plugin.NAME} {plugin.version_of(plugin.plugin_folder())}, {count} files")
