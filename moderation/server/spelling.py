"""Google's JSON form of a message: a field goes by its lowerCamelCase name or by its original one (``do_not_store``).

A name that is neither is refused, as at Google: read past, a misspelt "do not store" would let the text be kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from moderation.server.faults import ECHOED, Fault

Message = type[msgspec.Struct]


class Field(NamedTuple):
    """A field of a message."""

    name: str
    """Its lowerCamelCase name."""
    inner: Message | None
    """The message that it holds: itself, in a list or in a map; None: it holds no message."""
    is_map: bool
    """Whether it is a map, whose keys are no fields."""


def spelt(data: Any, kind: Message, where: str = "") -> Any:
    """Return the JSON data of a message with its fields, also inner ones, under their lowerCamelCase names.

    Raises a `Fault` for a field that the message does not have, or that is given in both spellings. Data that is no
    message is returned as it is.
    """
    if not isinstance(data, dict):
        return data
    fields, found = _fields(kind), {}
    for given, value in data.items():
        field = fields.get(given)
        if field is None:
            raise _refused(f'Unknown name "{given[:ECHOED]}"', where, "Cannot find field.")
        if field.name in found:
            raise _refused(f'Name "{given[:ECHOED]}"', where, "The field is there in two spellings.")
        found[field.name] = _inside(value, field, f"{where}.{field.name}" if where else field.name)
    return found


def spellings(kind: Message) -> list[str]:
    """Return all names that a message's fields go by."""
    return sorted(_fields(kind))


def messages(kind: Message) -> set[Message]:
    """Return a message and all that may stand inside it."""
    return {kind}.union(*(messages(field.inner) for field in _fields(kind).values() if field.inner))


def _inside(value: Any, field: Field, where: str) -> Any:
    if field.inner is None:
        return value
    if isinstance(value, list):
        return [spelt(item, field.inner, f"{where}[{place}]") for place, item in enumerate(value)]
    if field.is_map and isinstance(value, dict):
        return {key: spelt(item, field.inner, f"{where}[{key[:ECHOED]}]") for key, item in value.items()}
    return spelt(value, field.inner, where)


def _refused(what: str, where: str, why: str) -> Fault:
    place = f" at '{where[: 2 * ECHOED]}'" if where else ""
    return Fault("json", 400, f"{what}{place}: {why}")


@cache
def _fields(kind: Message) -> dict[str, Field]:
    """Return a message's fields by all their spellings."""
    types, found = get_type_hints(kind), {}
    for one in msgspec.structs.fields(kind):
        parts = list(_parts(types[one.name]))
        inner = next((part for part in parts if isinstance(part, type) and issubclass(part, msgspec.Struct)), None)
        is_map = any(get_origin(part) is dict for part in parts)
        found[one.name] = found[one.encode_name] = Field(one.encode_name, inner, is_map)
    return found


def _parts(kind: Any) -> Iterator[Any]:
    """Yield a type and all that it is made of."""
    yield kind
    for part in get_args(kind):
        yield from _parts(part)
