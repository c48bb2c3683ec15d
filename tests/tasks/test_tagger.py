from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowtide.embeddings import Elmo
from lowtide.errors import ConfigError, InputError
from lowtide.tasks import ColumnOptions, FineTuning, FitOptions, LayerOptions, Tagger, TaggerOptions
from lowtide.tasks.inputs import Inputs
from lowtide.tasks.schemes import convert
from stand_ins import SENTENCES, TAGS, Rung, write_conll

LINEAR = TaggerOptions(reader="none", dropout=0.0, char_filters=0)
QUICK = FitOptions(epochs=40, patience=40, batch_size=3, learning_rate=0.03)
DATA = (SENTENCES, TAGS)


@pytest.fixture(scope="module")
def learned() -> Tagger:
    return Tagger(Rung(telling=1), LINEAR).fit(*DATA, valid=DATA, options=QUICK)


def test_tags_are_learned(learned: Tagger) -> None:
    assert learned.predict(SENTENCES) == TAGS
    assert learned.scores["valid"].score == 1
    assert learned.predict([[], SENTENCES[0]]) == [[], TAGS[0]]


@pytest.mark.parametrize("telling", [0, 1, 2])
def test_the_layer_that_tells_the_tags_weighs_most(telling: int) -> None:
    options = TaggerOptions(reader="none", dropout=0.2, char_filters=0, layers=LayerOptions(penalty=0.0))
    quick = FitOptions(epochs=12, batch_size=3, learning_rate=0.03)
    tagger = Tagger(Rung(telling), options).fit(*DATA, options=quick)
    assert int(tagger.mix.weights.argmax()) == telling and tagger.mix.weights.max() > 0.5
    first, last = tagger.history.alphas()[f"input {telling}"][0], tagger.history.alphas()[f"input {telling}"][-1]
    assert last[1] > first[1] and last[0] == tagger.history.num_epochs


def test_a_large_lambda_holds_the_mix_at_the_plain_mean() -> None:
    options = TaggerOptions(reader="none", dropout=0.0, layers=LayerOptions(penalty=100.0))
    tagger = Tagger(Rung(), options).fit(*DATA, options=FitOptions(epochs=10, batch_size=3, learning_rate=0.005))
    np.testing.assert_allclose(tagger.mix.weights.detach(), 1 / 3, atol=0.02)


def test_the_states_of_a_frozen_embedding_are_computed_once(tmp_path: Path) -> None:
    rung = Rung()
    for _ in range(2):
        Tagger(rung, LINEAR).fit(*DATA, valid=DATA, options=FitOptions(epochs=2), store=tmp_path)
    assert rung.num_calls == 1


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BMES", "BILOU"])
def test_tags_come_back_in_the_scheme_they_were_given_in(scheme: str) -> None:
    tags = [convert(of, "IOB2", scheme) for of in TAGS]  # type: ignore[arg-type]  # one of them
    tagger = Tagger(Rung(), LINEAR).fit(SENTENCES, tags, options=QUICK)
    assert (tagger.scheme, tagger.predict(SENTENCES)) == (scheme, tags)
    assert tagger.evaluate(*DATA).score == 1  # judged as spans, in whichever scheme they are written


@pytest.mark.parametrize(
    "tags", [[["S-_", "O"], ["B-_", "E-_"]], [["B-_", "O"], ["B-_", "I-_"]], [["B", "O"], ["B", "I"]]]
)
def test_a_type_that_is_called_as_what_has_none_comes_back(tags: list[list[str]]) -> None:
    sentences = [["the", "tide"], ["river", "bank"]]
    tagger = Tagger(Rung(), LINEAR).fit(sentences, tags, valid=(sentences, tags), options=replace(QUICK, epochs=120))
    assert tagger.predict(sentences) == tags and tagger.evaluate(sentences, tags).score == 1


def test_what_was_learned_in_a_scheme_that_was_said_is_judged_in_it() -> None:
    sentences, tags = [["the", "tide"], ["river", "bank"]], [["B", "O"], ["B-PER", "I-PER"]]
    tagger = Tagger(Rung(), replace(LINEAR, scheme="IOB2"))
    tagger.fit(sentences, tags, valid=(sentences, tags), options=replace(QUICK, epochs=120))
    assert tagger.evaluate(sentences, tags).score == 1
    others = [convert(of, "IOB2", "BIOES") for of in [["B-PER", "O"], ["B-PER", "I-PER"]]]
    assert tagger.evaluate(sentences, others).score == 0.5


def test_tags_that_write_no_spans_are_judged_by_accuracy() -> None:
    tags = [["N" if word in ("tide", "bank", "river") else "X" for word in words] for words in SENTENCES]
    options = TaggerOptions(reader="none", dropout=0.0, layers=LayerOptions("1"))
    tagger = Tagger(Rung(), options).fit(SENTENCES, tags, valid=(SENTENCES, tags), options=QUICK)
    assert (tagger.scheme, tagger.labels) == (None, ["N", "X"])
    assert (tagger.scores["valid"].metric, tagger.scores["valid"].score) == ("accuracy", 1)
    plain = Tagger(Rung(), TaggerOptions(scheme="none")).fit(*DATA, options=FitOptions(epochs=1))
    assert plain.labels == ["B-X", "B-Y", "I-Y", "O"]


def test_the_best_taggings_begin_with_the_one_that_is_predicted(learned: Tagger) -> None:
    for best, tags in zip(learned.predict_n_best(SENTENCES[:2], 4), TAGS, strict=False):
        assert best[0].tags == tags and len(best) == 4
        probabilities = [tagging.probability for tagging in best]
        assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) <= 1 + 1e-6


def test_marginals_are_probabilities_of_the_tags_of_the_network(learned: Tagger) -> None:
    [found] = learned.marginals([["river", "bank"]])
    assert learned.labels == ["O", "S-X", "B-X", "I-X", "E-X", "S-Y", "B-Y", "I-Y", "E-Y"]
    assert [learned.labels[number] for number in found.argmax(axis=1)] == ["B-Y", "E-Y"]
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_the_same_seed_learns_the_same_and_another_one_does_not() -> None:
    options = TaggerOptions(state_width=3, char_filters=2)
    fits = [Tagger(Rung(), options).fit(*DATA, options=FitOptions(epochs=2, seed=seed)) for seed in (4, 4, 5)]
    first, again, other = (torch.cat([p.flatten() for p in fit.network.parameters()]) for fit in fits)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_text_is_cut_by_the_tokenizer_of_the_embedding(elmo: Elmo) -> None:
    tagger = Tagger([elmo], LINEAR).fit(["the tide.", "bank"], [["O", "B-X", "O"], ["O"]], options=FitOptions(epochs=1))
    assert [len(tags) for tags in tagger.predict(["The tide goes out.", ["bank"]])] == [5, 1]
    with pytest.raises(InputError, match="no embedding of this task has a tokenizer"):
        Tagger(Rung()).fit(["the tide"], [["O", "B-X"]])


def test_files_are_learned_from_and_judged(tmp_path: Path) -> None:
    path = write_conll(tmp_path / "t.conll")
    tagger = Tagger(Rung(), LINEAR).fit_file(path, valid=path, options=QUICK)
    assert tagger.evaluate_file(path).score == 1
    assert tagger.evaluate_file(path, columns=ColumnOptions(tag=1)).by_label["Y"].wanted == 4


def test_unknown_tags_are_named_and_count_as_errors(learned: Tagger, tmp_path: Path) -> None:
    path = write_conll(tmp_path / "t.conll", [["river", "bank"], ["sat"]], [["B-Y", "I-Y"], ["B-NEW"]])
    with pytest.warns(UserWarning, match=r"t\.conll:4: the label 'B-NEW' stands in no training example"):
        found = learned.evaluate_file(path)
    assert found.by_label["NEW"].recall == 0 and found.wrong == [1]


@pytest.mark.parametrize(
    ("sentences", "tags", "message"),
    [
        ([["a"], ["b"]], [["O"]], "found 2 sentences and 1 lists of tags"),
        ([["a", "b"]], [["O"]], r"sentences\[0\]: found 2 tokens and 1 tags"),
        ([["a", "b"], []], [["B-X", "O"], []], r"sentences\[1\]: the sentence holds no token"),
        ([["a", "b"]], [["O", "O"]], "all 1 examples have the label 'O'"),
        ([["a", "b", "c"]], [["B-X", "O", "I-X"]], r"sentences\[0\], token 2: 'I-X' cannot stand behind 'O' in IOB2"),
        ([], [], "found no example"),
        ([["a", "b"]], [["O", 1]], r"sentences\[0\], token 1: the tag is int, expected a text"),
    ],
)
def test_examples_that_cannot_be_learned_from_are_refused(sentences: list[list[str]], tags: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tagger(Rung()).fit(sentences, tags)


def test_what_has_learned_nothing_says_so() -> None:
    both = TaggerOptions(layers=LayerOptions(at_output=True))
    with pytest.raises(InputError, match="this tagger has learned nothing yet"):
        Tagger(Rung()).predict([["a"]])
    with pytest.raises(InputError, match="found str, expected an embedding"):
        Tagger(["en"])  # type: ignore[list-item]  # the mistake that is tested
    with pytest.raises(InputError, match="this task learned no mix"):
        _ = Tagger(Rung(), TaggerOptions(layers=LayerOptions("top"))).fit(*DATA, options=FitOptions(epochs=1)).mix
    with pytest.raises(
        InputError, match="a mix for each embedding: take one of mixes: input 1, input 2, output 1, outp"
    ):
        _ = Tagger([Rung(), Rung()], both).fit(*DATA, options=FitOptions(epochs=1)).mix
    alone = Tagger(Rung(), both).fit(*DATA, options=FitOptions(epochs=1))
    assert alone.mix is alone.mixes["input"] is not alone.mixes["output"]
    with pytest.raises(ConfigError, match=r"dropout is 1\.5, expected 0 or more"):
        TaggerOptions(dropout=1.5)


def test_an_embedding_that_cannot_learn_is_not_fine_tuned() -> None:
    with pytest.raises(InputError, match="no embedding of this task can be trained further"):
        Tagger(Rung()).fit(*DATA, options=FitOptions(fine_tuning=FineTuning()))


def test_one_bare_text_is_a_list_of_one(elmo: Elmo) -> None:
    tagger = Tagger(elmo, LINEAR, device="cpu").fit(*DATA, options=FitOptions(epochs=1))
    for found in (tagger.predict("the tide"), tagger.marginals("the tide"), tagger.predict_n_best("the tide", 1)):
        assert len(found) == 1
    with pytest.raises(InputError, match="count is 0"):
        tagger.predict_n_best([["the"]], 0)


def test_validation_tags_that_write_no_span_are_refused_before_anything_is_learned() -> None:
    rung = Rung()
    with pytest.raises(InputError, match=r"valid\[0\].*'N' writes no span, and the tags learned from do"):
        Tagger(rung, LINEAR).fit(*DATA, valid=([["the"]], [["N"]]), options=QUICK)
    assert rung.num_calls == 0


def test_test_tags_that_write_no_span_are_refused(learned: Tagger) -> None:
    with pytest.raises(InputError, match="writes no span"):
        learned.evaluate([["the", "bank"]], [["N", "V"]])


def test_another_fit_forgets_what_was_measured() -> None:
    tagger = Tagger(Rung(), LINEAR).fit(*DATA, valid=DATA, options=FitOptions(epochs=1))
    tagger.evaluate(*DATA)
    tagger.fit(*DATA, options=FitOptions(epochs=1))
    assert not tagger.scores and not tagger.worst


def test_layers_are_opened_one_by_one_while_it_fits(elmo: Elmo) -> None:
    options = FitOptions(epochs=1, fine_tuning=FineTuning(learning_rate=0.1))
    tagger = Tagger(elmo, LINEAR, device="cpu").fit(*DATA, options=options)
    encoder = tagger.network.encoder(0)
    assert encoder is not None  # in the first epoch the head learns alone
    for name, tensor in elmo.encoder().state_dict().items():
        assert torch.equal(encoder.state_dict()[name], tensor), name


def test_memory_of_an_answer_is_bounded_by_positions_and_not_by_rows(
    learned: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowtide.tasks.task.TOKENS_AT_ONCE", 40)
    seen: list[tuple[int, int]] = []
    answer = learned._answer

    def watched(inputs: Inputs, numbers: Sequence[int]) -> list[list[str]]:
        lengths = [len(inputs.sentences[number]) for number in numbers]
        seen.append((len(lengths), max(lengths)))
        return answer(inputs, numbers)

    monkeypatch.setattr(learned, "_answer", watched)
    sentences = [["the"] * 30, *[["the", "tide"]] * 9]
    assert [len(tags) for tags in learned.predict(sentences)] == [30, *[2] * 9]
    assert all(rows == 1 or rows * longest <= 40 for rows, longest in seen)


def test_what_never_stands_outside_is_never_put_there() -> None:
    segmented = [["B" if n == 0 else "M" if n < len(s) - 1 else "E" for n in range(len(s))] for s in SENTENCES]
    segmented = [["S"] if len(tags) == 1 else tags for tags in segmented]
    tagger = Tagger(Rung(), LINEAR, device="cpu").fit(SENTENCES, segmented, options=FitOptions(epochs=1))
    assert set(tagger.labels) == {"B", "I", "E", "S"}
    assert not any("O" in tags for tags in tagger.predict(SENTENCES))


@pytest.mark.parametrize("tags", [TAGS, [["D", "N", "V", "N"][: len(s)] for s in SENTENCES]])
def test_json_lines_are_learned_and_judged(tags: list[list[str]], tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"tokens": sentence, "tags": of} for sentence, of in zip(SENTENCES, tags, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tagger = Tagger(Rung(), TaggerOptions(reader="none"), device="cpu").fit_file(
        path, valid=path, options=FitOptions(epochs=1)
    )
    assert tagger.evaluate_file(path).num_examples == len(SENTENCES)
    with pytest.raises(InputError, match="which has no columns: leave --column and --token-column out"):
        tagger.evaluate_file(path, columns=ColumnOptions(token=1))


def test_a_tag_that_breaks_its_scheme_is_named_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"tokens": ["a", "b", "c"], "tags": ["O", "B-X", "Z-X"]}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.jsonl:1, token 2: 'Z-X' is no tag of"):
        Tagger(Rung(), TaggerOptions(scheme="IOB2")).fit_file(path)
