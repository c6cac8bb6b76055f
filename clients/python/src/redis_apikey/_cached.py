"""What a decorated function's values are called: its key and its tags, by its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from redis_apikey._regions import Tags


class Naming:
    """Texts have the names of arguments in braces: `product:{id}`. Raises TypeError, ValueError for what names none."""

    def __init__(self, function: Callable[..., object], key: str | Callable[..., str], tags: Tags) -> None:
        self._signature = inspect.signature(function)
        self._key = key
        self._tags = tags
        if isinstance(tags, (str, bytes)):
            raise TypeError("tags must be several texts, or a function of the value")
        texts = [key, *(() if callable(tags) else tags)]
        names = dict.fromkeys(self._signature.parameters, "")
        for text in texts:
            if isinstance(text, str):
                try:
                    text.format_map(_Any(names))
                except (KeyError, IndexError) as error:
                    raise ValueError(f"{text!r} names {error}, which is no argument of {function!r}") from None

    def _bound(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        bound = self._signature.bind(*arguments, **options)
        bound.apply_defaults()
        return dict(bound.arguments)

    def key(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> str:
        if callable(self._key):
            return self._key(*arguments, **options)
        return self._key.format_map(self._bound(arguments, options))

    def tags(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Tags:
        if callable(self._tags):
            return self._tags
        if not self._tags:
            return ()
        bound = self._bound(arguments, options)
        named: Sequence[str] = [tag.format_map(bound) for tag in self._tags]
        return named


class Bound:
    """A method of an object."""

    def __init__(self, function: Any, instance: object) -> None:
        self._function = function
        self._instance = instance

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._function(self._instance, *arguments, **options)

    def key(self, *arguments: Any, **options: Any) -> str:
        name: str = self._function.key(self._instance, *arguments, **options)
        return name

    def invalidate(self, *arguments: Any, **options: Any) -> Any:
        return self._function.invalidate(self._instance, *arguments, **options)


class _Any(dict[str, Any]):
    """Of which each value has whatever is asked of it: only the names are looked at."""

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return _Whatever()


class _Whatever:
    def __getattr__(self, _: str) -> _Whatever:
        return self

    def __getitem__(self, _: object) -> _Whatever:
        return self

    def __format__(self, _: str) -> str:
        return ""
