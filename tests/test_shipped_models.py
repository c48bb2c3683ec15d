"""The models that come with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lowtide
from lowtide.errors import ModelError
from lowtide.evaluation.comparison import compare
from lowtide.weights.catalogue import shipped_model

BANKS = [
    "We sat on the [bank] of the river and watched the boats go by.",
    "Willows grew along the muddy [bank] where the stream turned south.",
    "She went to the [bank] to borrow money for a new house.",
    "The [bank] raised its interest rates and closed two hundred accounts.",
]


@pytest.fixture(scope="module")
def en() -> lowtide.Elmo:
    return lowtide.load("en", device="cpu")


@pytest.mark.parametrize("name", ["en", "zh"])
def test_it_is_small_and_its_files_are_whole(name: str) -> None:
    folder = shipped_model(name)
    assert folder is not None
    assert (folder / "model.safetensors").stat().st_size < 16e6
    assert (folder / "softmax.safetensors").stat().st_size < 8e6
    assert "perplexity" in (folder / "README.md").read_text(encoding="utf-8")
    assert lowtide.load(name, device="cpu").calibration is not None


def test_the_bank_of_a_river_is_told_from_one_with_money(en: lowtide.Elmo) -> None:
    found = compare(en, BANKS, calibrated=True).surroundings
    assert found is not None
    across = found[:2, 2:]
    assert min(found[0, 1], found[2, 3]) > across.max()


def test_it_expects_what_people_would(en: lowtide.Elmo) -> None:
    places = en.language_model().guesses(["She sat down on the"], top=20)[0]
    assert {"table", "floor", "bed", "ground"} & {guess.type for guess in places[-1].from_left}
    assert "the" in {guess.type for guess in places[5].from_left}
    told = en.language_model().perplexity(["He was born in London in 1820 and died there in 1890."])
    assert told.mean < 200


def test_lower_case_text_is_known_too(en: lowtide.Elmo) -> None:
    one, other = en.embed(["The men walked down the street.", "the men walked down the street."])
    assert np.corrcoef(one[3], other[3])[0, 1] > 0.8


def test_goods_given_back_are_told_from_an_army_that_falls_back() -> None:
    sentences = [
        "这件衣服不合身，我想[退]货，请把钱还给我。",
        "商店答应给顾客[退]钱。",
        "敌军抵挡不住，只好向北败[退]。",
        "他吓得连连后[退]，不敢上前。",
    ]
    found = compare(lowtide.load("zh", device="cpu"), sentences, calibrated=True).surroundings
    assert found is not None
    assert min(found[0, 1], found[2, 3]) > found[:2, 2:].max()


def test_it_stays_as_it_is(en: lowtide.Elmo, tmp_path: Path) -> None:
    folder = shipped_model("en")
    assert folder is not None
    before = (folder / "calibration.safetensors").read_bytes()
    with pytest.raises(ModelError, match=r"en ships with lowtide, .* first `lowtide convert en FOLDER`"):
        en.calibrate(["a word"] * 200)
    assert (folder / "calibration.safetensors").read_bytes() == before


def test_a_text_in_another_language_is_warned_of(en: lowtide.Elmo, tmp_path: Path) -> None:
    text = tmp_path / "de.txt"
    text.write_text("Die Patientin klagte über heftige Schmerzen im rechten Unterbauch.\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"\d\d% of the tokens are unknown to this model.*pretrain TEXT --from"):
        en.embed_to(text, tmp_path / "de.npz")
    english = tmp_path / "en.txt"
    english.write_text("The patient felt a sharp pain in the side.\n", encoding="utf-8")
    en.embed_to(english, tmp_path / "en.npz")  # and nothing is said, or the test would fail
