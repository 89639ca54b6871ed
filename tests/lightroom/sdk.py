"""A Lightroom Classic for tests: the real plugin files, run by Lua 5.1 against the SDK of `sdk.lua`.

`Lightroom` starts one; photos, keywords and collections are put in; `menu("Search.lua")` runs a menu
item until nothing is left to do. A dialog waits for an answer: a function, given to `answer` before,
that presses and types (see `Dialog`) and says how the dialog is closed.
"""

from __future__ import annotations

import datetime
import hashlib
import http.client
import re
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lupa import lua51

PLUGIN = Path(__file__).parents[2] / "lrplugin" / "catalogd.lrdevplugin"
SDK = Path(__file__).with_name("sdk.lua")
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
REAL_NAP_S = 0.02  # how long a task's sleep is in the test's own time, at most
STUCK_S = 60.0
MEMORY_BYTES = 1 << 30

Answer = Callable[["Dialog"], str | None]


class PluginError(AssertionError):
    """The plugin ended with an error that no code of its own took care of."""


def to_python(value: Any) -> Any:
    """Lua's tables as lists and dicts, its strings as text where they are UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if lua51.lua_type(value) != "table":
        return value
    keys = list(value)
    if keys and all(isinstance(key, int) for key in keys) and len(keys) == max(keys):
        return [to_python(value[number]) for number in range(1, len(keys) + 1)]
    return {to_python(key): to_python(value[key]) for key in keys}


class Dialog:
    """An open dialog, seen and used by its texts and by the keys that its views are bound to."""

    def __init__(self, lightroom: Lightroom, table: Any) -> None:
        self.lightroom = lightroom
        self._table = table
        self.kind: str = to_python(table[b"kind"])
        self.text: str = to_python(table[b"text"])
        self.info: str | None = to_python(table[b"info"])

    def __repr__(self) -> str:
        return f"<{self.kind}: {self.text!r} {self.info or ''!r} {self.texts() if self.has_views else ''}>"

    @property
    def has_views(self) -> bool:
        return self._table[b"contents"] is not None

    def views(self) -> list[Any]:
        found = self.lightroom.control[b"views"](self._table) if self.has_views else None
        return [found[number] for number in range(1, len(found) + 1)] if found is not None else []

    def texts(self) -> list[str]:
        """Every title and value that can be seen, from top to bottom."""
        shown = []
        for view in self.views():
            if view[b"visible"] is False:
                continue
            for key in (b"title", b"value"):
                if isinstance(view[key], bytes):
                    shown.append(view[key].decode())
        return shown

    @property
    def all_text(self) -> str:
        return "\n".join([self.text, self.info or "", *self.texts()])

    def _view(self, matches: Callable[[Any], bool], what: str) -> Any:
        found = [view for view in self.views() if matches(view)]
        assert found, f"no {what} in {self.texts()}"
        return found[0]

    def press(self, title: str) -> None:
        """Presses the button with this title (or the start of it), and lets its tasks run."""
        kinds = (b"push_button", b"picture", b"static_text")

        def is_it(view: Any) -> bool:
            return view[b"kind"] in kinds and (view[b"title"] or b"").decode().startswith(title)

        self.lightroom.control[b"press"](self._view(is_it, f"button {title!r}"))
        self.lightroom.run()

    def set(self, key: str, value: Any) -> None:
        """What the view bound to the property `key` is given by typing or choosing."""
        view = self._view(lambda view: view[b"bound_value"] == key.encode(), f"view bound to {key!r}")
        self.lightroom.control[b"choose"](view, self.lightroom.to_lua(value))
        self.lightroom.run()

    def get(self, key: str) -> Any:
        view = self._view(lambda view: view[b"bound_value"] == key.encode(), f"view bound to {key!r}")
        return to_python(view[b"value"])

    def items(self, key: str) -> Any:
        view = self._view(lambda view: view[b"bound_value"] == key.encode(), f"view bound to {key!r}")
        return to_python(view[b"items"])

    def enabled(self, title: str) -> bool:
        view = self._view(lambda view: (view[b"title"] or b"").decode().startswith(title), f"view {title!r}")
        return view[b"enabled"] is not False


class Lightroom:
    """One running Lightroom with the plugin loaded.

    `host` is where requests go; every request is kept in `requests` as (method, path, status or None).
    `folders`: where the standard folders are (a new temporary folder for each, when not given).
    """

    def __init__(
        self,
        *,
        plugin: Path = PLUGIN,
        language: str = "en",
        windows: bool = False,
        version: tuple[int, int] = (14, 3),
        local: str | None = None,
        preferences: dict[str, Any] | None = None,
        passwords: dict[str, str] | None = None,
        opened: bool = True,
    ) -> None:
        """`local`: the text of a `Local.lua`, as `catalogd lightroom install` writes it."""
        self.plugin, self.local = plugin, local
        self.requests: list[tuple[str, str, int | None]] = []
        self.bodies: list[bytes | None] = []
        self.answers: list[Answer] = []
        self.before_request: Callable[[str, str], None] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="lightroom-")
        self._connections: dict[str, http.client.HTTPConnection] = {}
        self.lua = lua51.LuaRuntime(
            encoding=None,
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            max_memory=MEMORY_BYTES,
        )
        self.lua.globals()[b"python"] = None
        load = self.lua.eval(b"function(source) return assert(loadstring(source, '@sdk.lua')) end")
        self.control: Any = load(SDK.read_bytes())(self._host())
        self.control[b"language"] = language.encode()
        self.control[b"version"] = self.to_lua(
            {"major": version[0], "minor": version[1], "revision": 0, "build": 1}
        )
        for key, text in translations(plugin, language).items():
            self.control[b"translations"][key.encode()] = text.encode()
        for name, value in (preferences or {}).items():
            self.control[b"preferences"][name.encode()] = self.to_lua(value)
        for name, value in (passwords or {}).items():
            self.control[b"passwords"][name.encode()] = value.encode()
        if opened:
            self.control[b"open"](windows)
            self.run()

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._folder.cleanup()

    def __enter__(self) -> Lightroom:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── values and calls ──────────────────────────────────────────────────────────────────────

    def to_lua(self, value: Any) -> Any:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, dict):
            return self.lua.table_from({self.to_lua(key): self.to_lua(item) for key, item in value.items()})
        if isinstance(value, list | tuple):
            return self.lua.table_from([self.to_lua(item) for item in value])
        return value

    def require(self, name: str) -> Any:
        """A module of the plugin, as Lua has it."""
        return self.control[b"require"](name.encode())

    def evaluate(self, source: str, *arguments: Any) -> Any:
        """Runs Lua text as a task of the plugin's; gives what it returns. `...` are the arguments."""
        run = self.lua.eval(
            b"function(control, source, ...) local f = assert(loadstring(source, '@test'))"
            b" local arguments, n, box = {...}, select('#', ...), {}"
            b" control.task(f, box, unpack(arguments, 1, n)) return box end"
        )
        box = run(self.control, source.encode(), *(self.to_lua(argument) for argument in arguments))
        self.run()
        self.check()
        found = [to_python(box[number]) for number in range(1, (box[b"n"] or 0) + 1)]
        return found[0] if len(found) == 1 else tuple(found)

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind of call was made: requests, gates, batch_reads, single_reads, finds …"""
        return {key.decode(): value for key, value in self.control[b"counts"].items()}

    def reset_counts(self) -> None:
        self.control[b"counts"] = self.lua.table()
        self.requests.clear()
        self.bodies.clear()

    # ── running ───────────────────────────────────────────────────────────────────────────────

    def menu(self, name: str, *answers: Answer) -> None:
        """Chooses a menu item and sees it through. `answers`: to its dialogs, in order."""
        self.answers += answers
        self.control[b"menu"](name.encode())
        self.run()
        self.check()
        left, self.answers = self.answers, []
        assert not left, f"{len(left)} answers were not asked for; dialogs: {self.dialogs}"

    def check(self) -> None:
        """Raises when a task ended with an error."""
        errors = self.control[b"errors"]
        if len(errors):
            texts = [f"{row[b'message'].decode()}\n{row[b'trace'].decode()}" for row in errors.values()]
            self.control[b"errors"] = self.lua.table()
            raise PluginError("\n".join(texts))

    def run(self) -> None:
        """Until no task is left, or what is left waits for the dialog that is open."""
        end = time.monotonic() + STUCK_S
        while time.monotonic() < end:
            left, seconds = self.control[b"rounds"](100_000)
            waiting = self.control[b"waiting"]
            if waiting is not None and not waiting[b"handled"]:
                self._ask(waiting)
                continue
            if not left:
                return
            if waiting is not None and self._only_waits(waiting):
                return
            self._nap(seconds)
        raise PluginError("the plugin's tasks never end")

    def _only_waits(self, waiting: Any) -> bool:
        """Inside a dialog's answer: nothing but the dialog (it looks every 0.01 s) is left to run."""
        soonest = self.control[b"soonest"](waiting)
        if soonest is None:
            return True
        self._nap(soonest)
        return False

    def _nap(self, seconds: float) -> None:
        self.control[b"now"] = self.control[b"now"] + seconds
        if seconds > 0.05:
            time.sleep(min(seconds, REAL_NAP_S))

    def _ask(self, waiting: Any) -> None:
        waiting[b"handled"] = True
        dialog = Dialog(self, waiting)
        if not self.answers:
            self.control[b"answer"](waiting, b"cancel")
            raise PluginError(f"nobody expected this dialog: {dialog}")
        result = self.answers.pop(0)(dialog) or "ok"
        if waiting[b"result"] is None:
            self.control[b"answer"](waiting, result.encode())

    # ── what was shown ────────────────────────────────────────────────────────────────────────

    @property
    def dialogs(self) -> list[Dialog]:
        return [Dialog(self, table) for table in self.control[b"dialogs"].values()]

    @property
    def messages(self) -> list[str]:
        """The texts of the messages and errors that were shown, oldest first."""
        return [d.all_text for d in self.dialogs if d.kind in ("message", "error", "bezel")]

    def forget_dialogs(self) -> None:
        self.control[b"dialogs"] = self.lua.table()

    @property
    def scopes(self) -> list[dict[str, Any]]:
        """The progress scopes: title, captions, done, total, cancelled, finished."""
        return [to_python(scope) for scope in self.control[b"scopes"].values()]

    @property
    def undo_steps(self) -> list[str]:
        return [to_python(step[b"name"]) for step in self.control[b"history"].values()]

    def undo(self) -> str | None:
        name = self.control[b"undo"]()
        return None if name is None else to_python(name)

    def settings(self, use: Callable[[Dialog], None]) -> None:
        """Opens the plug-in manager, lets `use` press and type there, and closes it."""
        table, _, close = self.control[b"settings"]()
        use(Dialog(self, table))
        self.run()
        close()
        self.run()
        self.check()

    # ── the catalog ───────────────────────────────────────────────────────────────────────────

    def add_photo(
        self,
        path: str,
        *,
        keywords: Iterable[Sequence[str]] = (),
        master: Any = None,
        **values: Any,
    ) -> Any:
        """`keywords`: the names of each from its root. `values`: raw metadata (and title, caption …)."""
        known = {
            "uuid": str(uuid.uuid4()).upper(),
            "path": path,
            "fileFormat": "RAW" if path.lower().endswith((".nef", ".cr3", ".raf")) else "JPG",
            **values,
        }
        photo = self.control[b"add_photo"](self.to_lua(known), master)
        for names in keywords:
            self.control[b"tag"](photo, self.add_keyword(*names))
        return photo

    def add_keyword(self, *names: str, synonyms: Sequence[str] = (), person: bool = False) -> Any:
        return self.control[b"add_keyword"](self.to_lua(list(names)), self.to_lua(list(synonyms)), person)

    def tag(self, photo: Any, *names: str) -> None:
        self.control[b"tag"](photo, self.add_keyword(*names))

    def add_collection(
        self, *names: str, photos: Sequence[Any] = (), rules: dict[str, Any] | None = None
    ) -> Any:
        given = None if rules is None else self.to_lua(rules)
        return self.control[b"add_collection"](
            self.to_lua(list(names)), self.lua.table_from(list(photos)), given
        )

    def edit(self, photo: Any, key: str, value: Any) -> None:
        """A person changes a photo in Lightroom itself."""
        self.control[b"now"] = self.control[b"now"] + 10
        self.control[b"edit"](photo, key.encode(), self.to_lua(value))

    def select(self, *photos: Any) -> None:
        self.control[b"select"](self.lua.table_from(list(photos)))

    def show(self, collection: Any) -> None:
        """Makes a collection what the grid shows."""
        self.control[b"show_source"](collection)

    @property
    def selected(self) -> list[Any]:
        return list(self.control[b"selected"]().values())

    @property
    def sources(self) -> list[str]:
        """The names of what the grid shows."""
        found = to_python(self.control[b"source_names"]())
        return list(found) if found else []

    def photo(self, photo: Any) -> dict[str, Any]:
        """{"values": raw metadata, "keywords": ["A|B"], "properties": custom fields, "master": uuid}."""
        data = to_python(self.control[b"photo_data"](photo))
        for name, empty in (("keywords", []), ("properties", {})):
            data[name] = data[name] or empty
        return dict(data)

    @property
    def keywords(self) -> dict[str, Any]:
        return dict(to_python(self.control[b"keyword_tree"]()))

    @property
    def collections(self) -> dict[str, Any]:
        """{"set": {"set": {…}}, "collection": {"photos": [uuid], "smart": rules}}."""
        return dict(to_python(self.control[b"collection_tree"]()))

    def snapshot(self, photos: Iterable[Any]) -> Any:
        """Everything that the plugin can change, to compare."""
        return [self.photo(photo) for photo in photos], self.keywords, self.collections

    def contend(self, gates: int) -> None:
        """Somebody else holds the catalog when the next `gates` gates are asked for."""
        self.control[b"contended"] = gates

    def cancel_at(self, done: int | None) -> None:
        """The next progress scope is cancelled by its button when `done` are done."""
        self.control[b"cancel_at"] = done

    # ── what the Lua side calls ───────────────────────────────────────────────────────────────

    def _host(self) -> Any:
        functions = {
            "http": self._http,
            "plugin_file": self._plugin_file,
            "folder": self._standard_folder,
            "exists": self._exists,
            "read_file": self._read_file,
            "is_readable": self._is_readable,
            "delete_file": lambda path: Path(path.decode()).unlink() or True,
            "make_folder": lambda path: Path(path.decode()).mkdir(parents=True, exist_ok=True),
            "unique_name": self._unique_name,
            "size": lambda path: Path(path.decode()).stat().st_size,
            "lower": lambda text: text.decode("utf-8", "replace").lower().encode(),
            "upper": lambda text: text.decode("utf-8", "replace").upper().encode(),
            "grouped": lambda number, digits: f"{number:,.{int(digits)}f}".encode(),
            "md5": lambda text: hashlib.md5(text).hexdigest().encode(),
            "uuid": lambda: str(uuid.uuid4()).upper().encode(),
            "w3c": lambda unix: datetime.datetime.fromtimestamp(unix, datetime.UTC).isoformat()[:19].encode(),
            "user_date": self._user_date,
            "open_panel": lambda: None,
            "execute": lambda _: 0,
            "jpeg": lambda: JPEG,
        }
        return self.lua.table_from({name.encode(): function for name, function in functions.items()})

    def _plugin_file(self, name: bytes) -> bytes | None:
        if name == b"Local.lua" and self.local is not None:
            return self.local.encode()
        path = self.plugin / name.decode()
        return path.read_bytes() if path.is_file() else None

    def _standard_folder(self, name: bytes) -> bytes:
        if name == b"plugin":
            return bytes(self.plugin)
        folder = Path(self._folder.name) / name.decode()
        folder.mkdir(exist_ok=True)
        return bytes(folder)

    def _exists(self, path: bytes) -> bytes | None:
        found = Path(path.decode())
        if self.local is not None and found == self.plugin / "Local.lua":
            return b"file"
        return b"directory" if found.is_dir() else b"file" if found.exists() else None

    def _is_readable(self, path: bytes) -> bool:
        """By the file's own mode: the tests may run as root."""
        found = Path(path.decode())
        return bool(self._exists(path)) and (not found.exists() or bool(found.stat().st_mode & 0o400))

    def _read_file(self, path: bytes) -> bytes | None:
        found = Path(path.decode())
        if self.local is not None and found == self.plugin / "Local.lua":
            return self.local.encode()
        return found.read_bytes() if found.is_file() else None

    @staticmethod
    def _unique_name(path: bytes) -> bytes:
        wanted, number = Path(path.decode()), 1
        found = wanted
        while found.exists():
            number += 1
            found = wanted.with_stem(f"{wanted.stem}-{number}")
        return bytes(found)

    @staticmethod
    def _user_date(unix: float, form: bytes) -> bytes:
        return datetime.datetime.fromtimestamp(unix, datetime.UTC).strftime(form.decode()).encode()

    def _http(
        self, method: bytes, url: bytes, body: bytes | None, headers: Any, timeout: float
    ) -> tuple[Any, Any, Any, Any]:
        """(body, status, headers, None), or (None, None, None, code of the error)."""
        parts = urllib.parse.urlsplit(url.decode("ascii"))
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        if self.before_request is not None:
            self.before_request(method.decode(), path)
        sent = {headers[n][b"field"].decode(): headers[n][b"value"] for n in range(1, len(headers) + 1)}
        self.bodies.append(body)
        try:
            answer = self._send(parts, method.decode(), path, body, sent, timeout)
        except TimeoutError:
            self.requests.append((method.decode(), path, None))
            return None, None, None, b"timedOut"
        except OSError:
            self.requests.append((method.decode(), path, None))
            return None, None, None, b"cannotConnectToHost"
        self.requests.append((method.decode(), path, answer[1]))
        found = {name.encode("latin-1"): value.encode("latin-1") for name, value in answer[2]}
        return answer[0], answer[1], self.lua.table_from(found), None

    def _send(
        self,
        parts: urllib.parse.SplitResult,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, bytes],
        timeout: float,
    ) -> tuple[bytes, int, list[tuple[str, str]]]:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            return response.read(), response.status, response.getheaders()
        finally:
            connection.close()


_LINE = re.compile(r'^"(\$\$\$/[^=]+)=(.*)"$')


def translations(plugin: Path, language: str) -> dict[str, str]:
    """Key → text of a TranslatedStrings file, none for English."""
    file = plugin / f"TranslatedStrings_{language}.txt"
    if language == "en" or not file.exists():
        return {}
    found = {}
    for line in file.read_text("utf-8-sig").splitlines():
        match = _LINE.match(line)
        assert match or not line.strip(), f"not a line of strings: {line!r}"
        if match:
            found[match[1]] = match[2].replace('\\"', '"')
    return found
