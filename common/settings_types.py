"""Walks the types of the settings: which keys a place has, and the finished object from plain values."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, get_args, get_origin, get_type_hints

from common.settings import Settings


def keys_at(location: list[str]) -> list[str]:
    """Names of the keys that the settings have at a place."""
    hint: Any = Settings
    for part in location:
        hint = _strip(hint)
        if dataclasses.is_dataclass(hint):
            hint = get_type_hints(hint, include_extras=False).get(part)
        elif get_origin(hint) is dict:
            hint = get_args(hint)[1]
    hint = _strip(hint)
    return [field.name for field in dataclasses.fields(hint)] if dataclasses.is_dataclass(hint) else []


def build(hint: Any, value: Any) -> Any:
    """Dataclasses from the plain values that `dataclasses.asdict` made of them."""
    hint = _strip(hint)
    if value is None:
        return None
    if dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        return typing.cast(Any, hint)(**{key: build(hints[key], item) for key, item in value.items()})
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is dict:
        return {key: build(arguments[1], item) for key, item in value.items()}
    if origin is list:
        return [build(arguments[0], item) for item in value]
    if origin is tuple:
        return tuple(build(argument, item) for argument, item in zip(arguments, value, strict=True))
    return value


def _strip(hint: Any) -> Any:
    """A type without its annotations and without None."""
    while get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in {types.UnionType, typing.Union}:
        return next(_strip(arm) for arm in get_args(hint) if arm is not types.NoneType)
    return hint
