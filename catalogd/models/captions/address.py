"""Where captions may come from: the server's address, and whether photos and a key may go there."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from catalogd.errors import SettingsError
from catalogd.models.captions.apis import APIS
from catalogd.settings import Settings

_PRIVATE = tuple(
    ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


@dataclasses.dataclass(frozen=True)
class Server:
    """Where captions come from, checked."""

    url: str  # of the endpoint
    host: str
    is_here: bool  # on this machine
    is_encrypted: bool

    @property
    def takes_key(self) -> bool:
        return self.is_encrypted or self.is_here


def checked(settings: Settings) -> Server:
    """The server of the settings. Raises SettingsError that says what about it is not safe, or wrong."""
    parts = _split(settings.caption_server)
    host = parts.hostname or ""
    is_here = _is_loopback(host)
    if parts.scheme == "http" and not is_here and not _is_private(host):
        raise SettingsError(
            f"caption_server: photos would travel to {host} in the clear; use https://. "
            "http:// is for this machine and for addresses (not names) in private networks"
        )
    if not settings.caption_server_model:
        raise SettingsError("caption_server_model: name the model that the caption server is to use")
    url = APIS[settings.caption_server_kind].url(settings.caption_server, settings.caption_server_model)
    return Server(url, host, is_here, parts.scheme == "https")


def _split(server: str) -> SplitResult:
    try:
        parts = urlsplit(server)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole:
        raise SettingsError(
            "caption_server: must be a URL like http://localhost:11434 or https://api.openai.com"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(
            "caption_server: a URL without user, password, ? and #; keys are read from the environment"
        )
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_private(host: str) -> bool:
    """An address in a private network (RFC 1918, RFC 4193). A name may lead anywhere tomorrow."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in net for net in _PRIVATE)


def key_of(kind: str, environment: Mapping[str, str]) -> str:
    """The key of an API; "" when there is none. Not a setting: those are shown, kept and handed on."""
    key = next((environment[name] for name in APIS[kind].keys if environment.get(name)), "").strip()
    if not key.isascii() or not key.isprintable():
        raise SettingsError(f"{' or '.join(APIS[kind].keys)}: is no key: it has characters that none has")
    return key
