import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.config import from_json, require_same, to_json
from lowtide.errors import ConfigError, InputError

claim = settings(derandomize=True, deadline=None)


@dataclass(frozen=True)
class Filter:
    width: int
    count: int


@dataclass(frozen=True)
class Network:
    """One field of every kind that configurations use."""

    name: str
    layers: int
    dropout: float
    is_residual: bool
    kind: Literal["lstm", "gru"]
    filters: tuple[Filter, ...]
    span: tuple[int, str]
    clip: float | None = None
    inner: Filter | None = None
    record: Any = None
    sizes: tuple[int, ...] = field(default_factory=tuple)
    rates: list[float] = field(default_factory=list)
    named: dict[str, Filter] = field(default_factory=dict)


numbers = st.floats(allow_nan=False)
filters = st.builds(Filter, width=st.integers(), count=st.integers())
networks = st.builds(
    Network,
    name=st.text(),
    layers=st.integers(),
    dropout=numbers,
    is_residual=st.booleans(),
    kind=st.sampled_from(["lstm", "gru"]),
    filters=st.lists(filters).map(tuple),
    span=st.tuples(st.integers(), st.text()),
    clip=st.none() | numbers,
    inner=st.none() | filters,
    record=st.none() | st.dictionaries(st.text(), st.integers()),
    sizes=st.lists(st.integers()).map(tuple),
    rates=st.lists(numbers),
    named=st.dictionaries(st.text(), filters),
)
NETWORK = Network("a", 2, 0.1, True, "lstm", (Filter(1, 32),), (1, "b"))


def changed(**values: Any) -> dict[str, Any]:
    return to_json(NETWORK) | values


@claim
@given(networks)
def test_a_config_comes_back_as_it_went(network: Network) -> None:
    assert from_json(Network, json.loads(json.dumps(to_json(network))), where="config.json") == network


def test_tuples_become_lists() -> None:
    assert to_json(NETWORK)["filters"] == [{"width": 1, "count": 32}]


@pytest.mark.parametrize("name", ["clip", "inner", "record", "sizes"])
def test_a_field_with_a_default_may_be_absent(name: str) -> None:
    data = to_json(NETWORK)
    del data[name]
    assert from_json(Network, data, where="config.json") == NETWORK


@pytest.mark.parametrize("name", ["name", "layers", "filters"])
def test_a_field_without_a_default_may_not_be_absent(name: str) -> None:
    data = to_json(NETWORK)
    del data[name]
    with pytest.raises(ConfigError, match=f"the key '{name}' is missing"):
        from_json(Network, data, where="config.json")


def test_an_unknown_key_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'dropuot'\. Did you mean 'dropout'\?"):
        from_json(Network, changed(dropuot=0.1), where="config.json")


def test_an_unknown_key_without_a_near_one_is_refused_with_all_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'zzz'\. Known keys: clip, dropout, filters"):
        from_json(Network, changed(zzz=0.1), where="config.json")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": "2"}, "layers: found '2', expected int"),
        ({"layers": 2.0}, "layers: found 2.0, expected int"),
        ({"layers": True}, "layers: found True, expected int"),
        ({"layers": None}, "layers: found None, expected int"),
        ({"dropout": True}, "dropout: found True, expected float"),
        ({"dropout": "much"}, "dropout: found 'much', expected float"),
        ({"is_residual": 1}, "is_residual: found 1, expected bool"),
        ({"name": 3}, "name: found 3, expected str"),
        ({"kind": "rnn"}, "kind: found 'rnn', expected one of 'lstm', 'gru'"),
        ({"kind": []}, "kind: found [], expected one of 'lstm', 'gru'"),
        ({"span": [1]}, "span: found 1 items, expected 2"),
        ({"span": ["a", "b"]}, "span: found 'a', expected int"),
        ({"sizes": 3}, "sizes: found 3, expected a list"),
        ({"sizes": [1, None]}, "sizes: found None, expected int"),
        ({"rates": 0.1}, "rates: found 0.1, expected a list"),
        ({"rates": ["a"]}, "rates: found 'a', expected float"),
        ({"named": []}, "named: found [], expected dict"),
        ({"named": {"a": 3}}, "named: a: found int, expected an object for Filter"),
        ({"clip": "3"}, "clip: found '3', expected float"),
        ({"inner": [1, 2]}, "inner: found list, expected an object for Filter"),
        ({"inner": {"width": 1}}, "inner: the key 'count' is missing"),
        ({"filters": [{"width": 1, "count": "many"}]}, "filters: count: found 'many', expected int"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_json(Network, changed(**values), where="config.json")
    assert str(caught.value) == f"config.json: {message}"


@pytest.mark.parametrize("data", [None, [], "text", 3])
def test_what_is_no_object_is_refused(data: Any) -> None:
    with pytest.raises(ConfigError, match="expected an object for Network"):
        from_json(Network, data, where="config.json")


def test_a_whole_number_will_do_for_a_float() -> None:
    dropout = from_json(Network, changed(dropout=1), where="config.json").dropout
    assert (dropout, type(dropout)) == (1.0, float)


def test_what_was_begun_with_the_same_goes_on() -> None:
    require_same({"a": 1, "b": {"c": [2]}}, {"a": 1, "b": {"c": [2]}}, where=Path("out"))


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "b 2 -> 3"),
        ({"a": 1}, {"a": 2, "b": 3}, "a 1 -> 2, b None -> 3"),
        ({"a": {"b": {"c": 1, "d": 1}}}, {"a": {"b": {"c": 2, "d": 1}}}, "a.b.c 1 -> 2"),
        ({"a": None}, {"a": {"b": 1}}, "a None -> {'b': 1}"),
        ({"a": "0123456789abcdef" * 4}, {"a": ""}, "a 0123456789ab... -> "),
        ([], {"a": 1}, "a None -> 1"),
    ],
)
def test_what_differs_from_the_beginning_is_named(was: Any, now: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        require_same(was, now, where=Path("out"))
    advice = "Go on as it was begun, or remove it to begin anew"
    assert str(caught.value) == f"out was begun with something else: {told}. {advice}"
