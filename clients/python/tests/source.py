"""Where the values of a region come from, and how often it was asked."""

from __future__ import annotations

from typing import Any


class Source:
    def __init__(self, **values: Any) -> None:
        self.values: dict[str, Any] = values
        self.loads: list[str] = []
        self.batches: list[list[str]] = []
        self.fails = False

    def load(self, key: str) -> Any:
        self.loads.append(key)
        if self.fails:
            raise ConnectionError("the source is down")
        return self.values.get(key)

    def load_many(self, keys: list[str]) -> dict[str, Any]:
        self.batches.append(keys)
        if self.fails:
            raise ConnectionError("the source is down")
        return {key: self.values[key] for key in keys if key in self.values}

    def write(self, key: str, value: Any) -> None:
        self.values[key] = value
