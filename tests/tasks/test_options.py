from __future__ import annotations

import json
import re

import numpy as np
import pytest

from lowtide import task_commands
from lowtide.config import to_json
from lowtide.embeddings import loading as embedding_loading
from lowtide.errors import ConfigError
from lowtide.tasks import Tagger, loading
from lowtide.tasks.options import (
    KINDS,
    ClassifierOptions,
    FitOptions,
    HeadOptions,
    LayerOptions,
    MatcherOptions,
    TaggerOptions,
)
from lowtide.training.folder import TASK


def test_what_opens_models_knows_tasks_by_the_signs_that_tasks_have() -> None:
    assert embedding_loading._TASKS == KINDS
    assert (TASK.begun, TASK.ended) == (embedding_loading._TASK_BEGUN, embedding_loading._SEED_RESULTS)


def test_every_kind_of_task_can_be_opened_and_taught() -> None:
    commands = [command.callback for command in task_commands.train.registered_commands]
    assert tuple(getattr(command, "__name__", "") for command in commands) == tuple(loading._OPENED) == KINDS


@pytest.mark.parametrize("choice", ["mix", "context", "all", "lerned", "-1", ""])
def test_choices_of_layers_that_nobody_knows_are_refused(choice: str) -> None:
    with pytest.raises(ConfigError, match=f"layers is '{choice}', expected learned, top, average, sum or a number"):
        LayerOptions(choice)


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        (LayerOptions, "layer_norm", "none, token"),
        (HeadOptions, "reader", "lstm, none"),
        (TaggerOptions, "scheme", "auto, none, IOB1, IOB2, BIOES, BMES, BILOU"),
        (ClassifierOptions, "pool", "mean, max, both"),
        (MatcherOptions, "pool", "mean, max, both"),
        (MatcherOptions, "objective", "classify, cosine, contrastive"),
    ],
)
def test_choices_that_nobody_knows_are_refused_before_anything_is_built(
    options: type, name: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is 'IOBES', expected {expected}$"):
        options(**{name: "IOBES"})


def test_options_of_another_class_are_refused() -> None:
    with pytest.raises(ConfigError, match="layers is str, expected LayerOptions"):
        HeadOptions(layers="top")  # type: ignore[arg-type]  # a mistake
    with pytest.raises(ConfigError, match="fine_tuning is bool, expected FineTuning"):
        FitOptions(fine_tuning=True)  # type: ignore[arg-type]  # a mistake
    with pytest.raises(ConfigError, match="options are ClassifierOptions, expected TaggerOptions"):
        Tagger([], ClassifierOptions())  # type: ignore[arg-type]  # a mistake


def test_the_number_of_a_layer_may_be_a_number() -> None:
    assert LayerOptions(1) == LayerOptions("1")  # type: ignore[arg-type]  # kept as text


def test_a_seed_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed is -1, expected 0 to"):
        FitOptions(seed=-1)


@pytest.mark.parametrize("value", [-1, 10**9])
@pytest.mark.parametrize("name", ["state_width", "num_reader_layers", "char_filters"])
def test_sizes_that_nobody_has_are_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is {value}, expected [01] to [\d,]+$"):
        HeadOptions(**{name: value})  # type: ignore[arg-type]  # a name of a size


@pytest.mark.parametrize("seed", [2**32, 10**23])
def test_a_seed_that_nothing_draws_by_is_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match=f"^seed is {seed}, expected 0 to 4,294,967,295$"):
        FitOptions(seed=seed)


@pytest.mark.parametrize(
    ("options", "name", "value", "expected"),
    [
        (FitOptions, "seed", 1.5, "a whole number"),
        (FitOptions, "epochs", "3", "a whole number"),
        (HeadOptions, "state_width", 8.0, "a whole number"),
        (FitOptions, "learning_rate", "fast", "a number"),
        (HeadOptions, "dropout", None, "a number"),
    ],
)
def test_what_is_no_number_is_named(options: type, name: str, value: object, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is {re.escape(repr(value))}, expected {expected}$"):
        options(**{name: value})


def test_numbers_of_numpy_can_be_written_down() -> None:
    options = FitOptions(seed=np.int64(3), learning_rate=np.float32(0.5))  # type: ignore[arg-type]  # of NumPy
    assert json.dumps(to_json(options)) == json.dumps(to_json(FitOptions(seed=3, learning_rate=0.5)))


@pytest.mark.parametrize(("num_examples", "size"), [(1, 4), (140, 4), (421, 8), (1404, 28), (14041, 32)])
def test_few_examples_are_learned_from_in_small_batches(num_examples: int, size: int) -> None:
    assert FitOptions().batch_size_of(num_examples) == size
    assert FitOptions(batch_size=7).batch_size_of(num_examples) == 7
