"""OpenTelemetry: a span `apikey.verify` for each verification, and a counter. Neither has a key or a secret in it.

keys = ApiKeys(redis, load, observer=OpenTelemetry())
"""

from __future__ import annotations

from opentelemetry import metrics, trace

from redis_apikey._results import Result, Unavailable, Valid

__all__ = ["OpenTelemetry"]


class OpenTelemetry:
    """An observer. Without providers it is the ones that OpenTelemetry has for all."""

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("redis_apikey", tracer_provider=tracer_provider)
        meter = metrics.get_meter("redis_apikey", meter_provider=meter_provider)
        self._count = meter.create_counter("apikey.verifications", description="by code and source")
        self._time = meter.create_histogram("apikey.verify.duration", unit="s")

    def verified(self, result: Result, began: int, ended: int) -> None:
        """Called by the client, in the caller's context; times are nanoseconds since the epoch."""
        attributes: dict[str, str] = {"apikey.cache_status": result.cache_status}
        if isinstance(result, Valid):
            attributes |= {"apikey.code": "VALID", "apikey.source": result.source}
        else:
            attributes["apikey.code"] = "UNAVAILABLE" if isinstance(result, Unavailable) else result.code
        span = self._tracer.start_span("apikey.verify", start_time=began, attributes=attributes)
        span.end(ended)
        self._count.add(1, attributes)
        self._time.record((ended - began) / 1e9, attributes)
