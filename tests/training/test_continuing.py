from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import lowtide
import many_langs
import published
import tiny
from lowtide.embeddings.loading import read
from lowtide.errors import InputError, ModelError
from lowtide.evaluation.inspection import inspect
from lowtide.model import AdaptiveSoftmax, BiLM, Softmax
from lowtide.text.batches import TrainingBatch
from lowtide.text.vocabulary import UNKNOWN_INDEX, Vocabulary
from lowtide.training.continuing import begin_at, open_start, write_start
from lowtide.training.reading import TextOptions, read_text
from lowtide.training.settings import SoftmaxName
from lowtide.training.trainer import Trainer
from lowtide.training.training_text import open_text
from lowtide.weights.conversion import convert
from lowtide.weights.native import MORE_WORDS, TABLE, is_tied, load_model, save_model, write_list
from scenario import BUDGET, pretrain_mini, write_corpus


def _looks(out: Path) -> list[dict[str, float]]:
    entries = [json.loads(line) for line in (out / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    return [entry for entry in entries if "valid_forward" in entry]


def test_a_training_begins_where_the_model_has_ended(tmp_path: Path, mini_preset: None) -> None:
    corpus = write_corpus(tmp_path / "corpus.txt")
    first, second = tmp_path / "first", tmp_path / "second"
    pretrain_mini(corpus, first)
    lowtide.pretrain([corpus], out=second, from_model=first, tokens=BUDGET, min_count=1)
    ended = min(_looks(first), key=lambda look: look["valid_forward"] + look["valid_backward"])
    begun = _looks(second)
    for direction in ("valid_forward", "valid_backward"):
        assert begun[0][direction] == pytest.approx(ended[direction], rel=1e-5)
    assert min(look["valid_forward"] for look in begun) < begun[0]["valid_forward"]
    before, after = load_model(first).config, load_model(second).config
    assert after.tokenizer == before.tokenizer
    assert after.bilm.lstm == before.bilm.lstm


def test_a_published_model_is_trained_further(tmp_path: Path, mini_preset: None) -> None:
    pair = published.write_pair(tmp_path / "published")
    out = tmp_path / "out"
    corpus = write_corpus(tmp_path / "corpus.txt")
    # a rate that changes nothing that can be seen: what comes out is what went in
    lowtide.pretrain([corpus], out=out, from_model=pair, tokens=200, learning_rate=1e-9, language="en")
    found, given = load_model(out).bilm.state_dict(), read(pair).bilm.state_dict()
    for name, tensor in given.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5)
    looks = _looks(out)
    assert looks[0]["valid_unigram"] > 0
    assert load_model(out).spelling.row_length == tiny.CHAR_CNN.max_characters


def test_known_types_keep_their_rows_and_others_begin_at_unknown(tmp_path: Path) -> None:
    saved = tiny.save(tmp_path / "model", is_alphabet=True)
    stored = open_start(saved.folder)
    kept = saved.vocabulary.types[4]
    vocabulary = Vocabulary([*saved.vocabulary.types[:3], "新", kept], [5, 5, 1, 9, 4])
    start = write_start(stored, vocabulary, tmp_path / "start")
    bilm, softmax = BiLM(start.bilm), Softmax(len(vocabulary), stored.config.bilm.lstm.state_width)
    weight = softmax.weight.clone()
    before = softmax.bias.detach().clone()
    begin_at(tmp_path / "start", bilm, softmax)
    table = bilm.token_network.state_dict()["embedding.weight"]
    theirs = saved.bilm.token_network.state_dict()["embedding.weight"]
    assert torch.equal(table[4], theirs[4]) and torch.equal(table[3], theirs[UNKNOWN_INDEX])
    assert torch.equal(softmax.weight[4], saved.softmax.weight[4]) and torch.equal(softmax.weight[3], weight[3])
    known = [0, 1, 2, 4]
    assert float(softmax.bias.detach()[known].mean()) == pytest.approx(float(before[known].mean()), abs=1e-6)
    differences = (softmax.bias - saved.softmax.bias[: len(softmax.bias)]).detach()[known].tolist()
    assert differences == pytest.approx([differences[0]] * 4, abs=1e-6)
    assert torch.equal(
        bilm.forward_lstm.state_dict()["layers.0.bias"], saved.bilm.forward_lstm.state_dict()["layers.0.bias"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "small"}, "leave preset and trunk open"),
        ({"trunk": "lstm"}, "leave preset and trunk open"),
        ({"inputs": "words"}, "leave inputs and vectors open"),
        ({"tokenizer": "characters"}, "leave both open"),
        ({"language": "de"}, "leave both open"),
    ],
)
def test_what_the_model_has_decided_cannot_be_chosen(
    options: dict[str, str], message: str, tmp_path: Path, mini_preset: None
) -> None:
    saved = tiny.save(tmp_path / "model")
    corpus = write_corpus(tmp_path / "corpus.txt", num_sentences=20)
    with pytest.raises(InputError, match=message):
        lowtide.pretrain([corpus], out=tmp_path / "out", from_model=saved.folder, tokens=50, **options)  # type: ignore[arg-type]  # one of several options
    assert not (tmp_path / "out").exists()


def test_a_network_whose_directions_meet_is_refused(tmp_path: Path) -> None:
    many_langs.write(tmp_path / "model")
    with pytest.raises(InputError, match="cannot be trained further"):
        open_start(tmp_path / "model")


@pytest.mark.parametrize("is_tied", [True, False])
def test_what_is_tied_stays_tied_and_begins_where_the_model_has_ended(
    is_tied: bool, tmp_path: Path, mini_preset: None
) -> None:
    corpus = write_corpus(tmp_path / "corpus.txt")
    first, half, second = (tmp_path / name for name in ("first", "half", "second"))
    lowtide.pretrain([corpus], out=first, preset="tiny", inputs="words", tied=is_tied, tokens=BUDGET, min_count=1)
    convert(read(first), half, store="float16")
    lowtide.pretrain([corpus], out=second, from_model=half, tokens=BUDGET, min_count=1)
    ended = min(_looks(first), key=lambda look: look["valid_forward"] + look["valid_backward"])
    assert _looks(second)[0]["valid_forward"] == pytest.approx(ended["valid_forward"], rel=1e-2)  # rounded to float16
    config = load_model(second).config
    assert config.training["is_tied"] == is_tied
    assert config.training["begun_with"].startswith("half, checksum ")
    assert "begun with | half" in (second / "README.md").read_text(encoding="utf-8")
    if not is_tied:
        with pytest.raises(InputError, match="leave tied open"):
            lowtide.pretrain([corpus], out=tmp_path / "third", from_model=half, tied=True, tokens=50, min_count=1)


def test_a_model_of_documents_goes_on_with_documents(tmp_path: Path, mini_preset: None) -> None:
    corpus = write_corpus(tmp_path / "corpus.txt", num_sentences=100)
    first, second = tmp_path / "first", tmp_path / "second"
    lowtide.pretrain([corpus], out=first, preset="tiny", documents=True, tokens=500, min_count=1)
    lowtide.pretrain([corpus], out=second, from_model=first, tokens=500, min_count=1)
    assert load_model(second).config.documents


def test_a_stopped_training_goes_on_to_the_same_bits(
    tmp_path: Path, mini_preset: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_corpus(tmp_path / "corpus.txt")
    pretrain_mini(corpus, tmp_path / "first")
    step = Trainer.step

    def stopped(self: Trainer, batch: TrainingBatch) -> float:
        if self.position.step == 9 and self._log_path.name == "training.jsonl":
            raise RuntimeError("stopped")
        return step(self, batch)

    def go_on(out: Path, *, resume: bool = False) -> bytes:
        lowtide.pretrain([corpus], out=out, from_model=tmp_path / "first", tokens=BUDGET, min_count=1, resume=resume)
        return (out / "model.safetensors").read_bytes()

    whole = go_on(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stopped"):
        patch.setattr(Trainer, "step", stopped)
        go_on(tmp_path / "stopped")
    assert go_on(tmp_path / "stopped", resume=True) == whole


@pytest.mark.parametrize("softmax", ["full", "sampled", "adaptive"])
def test_words_that_the_new_text_has_not_keep_their_vectors(
    softmax: SoftmaxName, tmp_path: Path, mini_preset: None
) -> None:
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    corpus = write_corpus(tmp_path / "corpus.txt")
    lowtide.pretrain([corpus], out=first, preset="tiny", tokens=500, min_count=1, inputs="words", seed=3)
    (tmp_path / "other.txt").write_text("The w1x1 goes abroad .\n\n" * 150, encoding="utf-8")
    for before, after in ((first, second), (second, third)):
        lowtide.pretrain(
            [tmp_path / "other.txt"], out=after, from_model=before, tokens=500, min_count=1, softmax=softmax
        )
    given, found = load_model(first), load_model(second)
    assert given.knows("comes") and "comes" not in found.vocabulary and found.knows("comes")
    assert set(given.vocabulary.types) <= {*found.vocabulary.types, *found.more_words}
    assert "abroad" in found.vocabulary and not given.knows("abroad")
    rows = [stored.bilm.state_dict()[TABLE][stored.spelling.char_ids(["comes"])[0, 0]] for stored in (given, found)]
    assert torch.equal(*rows)
    assert is_tied(found.load_softmax(), found.bilm) and len(found.load_softmax().bias) == len(found.vocabulary)
    again = load_model(third)
    assert again.knows("comes") and len(again.more_words) == len(found.more_words)
    perplexity = lowtide.load(second).language_model().perplexity("The w1x1 goes abroad .")
    assert perplexity.mean < 20


def test_an_adaptive_softmax_goes_on_as_one_and_where_it_was(tmp_path: Path, mini_preset: None) -> None:
    corpus = write_corpus(tmp_path / "corpus.txt")
    first, second = tmp_path / "first", tmp_path / "second"
    lowtide.pretrain(
        [corpus], out=first, preset="tiny", tokens=BUDGET, min_count=1, inputs="words", softmax="adaptive", seed=3
    )
    lowtide.pretrain([corpus], out=second, from_model=first, tokens=300, min_count=1)
    assert load_model(second).config.cutoffs == load_model(first).config.cutoffs != ()
    ended = min(_looks(first), key=lambda look: look["valid_forward"] + look["valid_backward"])
    for direction in ("valid_forward", "valid_backward"):
        assert _looks(second)[0][direction] == pytest.approx(ended[direction], rel=1e-5)
    assert "adaptive softmax" in (second / "README.md").read_text(encoding="utf-8")
    assert any("with an adaptive softmax" in line for line in inspect(lowtide.load(second)).lines())


def test_what_another_text_has_left_behind_is_not_read(tmp_path: Path, mini_preset: None) -> None:
    corpus, out = write_corpus(tmp_path / "corpus.txt"), tmp_path / "out"
    write_list(begun(out) / "text" / MORE_WORDS, ["secret"])
    lowtide.pretrain([corpus], out=out, preset="tiny", tokens=300, min_count=1, inputs="words")
    assert not load_model(out).knows("secret") and not (out / MORE_WORDS).exists()


def begun(out: Path) -> Path:
    """The work folder of a run that was killed before its first step."""
    (out / "work" / "text").mkdir(parents=True)
    (out / "work" / ".lowtide").touch()
    return out / "work"


def test_words_that_are_gone_are_missed(tmp_path: Path, mini_preset: None) -> None:
    first = tmp_path / "first"
    lowtide.pretrain(
        [write_corpus(tmp_path / "corpus.txt")], out=first, preset="tiny", tokens=300, min_count=1, inputs="words"
    )
    (tmp_path / "other.txt").write_text("The w1x1 goes abroad .\n\n" * 50, encoding="utf-8")
    text = read_text([tmp_path / "other.txt"], TextOptions(from_model=first), tmp_path / "text")
    assert len(text.more_words) > 1000
    (tmp_path / "text" / MORE_WORDS).unlink()
    with pytest.raises(ModelError, match=r"holds \d+ words, expected \d+: is words\.txt as it was"):
        open_text(tmp_path / "text")


def test_the_card_says_which_words_a_folder_gives_away(
    tmp_path: Path, mini_preset: None, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    lowtide.pretrain(
        [write_corpus(tmp_path / "corpus.txt")], out=first, preset="tiny", tokens=300, min_count=1, inputs="words"
    )
    (tmp_path / "other.txt").write_text("The w1x1 goes abroad .\n\n" * 50, encoding="utf-8")
    caplog.set_level("INFO", logger="lowtide")
    lowtide.pretrain([tmp_path / "other.txt"], out=second, from_model=first, tokens=300, min_count=1)
    count = f"{len(load_model(second).more_words):,}"
    assert f"And `words.txt`: {count} words of the model it was begun with." in (second / "README.md").read_text(
        "utf-8"
    )
    assert f"kept        {count} words" in caplog.text and f"words.txt lists the {count} words of first" in caplog.text


def test_an_adaptive_softmax_gives_its_rows_to_any_other(tmp_path: Path) -> None:
    saved = tiny.save(tmp_path / "model", is_alphabet=True)
    size, width = len(saved.vocabulary), saved.bilm.config.lstm.state_width
    given = AdaptiveSoftmax(size, width, (2, 5))
    tiny.random_(given)
    save_model(saved.folder, dataclasses.replace(saved.config, cutoffs=(2, 5)), saved.vocabulary, saved.bilm, given)
    write_start(open_start(saved.folder), saved.vocabulary, tmp_path / "start")
    for softmax in (Softmax(size, width), AdaptiveSoftmax(size, width, (4, 7)), AdaptiveSoftmax(size, width, (4,))):
        before = softmax.bias.detach().clone().normal_()
        with torch.no_grad():
            softmax.bias.copy_(before)
        begin_at(tmp_path / "start", BiLM(saved.bilm.config), softmax)
        assert torch.equal(softmax.weight, given.weight)
        for types in (slice(0, 2), slice(2, 5), slice(5, size)):  # what was predicted side by side
            moved = (softmax.bias - given.bias)[types]
            torch.testing.assert_close(moved, moved[:1].expand_as(moved))
            torch.testing.assert_close(softmax.bias[types].mean(), before[types].mean())
        if isinstance(softmax, AdaptiveSoftmax):
            assert torch.equal(softmax.cluster_weight, given.cluster_weight) == (len(softmax.cutoffs) == 2)


def test_a_damaged_start_is_named(tmp_path: Path) -> None:
    saved = tiny.save(tmp_path / "model")
    start = write_start(open_start(saved.folder), saved.vocabulary, tmp_path / "start")
    (tmp_path / "start").write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="start cannot be read"):
        begin_at(tmp_path / "start", BiLM(start.bilm), saved.softmax)
