"""The docs say what the program does: generated pages are current, every command and setting is named."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from catalogd.cli import cli
from catalogd.settings import describe_settings

ROOT = Path(__file__).parents[1]


def _generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "settings.md", "openapi.json", "api.md"])
def test_a_generated_page_is_current(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert (ROOT / "docs" / name).read_text("utf-8") == _generator().PAGES[name](), (
        f"docs/{name} is out of date: run `python docs/generate.py`"
    )


def test_every_command_has_a_section_and_every_setting_a_row() -> None:
    commands = (ROOT / "docs" / "cli.md").read_text("utf-8")
    settings = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for name in cli.commands:
        assert f"## catalogd {name}\n" in commands
    for name, _, _, reason in describe_settings():
        assert f"| `{name}` |" in settings
        assert len(reason) > 15, f"{name} has no reason"


@pytest.mark.parametrize(
    "page", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda page: page.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
