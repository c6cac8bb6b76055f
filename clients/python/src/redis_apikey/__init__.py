"""API keys verified in one round trip, and a cache of values in regions, by the redis-apikey module.

`ApiKeys` is the client for threads, `AsyncApiKeys` the one for asyncio. `Valid`, `Refused`, `Limited` and
`Unavailable` are what `verify` answers. `Cache` and `AsyncCache` make regions. Times are in seconds, but for
`lease_ms`.
"""

from redis_apikey import _results
from redis_apikey._acache import AsyncCache, AsyncCachedFunction, AsyncRegion, AsyncWorker
from redis_apikey._aclient import AsyncApiKeys, AsyncCommands, AsyncUsage
from redis_apikey._cache import Cache, CachedFunction, Region, Worker
from redis_apikey._client import ApiKeys, Commands, Usage
from redis_apikey._commands import Validation
from redis_apikey._errors import ApiKeysError, BadRecord, ChangeNotTold, CommandRefused, RedisUnavailable
from redis_apikey._keys import parse, parse_dotted
from redis_apikey._records import Fields
from redis_apikey._results import (
    Answer,
    Batch,
    Change,
    Decision,
    GeneratedKey,
    Limited,
    LimitState,
    Line,
    Page,
    Refused,
    Settled,
    Unavailable,
    Valid,
    Warmed,
)
from redis_apikey._settings import L1, Observer
from redis_apikey._values import Compression, Encryption, Serializer

__all__ = [
    "L1",
    "Answer",
    "ApiKeys",
    "ApiKeysError",
    "AsyncApiKeys",
    "AsyncCache",
    "AsyncCachedFunction",
    "AsyncCommands",
    "AsyncRegion",
    "AsyncUsage",
    "AsyncWorker",
    "BadRecord",
    "Batch",
    "Cache",
    "CacheStatus",
    "CachedFunction",
    "Change",
    "ChangeNotTold",
    "CommandRefused",
    "Commands",
    "Compression",
    "Decision",
    "Encryption",
    "Fields",
    "GeneratedKey",
    "Id",
    "LimitKind",
    "LimitState",
    "Limited",
    "Line",
    "Observer",
    "Page",
    "Parse",
    "Record",
    "RedisUnavailable",
    "Refused",
    "Region",
    "Result",
    "Row",
    "Serializer",
    "Settled",
    "Unavailable",
    "Usage",
    "Valid",
    "Validation",
    "ValueSource",
    "Warmed",
    "Worker",
    "parse",
    "parse_dotted",
]

CacheStatus = _results.CacheStatus
"""What `X-Cache-Status` says: a cache answered; it did not know; it was not asked or did not answer; it was there
before."""

Id = _results.Id
"""Of a key or a user, as the database has it; a UUID is taken as its text."""

LimitKind = _results.LimitKind
"""What a limit bounds: how fast a key is used, how much of it in a calendar period, or what was paid for."""

Parse = _results.Parse
"""Takes what was presented apart into the public prefix and the secret; None where it has not the form of a key."""

Record = _results.Record
"""A record as the module keeps it: `id`, `user_id`, `scopes` .. and never a digest."""

Result = _results.Result
"""What `verify` answers."""

Row = _results.Row
"""A row as the database has it, its columns by their names."""

ValueSource = _results.ValueSource
"""Who knew a value of a region."""
