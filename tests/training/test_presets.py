from __future__ import annotations

import pytest

from lowtide.training.presets import PRESETS, nearest_preset


@pytest.mark.parametrize(
    ("cell_width", "name"),
    [(1, "tiny"), (256, "tiny"), (500, "tiny"), (512, "small"), (1400, "small"), (1449, "medium"), (9999, "original")],
)
def test_steps_are_those_of_the_preset_that_is_nearest_and_of_two_the_larger(cell_width: int, name: str) -> None:
    assert nearest_preset(cell_width) == name


def test_every_preset_is_the_nearest_to_itself() -> None:
    assert [nearest_preset(preset.lstm.cell_width) for preset in PRESETS.values()] == list(PRESETS)
