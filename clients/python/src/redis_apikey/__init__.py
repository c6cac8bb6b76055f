"""API keys verified in one round trip, by the redis-apikey module.

`ApiKeys` is the client for threads, `AsyncApiKeys` the one for asyncio. `Valid`, `Refused` and `Unavailable` are what
`verify` answers. Times are in seconds, but for `lease_ms`.
"""

from redis_apikey._aclient import AsyncApiKeys
from redis_apikey._client import ApiKeys
from redis_apikey._commands import Validation
from redis_apikey._errors import ApiKeysError, BadRecord, ChangeNotTold, CommandRefused, RedisUnavailable
from redis_apikey._keys import parse, parse_dotted
from redis_apikey._records import Fields
from redis_apikey._results import (
    Batch,
    CacheStatus,
    Change,
    Decision,
    GeneratedKey,
    Line,
    Page,
    Parse,
    Record,
    Refused,
    Result,
    Row,
    Unavailable,
    Valid,
    Warmed,
)
from redis_apikey._settings import L1, Observer

__all__ = [
    "L1",
    "ApiKeys",
    "ApiKeysError",
    "AsyncApiKeys",
    "BadRecord",
    "Batch",
    "CacheStatus",
    "Change",
    "ChangeNotTold",
    "CommandRefused",
    "Decision",
    "Fields",
    "GeneratedKey",
    "Line",
    "Observer",
    "Page",
    "Parse",
    "Record",
    "RedisUnavailable",
    "Refused",
    "Result",
    "Row",
    "Unavailable",
    "Valid",
    "Validation",
    "Warmed",
    "parse",
    "parse_dotted",
]
