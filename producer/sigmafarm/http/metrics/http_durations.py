"""How long this process took to answer, by the part of the API that was asked: five parts and four kinds of answers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

#: How addresses of each part begin, the first that fits; all else is a page of the dashboard.
PARTS = (
    ("openai", ("/v1/images/",)),
    ("a1111", ("/sdapi/",)),
    ("api", ("/v1/",)),
    ("health", ("/healthz", "/readyz", "/metrics")),
)
DASHBOARD = "dashboard"
#: Upper bounds of the buckets, in seconds. A client of the fronts waits for its pictures, minutes at times.
BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0)
STATUSES = ("2xx", "3xx", "4xx", "5xx")


class HttpDurations:
    """Counts answers from their request to their first byte: a stream of events does not count as a slow answer."""

    def __init__(self, registry: CollectorRegistry):
        self._seconds = Histogram(
            "sigmafarm_http_seconds",
            "Seconds until an answer of this process began.",
            ["part"],
            buckets=BOUNDS_S,
            registry=registry,
        )
        self._answers = Counter(
            "sigmafarm_http_answers", "Answers of this process.", ["part", "status"], registry=registry
        )
        for part in (*(name for name, _ in PARTS), DASHBOARD):
            self._seconds.labels(part)
            for status in STATUSES:
                self._answers.labels(part, status)

    def note(self, path: str, status: int, took_s: float) -> None:
        """Count an answer to a request for a path."""
        part = part_of(path)
        self._seconds.labels(part).observe(took_s)
        self._answers.labels(part, f"{min(max(status // 100, 2), 5)}xx").inc()


def part_of(path: str) -> str:
    """Return the part of the API that a path belongs to."""
    return next((name for name, begins in PARTS if path.startswith(begins)), DASHBOARD)
