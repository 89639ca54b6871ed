"""Numbers for Prometheus: what was asked and how long it took, and how the catalog and its run are."""

from __future__ import annotations

import time

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from catalogd.web.pulse import Moment

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SEARCH_ROUTES = ("/search", "/similar", "/similar/upload")
BUCKETS_S = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # 30 ms is the aim at 500,000 photos
RUN_STATES = ("none", "loading", "indexing", "watching", "disk_full", "draining", "done")
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second number for each, of use to nobody here
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")


class Metrics:
    """One a server; safe from any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "catalogd_requests", "answers by route", ["route", "method", "status"], registry=self._registry
        )
        self._searches = Histogram(
            "catalogd_search_seconds",
            "from a search's arrival to the end of its answer",
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._photos = self._gauge("photos", "photos of the catalog", "state")
        self._failures = self._gauge("failures", "photos that could not be read")
        self._commit = self._gauge("commit", "number of the newest commit")
        self._run = self._gauge("run_state", "1 for the state of the run", "state")
        self._rate = self._gauge("run_photos_per_second", "of the run, over the last half minute")
        self._pending = self._gauge("run_pending", "photos that the run has found and not finished")
        self._jobs = self._gauge("jobs", "ordered work by state", "state")
        self._uptime = self._gauge("uptime_seconds", "of the server")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"catalogd_{name}", text, labels, registry=self._registry)

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """One answer. `route` is the pattern, not what was asked: its values are few."""
        self._requests.labels(route, method if method in _METHODS else "other", str(status)).inc()
        if route in SEARCH_ROUTES:
            self._searches.observe(seconds)

    def render(self, moment: Moment, uptime_s: float) -> bytes:
        """All numbers in Prometheus' text format."""
        run = moment.run or {}
        self._photos.labels("indexed").set(moment.counts.indexed)
        self._photos.labels("missing").set(moment.counts.missing)
        self._failures.set(moment.counts.failed)
        self._commit.set(moment.counts.commit)
        for state in RUN_STATES:
            self._run.labels(state).set(run.get("state", "none") == state)
        self._rate.set(run.get("rate", 0.0))
        self._pending.set(run.get("pending", 0))
        for state in ("waiting", "running"):
            self._jobs.labels(state).set(sum(job.state == state for job in moment.jobs))
        self._uptime.set(uptime_s)
        return generate_latest(self._registry)


class Counted:
    """An ASGI application whose answers are counted."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        start = time.perf_counter()
        try:
            await self._app(scope, receive, noting)
        finally:  # the router has left its route in the scope
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.count(route, scope["method"], status, time.perf_counter() - start)


async def get_metrics(request: Request) -> Metrics:
    """For `Depends`; asynchronous, so that there is one."""
    state = request.app.state
    if not hasattr(state, "metrics"):
        state.metrics = Metrics()
    metrics: Metrics = state.metrics
    return metrics
