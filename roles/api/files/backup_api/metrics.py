# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The service's own metrics, beside those of the backups that the engine makes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counts by route, never by file or subject: the number of series stays small."""

    def __init__(self):
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "digitalme_backup_api_requests",
            "Requests, by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "digitalme_backup_api_request_seconds",
            "Seconds from the request to the end of its answer, by route.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.running = Gauge(
            "digitalme_backup_api_operations_running",
            "Operations that were begun by the API and have not ended.",
            registry=self._registry,
        )

    def seen(self, request, seconds):
        route = request.route or "other"
        method = request.method if request.method in ("GET", "POST", "DELETE", "HEAD") else "other"
        self._requests.labels(route, method, str(request.status or 0)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self):
        return generate_latest(self._registry).decode("utf-8")
