"""Connections of clients that are slow, or silent, or read nothing: each costs little, and not for long.

uvicorn's protocol waits for ever for the rest of a request's head and for a client that does not read its
answer. Here both have a time, and no part of a server waits for one client: a connection is a socket and
some buffers in the event loop, never a thread.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_PATIENCE_S = 10.0  # for the head of a request, from its first byte or from connecting
STALL_S = 15.0  # in this time a client must take
LEAST_TAKEN_BYTES = 16 << 10  # so many bytes of its answer, or the rest
MOST_ANSWERED = 1000  # connections; a request of one more is answered 503
MOST_OPEN = MOST_ANSWERED + 100  # more end at once: the process needs descriptors for the catalog and photos


class PatientProtocol(H11Protocol):
    """One connection. It is aborted when its client keeps it waiting for too long."""

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _left_bytes = 0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.access_log = False  # it would keep URLs, and with them what people search for

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_OPEN:
            transport.abort()
            return
        # `pause_writing` as soon as the kernel takes no more. Not 0: over TLS asyncio pauses at "as much as"
        # the limit, so an empty buffer would pause, too, and nothing would ever resume it.
        transport.set_write_buffer_limits(high=1)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_head()
        else:
            self._forget_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._forget_taking()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_taking()

    def resume_writing(self) -> None:
        self._forget_taking()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._forget_head()  # the time of an idle connection runs instead

    def _expect_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(HEAD_PATIENCE_S, self.transport.abort)

    def _expect_taking(self) -> None:
        self._left_bytes = self.transport.get_write_buffer_size()
        self._forget_taking()
        self._stall_timer = self.loop.call_later(STALL_S, self._look_at_taking)

    def _look_at_taking(self) -> None:
        if self._left_bytes - self.transport.get_write_buffer_size() < LEAST_TAKEN_BYTES:
            self.transport.abort()
        else:
            self._expect_taking()

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _forget_taking(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
