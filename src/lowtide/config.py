"""Frozen dataclasses to JSON and back; an unknown key is refused with the nearest known one.

What something was begun with is compared here, too, with what it is to go on with.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lowtide.errors import ConfigError, InputError, nearest

Config = TypeVar("Config")
_MOST_SHOWN = 60
"""Letters of a value that differs."""


def to_json(config: Any) -> dict[str, Any]:
    """A dataclass as a dictionary that `json` can write; tuples become lists."""
    value = _plain(config)
    assert isinstance(value, dict)
    return value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def departures(config: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their defaults, by name, in their order."""
    values = {field.name: (getattr(config, field.name), _default(field)) for field in dataclasses.fields(config)}
    return {name: value for name, (value, default) in values.items() if value != default}


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def from_json(kind: type[Config], data: Any, *, where: str) -> Config:
    """A dataclass from what `to_json` gave.

    Args:
        kind: the dataclass.
        data: the dictionary.
        where: the file or place it came from, for the error message.

    Raises:
        ConfigError: if a key is unknown or missing, or a value has another type than its field.
    """
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: found {type(data).__name__}, expected an object for {kind.__name__}")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass
    for key in data:
        if key not in fields:
            raise ConfigError(
                f"{where}: unknown key {key!r}.{nearest(key, fields)} Known keys: {', '.join(sorted(fields))}"
            )
    missing = [
        name
        for name, field in fields.items()
        if name not in data and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: the key {missing[0]!r} is missing")
    hints = typing.get_type_hints(kind)
    values = {key: _typed(hints[key], value, f"{where}: {key}") for key, value in data.items()}
    try:
        return kind(**values)
    except ConfigError as error:  # a value that the dataclass itself refuses
        raise ConfigError(f"{where}: {error}") from None


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        return _typed(next(option for option in options if option is not type(None)), value, where)
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where}: found {value!r}, expected a list")
        hints = typing.get_args(hint)
        if origin is list:
            return [_typed(hints[0], item, where) for item in value]
        if hints[-1] is Ellipsis:
            return tuple(_typed(hints[0], item, where) for item in value)
        if len(hints) != len(value):
            raise ConfigError(f"{where}: found {len(value)} items, expected {len(hints)}")
        return tuple(_typed(item_hint, item, where) for item_hint, item in zip(hints, value, strict=True))
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            expected = ", ".join(map(repr, choices))
            raise ConfigError(f"{where}: found {value!r}, expected one of {expected}")
        return value
    if dataclasses.is_dataclass(hint):
        return from_json(hint, value, where=where)  # type: ignore[arg-type]  # checked above
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is dict and isinstance(value, dict):
        return {key: _typed(typing.get_args(hint)[1], item, f"{where}: {key}") for key, item in value.items()}
    if hint is Any or (isinstance(value, origin or hint) and not (isinstance(value, bool) and hint is int)):
        return value
    raise ConfigError(f"{where}: found {value!r}, expected {getattr(hint, '__name__', hint)}")


def require_same(was: Any, now: Mapping[str, Any], *, where: Path) -> None:
    """Refuse to go on with what was begun otherwise.

    Args:
        was: what was written down at the beginning, as JSON has it.
        now: the same of whoever goes on.
        where: what was begun.

    Raises:
        InputError: if anything differs, with its name, what it was and what it is now.
    """
    told = ", ".join(_differences(was if isinstance(was, dict) else {}, now))
    if told:
        raise InputError(
            f"{where} was begun with something else: {told}. Go on as it was begun, or remove it to begin anew"
        )


def _differences(was: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[str]:
    for name in sorted(was.keys() | now.keys()):
        before, after = was.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{within}{name}.")
        elif before != after:
            yield f"{within}{name} {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:12]}..."
