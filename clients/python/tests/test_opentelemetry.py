from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from database import Database
from servers import Server


def test_a_span_and_a_count_for_each_verification(new: Callable[..., Any], server: Server) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from redis_apikey.opentelemetry import OpenTelemetry

    spans, reader, tracers = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    observer = OpenTelemetry(tracers, MeterProvider([reader]))
    db = Database()
    keys, key = new(server.url, db.load, observer=observer), db.add()
    for scopes in ([], [], ["x"]):
        keys.verify(key.presented, scopes=scopes)
    keys.verify(key.presented, limits=[{"name": "credits", "credits": True}])
    said = [
        {name.removeprefix("apikey."): value for name, value in (span.attributes or {}).items()}
        for span in spans.get_finished_spans()
    ]
    assert said == [
        {"code": "VALID", "source": "database", "cache_status": "MISS"},
        {"code": "VALID", "source": "cache", "cache_status": "HIT"},
        {"code": "FORBIDDEN", "cache_status": "HIT"},
        {"code": "USAGE_EXCEEDED", "cache_status": "HIT"},
    ]
    everything = spans.get_finished_spans()[0].to_json() + str(reader.get_metrics_data())
    assert "apikey.verifications" in everything
    assert key.secret not in everything
    assert key.prefix not in everything
