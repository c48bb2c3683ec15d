from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowtide.errors import ConfigError, InputError
from lowtide.model import Dropouts
from lowtide.training.regularisation import AWD, SMALL_TEXT, dropouts_for, dropouts_said

RATE = st.integers(0, 99).map(lambda percent: percent / 100)


@pytest.mark.parametrize(("epochs", "rate"), [(1, 0.0), (2, 0.0), (2.1, 0.1), (10, 0.1), (10.1, 0.2), (1000, 0.2)])
@pytest.mark.parametrize("is_large", [False, True])
def test_characters_and_large_texts_get_one_rate_by_passes(epochs: float, rate: float, is_large: bool) -> None:
    found = dropouts_for(epochs, num_tokens=SMALL_TEXT + 1 if is_large else 1000, has_words=is_large)
    assert found == Dropouts.plain(rate)


def test_words_of_a_small_text_get_more_the_more_often_it_is_read() -> None:
    steps = [dropouts_for(epochs, num_tokens=2_000_000, has_words=True) for epochs in (2, 5, 6, 20, 31)]
    assert (steps[0], steps[1], steps[-1]) == (Dropouts(), Dropouts.plain(0.1), AWD)
    assert all(step.is_locked and step.types and step.recurrent for step in steps[2:])
    for less, more in itertools.pairwise(steps):
        assert sum(less.rates.values()) < sum(more.rates.values())


def test_the_set_of_awd_lstm_is_the_published_one() -> None:
    assert str(AWD) == "types=0.1,inputs=0.65,hidden=0.2,outputs=0.4,recurrent=0.5,locked"


@given(st.builds(Dropouts, types=RATE, inputs=RATE, hidden=RATE, outputs=RATE, recurrent=RATE, is_locked=st.booleans()))
def test_what_is_told_can_be_said_again(dropouts: Dropouts) -> None:
    assert dropouts_said(str(dropouts)) == dropouts


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("auto", None),
        ("0", Dropouts()),
        ("0.3", Dropouts.plain(0.3)),
        ("types=0.1, locked", Dropouts(types=0.1, is_locked=True)),
        ("recurrent=.5", Dropouts(recurrent=0.5)),
    ],
)
def test_the_command_line_may_say_a_rate_or_several(said: str, meant: Dropouts | None) -> None:
    assert dropouts_said(said) == meant


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("much", "dropout: found 'much', expected auto, a rate such as 0.1, or rates such as types=0.1,inputs=0.65"),
        ("input=0.4", "found 'input=0.4'.*Did you mean 'inputs'?"),
        ("types=0.1,lokced", "found 'lokced'.*Did you mean 'locked'?"),
        ("types", "found 'types'"),
        ("types=", "found 'types='"),
        ("", "found ''"),
        ("0.1,locked", "found '0.1'"),
    ],
)
def test_what_cannot_be_understood_is_told_with_what_can(said: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        dropouts_said(said)


@pytest.mark.parametrize("said", ["1.5", "inputs=1.5"])
def test_a_rate_that_is_no_share_is_refused(said: str) -> None:
    with pytest.raises(ConfigError, match=r"the dropout of inputs is 1.5, expected 0 up to 1"):
        dropouts_said(said)
