"""What Prometheus is told: numbers, and no label that a client chooses."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters and histograms of one server, in a registry of its own."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        ProcessCollector(registry=own)

        def seconds(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"medgraft_{name}", text, labels, buckets=SECONDS, registry=own)

        self.requests = Counter(
            "medgraft_requests", "Requests by route and status", ("route", "status"), registry=own
        )
        self.refusals = Counter(
            "medgraft_refusals", "Refusals of requests and files by code", ("code",), registry=own
        )
        self.images = Counter("medgraft_images", "Images that were answered", registry=own)
        self.request = seconds("request_seconds", "From headers to answer, by route", "route")
        self.queue_wait = seconds(
            "queue_wait_seconds", "From decoded until the model begins with it"
        )
        self.decode = seconds("decode_seconds", "Decoding of one file, in its worker")
        self.inference = seconds("inference_seconds", "One batch in the model")
        self.batch_size = Histogram(
            "medgraft_batch_size", "Images that the model is given at once", buckets=SIZES,
            registry=own,
        )  # fmt: skip
        self._model = Info("medgraft_model", "The model that answers", registry=own)

    def describe(self, sha256: str, scenario: str, version: str) -> None:
        """Say which model answers."""
        self._model.info({"sha256": sha256, "scenario": scenario, "version": version})

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show a number that is asked for whenever somebody looks."""
        Gauge(f"medgraft_{name}", text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """All of it in Prometheus's text format 0.0.4."""
        return generate_latest(self.registry)
