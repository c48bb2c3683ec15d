from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from command import Command
from lowtide.embeddings import Elmo
from lowtide.embeddings.type_vectors import type_config
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import InputError, MissingPathError
from lowtide.evaluation.senses import measure, measure_pairs, measure_senses
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import SPECIALS, Vocabulary

WET, RICH = ("river", "water", "shore"), ("money", "loan", "vault")


@pytest.fixture
def topical() -> Word2Vec:
    """Words of two subjects, in two directions."""
    types = [*WET, *RICH, "bank"]
    vectors = np.zeros((len(SPECIALS) + len(types), 2), np.float32)
    vectors[3:6], vectors[6:9], vectors[9] = [1, 0.1], [0.1, 1], [1, 1]
    vocabulary = Vocabulary([*SPECIALS, *types], [1, 1, 0, *[5] * len(types)])
    return Word2Vec(type_config("word2vec", make_tokenizer("words", language="en").config), vocabulary, vectors)


def write_uses(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    lines = [f"bank\t{sense}\t1\t{context} bank" for sense, context in rows]
    path.write_text("\n".join(["word\tsense\ttoken_index\tsentence", *lines]) + "\n", encoding="utf-8")
    return path


def write_pairs(path: Path, rows: Sequence[tuple[str, str, str]]) -> Path:
    lines = [f"{label}\t{a} bank\t{len(a) + 1}\t{len(a) + 5}\tbank {b}\t0\t4" for label, a, b in rows]
    header = "label\tsentence1\tstart1\tend1\tsentence2\tstart2\tend2"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def train(tmp_path: Path) -> Path:
    wet = [("wet", WET[n % 3]) for n in range(30)]
    rich = [("rich", RICH[n % 3]) for n in range(10)]
    return write_uses(tmp_path / "train.tsv", wet + rich)


def test_what_stands_around_a_word_tells_its_senses_apart(topical: Word2Vec, train: Path, tmp_path: Path) -> None:
    test = write_uses(tmp_path / "test.tsv", [("wet", "water"), ("rich", "loan"), ("rich", "vault"), ("rich", "shore")])
    found = measure_senses(topical, train, test)
    assert found.view == "context" and found.chosen_from["context"] == 1 > found.chosen_from["0"]
    assert found.recalls == {"bank": {"wet": 1.0, "rich": pytest.approx(2 / 3)}}
    assert found.mean_recall == pytest.approx(5 / 6)
    assert (found.accuracy, found.majority) == (0.75, 0.25)
    assert (found.num_train, found.num_test) == (40, 4)


def test_few_uses_choose_the_vectors_too(topical: Word2Vec, tmp_path: Path) -> None:
    rows = [("wet", "river"), ("rich", "loan"), ("wet", "water"), ("rich", "money")]
    train, test = write_uses(tmp_path / "train.tsv", rows), write_uses(tmp_path / "test.tsv", rows)
    found = measure_senses(topical, train, test)
    assert (found.view, found.chosen_from["context"], found.mean_recall) == ("context", 1, 1)
    with pytest.raises(InputError, match=r"no sense of .*train\.tsv has two uses"):
        measure_senses(topical, write_uses(tmp_path / "train.tsv", rows[:2]), test)


def test_words_that_cannot_be_learnt_are_not_judged(topical: Word2Vec, train: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.tsv"
    test.write_text("word\tsense\ttoken_index\tsentence\nbow\tarrow\t0\tbow river\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"no word of .*test\.tsv has a use in .*train\.tsv"):
        measure_senses(topical, train, test)


def test_a_threshold_parts_one_meaning_from_two(topical: Word2Vec, tmp_path: Path) -> None:
    rows = [("T", "river", "water"), ("T", "loan", "money"), ("F", "river", "vault"), ("F", "loan", "shore")]
    valid, test = (
        write_pairs(tmp_path / "valid.tsv", rows),
        write_pairs(tmp_path / "test.tsv", [*rows, ("F", *WET[:2])]),
    )
    found = measure_pairs(topical, valid, test)
    assert found.view == "context" and found.chosen_from["context"] == 1
    assert (found.accuracy, found.num_test, found.num_folds) == (0.8, 5, 1)


def test_one_file_of_pairs_judges_itself_in_folds(topical: Word2Vec, tmp_path: Path) -> None:
    rows = [("T", "river", "water"), ("F", "river", "vault")] * 10
    found = measure_pairs(topical, write_pairs(tmp_path / "valid.tsv", rows))
    assert (found.view, found.accuracy, found.num_folds) == ("context", 1.0, 10)


def test_no_fold_is_judged_with_what_it_chose_itself(topical: Word2Vec, tmp_path: Path) -> None:
    """Pairs of the last tenth are labelled the wrong way round; whoever looks at them there gets some of them right."""
    rows = [("T", "river", "water"), ("F", "river", "vault")] * 9 + [("F", "river", "water"), ("T", "river", "vault")]
    assert measure_pairs(topical, write_pairs(tmp_path / "valid.tsv", rows)).accuracy == 0.9


def test_fewer_pairs_than_folds_are_refused_unless_others_are_judged(topical: Word2Vec, tmp_path: Path) -> None:
    rows = [("T", "river", "water"), ("F", "river", "vault")] * 5
    told = r"valid\.tsv holds 9 pairs, ten folds need at least 10: give a file to be judged, too"
    few = write_pairs(tmp_path / "valid.tsv", rows[:9])
    for ask in (measure, measure_pairs):
        with pytest.raises(InputError, match=told):
            ask(topical, few)
    assert measure_pairs(topical, few, few).num_folds == 1
    assert measure_pairs(topical, write_pairs(tmp_path / "ten.tsv", rows)).num_folds == 10


@pytest.mark.parametrize("ask", [measure, measure_pairs])
def test_a_test_of_pairs_that_cannot_be_read_is_told_before_anything_is_embedded(
    ask: Callable[[Word2Vec, Path, Path], object], topical: Word2Vec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Word2Vec, "embed_iter", lambda *_, **__: pytest.fail("embedded"))
    valid = write_pairs(tmp_path / "valid.tsv", [("T", "river", "water"), ("F", "river", "vault")])
    broken = write_pairs(tmp_path / "broken.tsv", [("X", "river", "water")])
    with pytest.raises(InputError, match=r"broken\.tsv:2: found label 'X'"):
        ask(topical, valid, broken)
    with pytest.raises(MissingPathError, match=r"none\.tsv is not there"):
        ask(topical, valid, tmp_path / "none.tsv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_is_measured_may_come_through_a_pipe(topical: Word2Vec, train: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(train.read_bytes()), daemon=True)
    writer.start()
    assert measure(topical, pipe, train) == measure(topical, train, train)
    writer.join()


def test_every_layer_of_a_language_model_is_looked_at(elmo: Elmo, train: Path, tmp_path: Path) -> None:
    test = write_uses(tmp_path / "test.tsv", [("wet", "water")])
    assert list(measure_senses(elmo, train, test).chosen_from) == ["0", "1", "2", "mix", "context", "surroundings"]


def test_uses_without_a_test_are_refused(topical: Word2Vec, train: Path) -> None:
    with pytest.raises(InputError, match="give a file of other ones to be judged"):
        measure(topical, train)


def test_the_command_tells_what_was_chosen(topical: Word2Vec, train: Path, tmp_path: Path, run: Command) -> None:
    topical.save(tmp_path / "vectors")
    test = write_uses(tmp_path / "test.tsv", [("wet", "water"), ("rich", "loan")])
    told = run("evaluate", "senses", tmp_path / "vectors", train, test)
    assert told.code == 0 and "vectors     context, the best of 2" in told.out and "recall      1.000" in told.out
    answer = json.loads(run("evaluate", "senses", tmp_path / "vectors", train, test, "--json").out)
    assert answer["mean_recall"] == 1 and answer["view"] == "context"
