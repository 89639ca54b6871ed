"""Where the HTTP API listens, and its rule: other machines are served with TLS, or on the owner's word."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
import socket
import ssl
from pathlib import Path

from catalogd.errors import ConflictError, SettingsError
from catalogd.settings import Settings

BACKLOG = 1024  # connections that wait to be accepted
# What is made ahead of a client that does not read: Linux would let it grow to 4 MB (net.ipv4.tcp_wmem).
SEND_BUFFER_BYTES = 256 << 10
_ANY = ("0.0.0.0", "::")


@dataclasses.dataclass(frozen=True)
class Binding:
    """An address that may be listened at."""

    name: str  # as it was set
    address: str
    family: socket.AddressFamily
    port: int
    tls: tuple[Path, Path] | None  # certificate and key

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.address.partition("%")[0]).is_loopback

    def listen(self) -> socket.socket:
        """A listening socket. Raises ConflictError when the port is taken, else SettingsError."""
        try:
            listener = socket.create_server(
                (self.address, self.port),
                family=self.family,
                backlog=BACKLOG,
                dualstack_ipv6=self.address == "::" and socket.has_dualstack_ipv6(),
            )
            # Each connection inherits it; asyncio sets it only where the socket names its protocol. Without
            # it the body of an answer waits 40 ms for the client to acknowledge its head.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            return listener
        except OSError as error:
            where = f"{self.name}:{self.port}"
            if error.errno == errno.EADDRINUSE:
                raise ConflictError(
                    f"{where} is in use by another program: set another http_port, or `catalogd serve --port`"
                ) from None
            raise SettingsError(
                f"the HTTP API can't listen at {where}: {error.strerror}; see http_host and http_port"
            ) from None

    def url(self, port: int) -> str:
        """Where a program on this machine finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)
        if self.name not in (*_ANY, self.address) and self.tls:
            host = self.name  # a certificate is for names
        return f"{'https' if self.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def chosen_binding(settings: Settings) -> Binding:
    """Where the settings say to listen. Raises SettingsError when it can't be, or may not be."""
    tls = _tls_files(settings)
    family, address = _resolved(settings.http_host)
    binding = Binding(settings.http_host, address, family, settings.http_port, tls)
    if not (binding.is_local or tls or settings.http_insecure):
        raise SettingsError(
            f"http_host: other machines reach {settings.http_host}: set http_tls_cert and http_tls_key, or "
            "http_insecure (--insecure) on a network where nobody listens; see docs/security.md"
        )
    return binding


def _resolved(host: str) -> tuple[socket.AddressFamily, str]:
    """The first address of a name, of the old family where it has both."""
    try:
        found = socket.getaddrinfo(host or "\0", None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # UnicodeError is one
        raise SettingsError(f"http_host: {host!r} is no address of this machine") from None
    family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, str(address[0])


def _tls_files(settings: Settings) -> tuple[Path, Path] | None:
    """The certificate and the key, read once to see that they fit."""
    cert, key = settings.http_tls_cert, settings.http_tls_key
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise SettingsError("http_tls_cert and http_tls_key are set together, or not at all")
    for name, file in (("http_tls_cert", cert), ("http_tls_key", key)):
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(file.open("rb"))
            except OSError as error:
                raise SettingsError(f"{name}: {file}: {error.strerror}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        reason = error.reason or "they are no PEM files, or the key has a password"
        raise SettingsError(f"http_tls_cert, http_tls_key: {cert}, {key}: {reason}") from None
    return cert, key


def _no_password() -> str:
    """Instead of asking on the terminal."""
    return ""
