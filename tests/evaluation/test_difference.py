from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from lowtide.embeddings import Elmo
from lowtide.embeddings.session import Session
from lowtide.errors import InputError, MissingPathError
from lowtide.evaluation import reasons
from lowtide.evaluation.difference import Difference, compare_files

claim = settings(derandomize=True, deadline=None, max_examples=40)

Array = NDArray[Any]
_LENGTHS = [3, 0, 5, 1, 4, 2, 6, 2, 3, 4, 0, 5]


def _all_layers(
    lengths: Sequence[int] = _LENGTHS, *, num_layers: int = 3, width: int = 6, seed: int = 0
) -> list[Array]:
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(num_layers, n, width)).astype(np.float32) for n in lengths]


def _of(make: Callable[[Array], Array], sentences: Sequence[Array]) -> list[Array]:
    return [np.asarray(make(sentence), np.float32) for sentence in sentences]


def _write(path: Path, sentences: Sequence[Array], tokens: Sequence[Sequence[str]] | None = None) -> Path:
    """A numbered file, with tokens as lowtide writes them or without."""
    _write_keyed(path, {str(number): vectors for number, vectors in enumerate(sentences)})
    if tokens is not None:
        with h5py.File(path, "a") as file:
            for number, sentence in enumerate(tokens):
                file[str(number)].attrs.create("tokens", data=list(sentence), dtype=h5py.string_dtype())
    return path


def _write_keyed(path: Path, sentences: dict[str, Array]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, allow_pickle=False, **sentences)
        return path
    with h5py.File(path, "w") as file:
        for key, vectors in sentences.items():
            file.create_dataset(key, data=vectors)
    return path


def _compare(folder: Path, old: Sequence[Array], new: Sequence[Array], *, tolerance: float = 1e-5) -> Difference:
    folder.mkdir(exist_ok=True)
    return compare_files(_write(folder / "old.h5", old), _write(folder / "new.npz", new), tolerance=tolerance)


def _names(found: Difference) -> list[str]:
    return [reason.name for reason in found.reasons]


# -- the same or not -----------------------------------------------------------------------------


def test_a_file_is_the_same_as_itself_in_another_format(tmp_path: Path) -> None:
    found = _compare(tmp_path, _all_layers(), _all_layers())
    assert found.is_same and found.largest == found.mean == 0.0 and found.reasons == ()
    assert found.num_old == found.num_new == found.num_compared == len(_LENGTHS)
    assert found.lines()[-1] == "the same, within 1.0e-05"


def test_files_without_a_sentence_are_the_same(tmp_path: Path) -> None:
    assert _compare(tmp_path, [], []).is_same


@given(arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=4)))
@claim
def test_whatever_a_file_holds_it_is_the_same_as_itself(
    tmp_path_factory: pytest.TempPathFactory, vectors: Array
) -> None:
    path = _write(tmp_path_factory.mktemp("same") / "v.npz", [vectors])
    found = compare_files(path, path)
    assert found.is_same and found.num_unlike == 0


@given(st.integers(0, 1000), st.floats(1e-3, 10))
@claim
def test_the_largest_difference_is_the_same_from_both_sides(
    tmp_path_factory: pytest.TempPathFactory, seed: int, scale: float
) -> None:
    folder = tmp_path_factory.mktemp("sides")
    old, new = _all_layers([2, 3], seed=seed), [x * np.float32(scale) for x in _all_layers([2, 3], seed=seed + 1)]
    there, back = _compare(folder, old, new), _compare(folder, new, old)
    assert (there.largest, there.mean, there.num_over) == (back.largest, back.mean, back.num_over)


@pytest.mark.parametrize(("tolerance", "is_same"), [(0.25, True), (np.nextafter(0.25, 0), False), (0.0, False)])
def test_a_difference_of_the_tolerance_itself_is_allowed(tolerance: float, is_same: bool, tmp_path: Path) -> None:
    old = [np.zeros((2, 3), np.float32)]
    new = [np.full((2, 3), 0.25, np.float32)]
    found = _compare(tmp_path, old, new, tolerance=tolerance)
    assert found.is_same is is_same and found.largest == found.mean == 0.25


def test_the_first_number_over_the_tolerance_is_named(tmp_path: Path) -> None:
    old, new = _all_layers(), _all_layers()
    new[4][1, 2, 3] += 1.0
    new[6][0, 0, 0] += 0.5
    found = _compare(tmp_path, old, new)
    assert found.num_over == 2 and found.largest == pytest.approx(1.0, abs=1e-6)
    place = found.first_over
    assert place is not None and (place.sentence, place.layer, place.token) == ("4", 1, 2)
    assert place.new - place.old == pytest.approx(1.0, abs=1e-6)
    assert any(line.startswith("first       sentence 4, layer 1, token 2: ") for line in found.lines())


def test_a_place_has_no_layer_and_no_token_where_there_are_none(tmp_path: Path) -> None:
    zeros, ones = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    by_token = _compare(tmp_path, [zeros], [ones]).first_over
    by_sentence = _compare(tmp_path, [zeros[0]], [ones[0]]).first_over
    assert by_token is not None and (by_token.layer, by_token.token) == (None, 0)
    assert by_sentence is not None and (by_sentence.layer, by_sentence.token) == (None, None)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_in_both_files_is_no_difference(value: float, tmp_path: Path) -> None:
    old, new = _all_layers(), _all_layers()
    old[2][0, 0, 0] = new[2][0, 0, 0] = value
    found = _compare(tmp_path, old, new)
    assert found.is_same and found.num_unlike == 0
    assert found.num_nan_old == found.num_nan_new == int(np.isnan(value))


@pytest.mark.parametrize(
    ("old_value", "new_value"), [(np.nan, 1.0), (1.0, np.inf), (np.nan, np.inf), (np.inf, -np.inf)]
)
def test_what_is_no_number_in_one_file_alone_is_a_difference(
    old_value: float, new_value: float, tmp_path: Path
) -> None:
    old, new = _all_layers(), _all_layers()
    old[2][0, 0, 0], new[2][0, 0, 0] = old_value, new_value
    found = _compare(tmp_path, old, new)
    assert not found.is_same and found.num_unlike == found.num_over == 1 and found.largest == 0.0
    assert found.num_nan_old == int(np.isnan(old_value))


def test_a_file_with_more_sentences_is_another_one(tmp_path: Path) -> None:
    found = _compare(tmp_path, _all_layers(), _all_layers()[:-2])
    assert not found.is_same and found.num_over == 0 and found.reasons == ()
    assert found.lines()[-1] == "not the same"


def test_the_first_other_shape_is_named(tmp_path: Path) -> None:
    old, new = _all_layers(), _all_layers()
    new[5] = new[5][:, :1]
    found = _compare(tmp_path, old, new)
    shape = found.first_other_shape
    assert shape is not None and (shape.sentence, shape.old, shape.new) == ("5", (3, 2, 6), (3, 1, 6))
    assert found.num_other_shapes == 1 and not found.is_same


# -- which sentence is which ---------------------------------------------------------------------


def test_sentences_with_names_are_paired_by_them_in_any_order(tmp_path: Path) -> None:
    a, b, c = _all_layers([1, 2, 3])
    old = _write_keyed(tmp_path / "old.npz", {"P2": b, "P1": a, "P3": c})
    new = _write_keyed(tmp_path / "new.h5", {"P1": a, "P2": b, "P4": c})
    found = compare_files(old, new)
    assert (found.only_in_old, found.only_in_new) == (("P3",), ("P4",))
    assert found.num_compared == 2 and found.num_over == 0 and not found.is_same


def test_numbers_and_sentences_as_keys_are_paired_by_the_tokens(tmp_path: Path) -> None:
    tokens = [["the", "tide", "."], ["a/b", "c"], ["潮水"]]
    vectors = _all_layers([3, 2, 1])
    names = ["the\ttide\t$period$", "a$backslash$b\tc", "潮水"]
    old = _write_keyed(tmp_path / "old.h5", dict(zip(names, vectors, strict=True)))
    assert compare_files(old, _write(tmp_path / "new.h5", vectors, tokens)).is_same


def test_sentences_as_keys_of_two_tools_are_paired_by_the_tokens(tmp_path: Path) -> None:
    [vectors] = _all_layers([3])
    old = _write_keyed(tmp_path / "old.h5", {"the\ttide\t$period$": vectors})
    new = _write_keyed(tmp_path / "new.h5", {"the tide .": vectors})
    assert compare_files(old, new).is_same


# -- why -----------------------------------------------------------------------------------------


def _with_boundaries(vectors: Array) -> Array:
    mark = np.ones((*vectors.shape[:-2], 1, vectors.shape[-1]), np.float32)
    return np.concatenate([mark, vectors, -mark], axis=-2)


def _mean(vectors: Array) -> Array:
    mean: Array = vectors.mean(axis=0)
    return mean


def _sum(vectors: Array) -> Array:
    total: Array = vectors.sum(axis=0)
    return total


def _pooled(vectors: Array) -> Array:
    mean: Array = vectors.sum(axis=-2) / max(vectors.shape[-2], 1)
    return mean


_HABITS: dict[str, tuple[Callable[[Array], Array], str, dict[str, object]]] = {
    "reversed": (lambda x: x[::-1], "layer order", {"order": [2, 1, 0]}),
    "rotated": (lambda x: x[[1, 2, 0]], "layer order", {"order": [1, 2, 0]}),
    "two layers swapped": (lambda x: x[[0, 2, 1]], "layer order", {"order": [0, 2, 1]}),
    "the top": (lambda x: x[2], "one layer", {"layer": 2}),
    "layer 0": (lambda x: x[0], "one layer", {"layer": 0}),
    "the mean": (_mean, "mean", {}),
    "the sum": (_sum, "sum", {}),
    "side by side": (lambda x: np.concatenate(list(x), axis=-1), "side by side", {"layers": 3}),
    "halves swapped": (lambda x: np.concatenate([x[..., 3:], x[..., :3]], axis=-1), "halves", {}),
    "the forward half": (lambda x: x[..., :3], "forward half", {}),
    "the backward half": (lambda x: x[..., 3:], "backward half", {}),
    "the mean of the tokens": (_pooled, "pooled mean", {}),
    "the maximum of the tokens": (
        lambda x: x.max(axis=-2) if x.shape[-2] else np.zeros((3, 6), np.float32),
        "pooled max",
        {},
    ),
    "a third": (lambda x: x / 3, "factor", {"factor": 3}),
    "an eighth": (lambda x: x / 8, "factor", {"factor": 8}),
}
"""What one tool did to all layers, and how that is told."""


@pytest.mark.parametrize("habit", _HABITS)
def test_a_habit_of_the_new_tool_is_named(habit: str, tmp_path: Path) -> None:
    make, name, values = _HABITS[habit]
    found = _compare(tmp_path, _all_layers(), _of(make, _all_layers()))
    assert not found.is_same
    [reason] = found.reasons
    assert reason.name == name
    assert reason.values == {"this": "old", "other": "new", **values}
    assert f"reason      {reason}" in found.lines() and found.lines()[-1] == "not the same"


@pytest.mark.parametrize("habit", _HABITS)
def test_a_habit_of_the_old_tool_is_named(habit: str, tmp_path: Path) -> None:
    make, name, _ = _HABITS[habit]
    [reason] = _compare(tmp_path, _of(make, _all_layers()), _all_layers()).reasons
    assert reason.name == name
    is_mutual = name in ("layer order", "halves")
    assert reason.values["this"] == ("old" if is_mutual else "new")


def test_four_layers_may_stand_in_any_order(tmp_path: Path) -> None:
    old = _all_layers(num_layers=4)
    [reason] = _compare(tmp_path, old, [x[[2, 0, 3, 1]] for x in old]).reasons
    assert str(reason).endswith("those of the new file are layers [2, 0, 3, 1] of the old file")


def test_boundaries_that_were_kept_are_named_with_the_file_that_has_them(tmp_path: Path) -> None:
    found = _compare(tmp_path, _of(_with_boundaries, _all_layers()), _all_layers())
    assert found.num_other_shapes == len(_LENGTHS) and found.num_compared == 0
    assert [str(reason) for reason in found.reasons] == [
        "the old file keeps the sentence boundaries, a vector before the first token and one after the last; "
        "the new file does not"
    ]


@pytest.mark.parametrize("scale", [1.0, 3000.0])
def test_storage_as_float16_is_named(scale: float, tmp_path: Path) -> None:
    vectors = [x * np.float32(scale) for x in _all_layers()]
    [reason] = _compare(tmp_path, [x.astype(np.float16) for x in vectors], vectors).reasons
    assert str(reason) == "the old file was stored as float16: the differences are of its rounding"


def test_differences_beyond_the_rounding_of_float16_are_not_explained_by_it(tmp_path: Path) -> None:
    vectors = _all_layers()
    assert _names(_compare(tmp_path, [(x * 1.01).astype(np.float16) for x in vectors], vectors)) == []


def test_small_differences_of_numbers_that_float16_cannot_hold_are_not_explained_by_it(tmp_path: Path) -> None:
    vectors = _all_layers()
    assert _names(_compare(tmp_path, [x * np.float32(1 + 1e-4) for x in vectors], vectors)) == []


@pytest.mark.parametrize(("noise", "names"), [(0.9e-5, ["sum"]), (2e-5, [])])
def test_a_sum_may_be_as_far_off_as_its_layers_together(noise: float, names: list[str], tmp_path: Path) -> None:
    old = [x.astype(np.float64) for x in _all_layers()]
    assert _names(_compare(tmp_path, old, [(x + noise).sum(axis=0) for x in old])) == names


def test_long_sentences_are_pooled_over_all_of_their_tokens(tmp_path: Path) -> None:
    old = _all_layers([9, 3])
    assert _names(_compare(tmp_path, old, _of(_pooled, old))) == ["pooled mean"]


def test_a_sentence_with_fewer_layers_than_the_others_leaves_a_difference_unexplained(tmp_path: Path) -> None:
    old, new = _all_layers(), _of(lambda x: x[2], _all_layers())
    old[6] = old[6][:2]
    assert _compare(tmp_path, old, new).reasons == ()


_PAIRS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], set[str]]] = {
    "boundaries and sum": (lambda x: _with_boundaries(_sum(x)), lambda x: x, {"boundaries", "sum"}),
    "boundaries here, the mean there": (_with_boundaries, _mean, {"boundaries", "mean"}),
    "float16 and the mean": (lambda x: x.astype(np.float16), _mean, {"float16", "mean"}),
    "float16 in both": (
        lambda x: x.astype(np.float16),
        lambda x: (x * (1 + 2e-4)).astype(np.float16),
        {"float16"},
    ),
    "the top, its forward half": (lambda x: x, lambda x: x[-1, :, :3], {"one layer", "forward half"}),
    "the mean, pooled": (lambda x: x, lambda x: _pooled(_mean(x)), {"mean", "pooled mean"}),
    "reversed, boundaries": (lambda x: _with_boundaries(x[::-1]), lambda x: x, {"boundaries", "layer order"}),
}


@pytest.mark.parametrize("habits", _PAIRS)
def test_two_habits_at_once_are_both_named(habits: str, tmp_path: Path) -> None:
    make_old, make_new, names = _PAIRS[habits]
    old = [make_old(x) for x in _all_layers()]
    found = _compare(tmp_path, old, [make_new(x) for x in _all_layers()])
    assert set(_names(found)) == names and len(found.reasons) == 2


def test_two_single_vectors_are_explained_by_a_factor_as_well(tmp_path: Path) -> None:
    old, new = _of(_sum, _all_layers()), _of(_mean, _all_layers())
    assert [str(reason) for reason in _compare(tmp_path, old, new).reasons] == [
        "the old file is 3 times the new file everywhere, as the sum of 3 layers is of their mean (average)"
    ]


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3]))
@claim
def test_nothing_explains_files_of_random_numbers(
    tmp_path_factory: pytest.TempPathFactory, seed: int, num_old: int, num_new: int
) -> None:
    old, new = (_all_layers(num_layers=n, seed=seed + n) for n in (num_old, num_new + 10))
    new = [x[:num_new] for x in new]
    found = _compare(tmp_path_factory.mktemp("random"), old, new)
    assert not found.is_same and found.reasons == ()
    assert found.lines()[-1] == "not the same, for no reason that is known here"


def test_one_sentence_that_does_not_fit_leaves_a_difference_unexplained(tmp_path: Path) -> None:
    old, new = _all_layers(), _of(_sum, _all_layers())
    new[-1] = new[-1] + np.float32(0.1)
    assert _compare(tmp_path, old, new).reasons == ()


def test_the_same_sentences_in_another_order_are_told(tmp_path: Path) -> None:
    tokens = [[*(f"w{place}" for place in range(length)), str(number)] for number, length in enumerate(_LENGTHS)]
    vectors = _all_layers([len(sentence) for sentence in tokens])
    order = [7, 3, 0, 1, 11, 2, 5, 4, 10, 6, 9, 8]
    old = _write(tmp_path / "old.h5", vectors, tokens)
    new = _write(tmp_path / "new.h5", [_mean(vectors[i]) for i in order], [tokens[i] for i in order])
    found = compare_files(old, new)
    assert _names(found) == ["order", "mean"] and not found.is_same


def test_of_equal_sentences_in_another_order_the_first_is_taken_for_the_first(tmp_path: Path) -> None:
    a, b, c = _all_layers([1, 1, 1])
    old = _write(tmp_path / "old.h5", [a, b, c], [["the"], ["tide"], ["the"]])
    new = _write(tmp_path / "new.h5", [_sum(b), _sum(a), _sum(c)], [["tide"], ["the"], ["the"]])
    assert _names(compare_files(old, new)) == ["order", "sum"]


def test_another_text_is_told_with_its_first_sentence(tmp_path: Path) -> None:
    old = _write(tmp_path / "old.h5", _all_layers([2, 2, 3]), [["the", "tide"], ["goes", "out"], ["a", "b", "c"]])
    new = _write(tmp_path / "new.h5", _all_layers([2, 3, 2]), [["the", "tide"], ["goes", "far", "out"], ["b", "c"]])
    [reason] = compare_files(old, new).reasons
    assert str(reason) == "the texts differ, first in sentence 1: 'goes out' and 'goes far out'"


# -- a carried state -----------------------------------------------------------------------------


def _warmed(sentences: Sequence[Array], rows: int, *, warm_before: bool = False) -> list[Array]:
    """What a tool that carries the state writes: layer 0 stays, the rest depends on the sentence of a batch before."""
    drift = np.array([0.0, 0.05, 0.1], np.float32)[:, None, None]
    return [x + drift * (index >= rows or warm_before) * (1 + index % 7) for index, x in enumerate(sentences)]


_MANY = [1 + number % 4 for number in range(150)]


@pytest.mark.parametrize("rows", [1, 32, 64, 128, 20])
def test_a_state_that_was_carried_from_batch_to_batch_is_told_with_its_rows(rows: int, tmp_path: Path) -> None:
    vectors = _all_layers(_MANY)
    found = _compare(tmp_path, _warmed(vectors, rows), vectors)
    assert [(reason.name, reason.values) for reason in found.reasons] == [("warm", {"rows": rows, "share": 1.0})]
    assert f"--stateful {rows} " in str(found.reasons[0])


def test_a_carried_state_is_told_of_a_single_layer_too(tmp_path: Path) -> None:
    vectors = _all_layers(_MANY)
    old, new = ([x[2] for x in of] for of in (_warmed(vectors, 64), vectors))
    assert _names(_compare(tmp_path, old, new)) == ["warm"]


def test_a_carried_state_is_told_beside_a_habit(tmp_path: Path) -> None:
    vectors = _all_layers(_MANY)
    found = _compare(tmp_path, _of(_with_boundaries, _warmed(vectors, 32)), vectors)
    assert _names(found) == ["boundaries", "warm"] and found.reasons[1].values["rows"] == 32


def test_empty_sentences_do_not_hide_the_rows_of_a_batch(tmp_path: Path) -> None:
    vectors = _all_layers([0 if 30 <= number < 35 else n for number, n in enumerate(_MANY)])
    assert _compare(tmp_path, _warmed(vectors, 32), vectors).reasons[0].values["rows"] == 32


def test_rows_that_are_given_are_looked_for(tmp_path: Path) -> None:
    vectors = _all_layers(_MANY)
    old, new = _write(tmp_path / "old.h5", _warmed(vectors, 145)), _write(tmp_path / "new.h5", vectors)
    assert compare_files(old, new).reasons[0].name == "warm from the start"
    assert compare_files(old, new, batch_rows=[145]).reasons[0].values["rows"] == 145


def test_a_difference_in_layer_0_is_no_carried_state(tmp_path: Path) -> None:
    vectors = _all_layers(_MANY)
    old = _warmed(vectors, 64)
    old[100][0] += 0.1
    assert _compare(tmp_path, old, vectors).reasons == ()


def test_differences_here_and_there_are_no_carried_state(tmp_path: Path) -> None:
    vectors = _all_layers(_MANY)
    old = [
        clean if index % 3 == 0 else warm
        for index, clean, warm in zip(range(150), vectors, _warmed(vectors, 64), strict=True)
    ]
    assert _compare(tmp_path, old, vectors).reasons == ()


def test_a_state_that_was_warm_before_the_first_sentence_is_told_with_care(tmp_path: Path) -> None:
    vectors = _all_layers(_MANY)
    found = _compare(tmp_path, _warmed(vectors, 64, warm_before=True), vectors)
    assert _names(found) == ["warm from the start"] and "probably" in str(found.reasons[0])


@pytest.mark.parametrize("make", [lambda x: x, _mean])
def test_a_carried_state_is_confirmed_by_the_model(make: Callable[[Array], Array], tmp_path: Path) -> None:
    tokens = [[f"w{number}"] * length for number, length in enumerate(_MANY)]
    vectors = _all_layers(_MANY)
    asked: list[tuple[int, int]] = []

    def embed_warm(sentences: list[list[str]], rows: int) -> Iterator[Array]:
        asked.append((len(sentences), rows))
        assert sentences == tokens[: len(sentences)]
        yield from _warmed(vectors, rows)[: len(sentences)]

    old = _write(tmp_path / "old.h5", _of(make, _warmed(vectors, 32)))
    new = _write(tmp_path / "new.h5", _of(make, vectors), tokens)
    found = compare_files(old, new, embed_warm=embed_warm)
    assert _names(found) == ["warm", "confirmed"] and found.reasons[1].values == {"rows": 32}
    assert asked == [(150, 32)]


def test_a_model_that_gives_other_numbers_confirms_nothing(tmp_path: Path) -> None:
    tokens = [[f"w{number}"] * length for number, length in enumerate(_MANY)]
    vectors = _all_layers(_MANY)
    old = _write(tmp_path / "old.h5", _warmed(vectors, 32))
    new = _write(tmp_path / "new.h5", vectors, tokens)
    found = compare_files(old, new, embed_warm=lambda sentences, rows: iter(vectors[: len(sentences)]))
    assert _names(found) == ["warm"]


def test_a_single_batch_confirms_nothing(tmp_path: Path) -> None:
    [vectors], [others] = _all_layers([3]), _all_layers([3], seed=1)
    old, new = _write(tmp_path / "old.h5", [vectors]), _write(tmp_path / "new.h5", [others], [["the", "tide", "."]])
    assert compare_files(old, new, embed_warm=lambda sentences, rows: iter([vectors])).reasons == ()


# -- bad input, and what is said -----------------------------------------------------------------


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match=r"old\.h5 is not there"):
        compare_files(tmp_path / "old.h5", tmp_path / "new.h5")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    good = _write(tmp_path / "new.h5", _all_layers())
    (tmp_path / "old.npz").write_text("no vectors", encoding="utf-8")
    with pytest.raises(InputError, match=r"old\.npz cannot be read"):
        compare_files(tmp_path / "old.npz", good)


@pytest.mark.parametrize("tolerance", [-1.0, float("nan")])
def test_a_tolerance_is_not_negative(tolerance: float, tmp_path: Path) -> None:
    path = _write(tmp_path / "v.h5", _all_layers())
    with pytest.raises(InputError, match="expected 0 or more"):
        compare_files(path, path, tolerance=tolerance)


def test_a_difference_can_be_written_as_json(tmp_path: Path) -> None:
    found = json.loads(json.dumps(asdict(_compare(tmp_path, _all_layers(), _of(_sum, _all_layers())))))
    assert found["reasons"] == [{"name": "sum", "values": {"this": "old", "other": "new"}}]


def test_every_reason_has_a_chinese_form() -> None:
    texts = [*reasons.REASONS.values(), *reasons.FILES.values()]
    chinese = json.loads(resources.files("lowtide").joinpath("messages_zh.json").read_text(encoding="utf-8"))
    assert [text for text in texts if text not in chinese["say"]] == []


# -- with a model --------------------------------------------------------------------------------

_TEXT = [["the", "tide", "goes", "out"][: number % 5] for number in range(60)]


def test_what_one_model_gives_for_its_layers_is_told_apart(elmo: Elmo, tmp_path: Path) -> None:
    files = {
        str(layers): _write(tmp_path / f"{layers}.h5", list(elmo.embed_iter(_TEXT, layers=layers)))
        for layers in ("all", "top", "average", "sum", 0)
    }
    for layers, name in {"top": "one layer", "average": "mean", "sum": "sum", "0": "one layer"}.items():
        assert _names(compare_files(files["all"], files[layers])) == [name]
    assert _names(compare_files(files["average"], files["sum"])) == ["factor"]


@pytest.mark.parametrize("layers", ["all", "top", "average"])
def test_the_state_that_a_session_carried_is_found_and_confirmed(layers: str, elmo: Elmo, tmp_path: Path) -> None:
    def embed_warm(sentences: list[list[str]], rows: int) -> Iterator[Array]:
        return Session(elmo, rows=rows).embed_iter(sentences, layers="all")

    old = _write(tmp_path / "old.h5", list(Session(elmo, rows=32).embed_iter(_TEXT, layers=layers)))
    new = _write(tmp_path / "new.h5", list(elmo.embed_iter(_TEXT, layers=layers)), _TEXT)
    found = compare_files(old, new, embed_warm=embed_warm)
    assert [(reason.name, reason.values["rows"]) for reason in found.reasons] == [("warm", 32), ("confirmed", 32)]
