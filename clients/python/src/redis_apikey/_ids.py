"""What an id is: of a key, or of a user."""

from __future__ import annotations

from uuid import UUID

_MAX_BYTES = 256


def text_of_id(name: str, id_: object) -> str:
    """As it stands in names. What is none would become the name of something else. Raises TypeError, ValueError."""
    if isinstance(id_, bool) or not isinstance(id_, str | int | UUID):
        raise TypeError(f"{name} must be a text, an integer or a UUID, not {type(id_).__name__}")
    text = str(id_)
    if not 1 <= len(text.encode(errors="replace")) <= _MAX_BYTES:
        raise ValueError(f"{name} must have 1 to {_MAX_BYTES} bytes")
    return text
