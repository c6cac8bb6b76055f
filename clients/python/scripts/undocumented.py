"""Names that the reference shows without a word: prints them, and fails where there are any."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pdoc.doc

MODULES = ("redis_apikey", "redis_apikey.django", "redis_apikey.fastapi", "redis_apikey.opentelemetry")


def undocumented(doc: pdoc.doc.Doc[Any]) -> Iterator[str]:
    if not doc.docstring.strip():
        yield doc.fullname
    if isinstance(doc, pdoc.doc.Namespace):
        for member in doc.own_members:
            if not member.name.startswith("_") and not isinstance(member, pdoc.doc.Module):
                yield from undocumented(member)


def main() -> int:
    names = [name for module in MODULES for name in undocumented(pdoc.doc.Module.from_name(module))]
    for name in names:
        print(f"{name} has no docstring")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
