from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lowtide.embeddings import Elmo
from lowtide.embeddings.type_vectors import type_config
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.tasks import FineTuning, FitOptions, Tagger, TaggerOptions, fitting
from lowtide.tasks.fine_tuning import layer_parameters, open_layers, tuned_groups
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import SPECIALS, Vocabulary
from stand_ins import SENTENCES, TAGS, WORDS


def test_every_parameter_belongs_to_one_layer(elmo: Elmo) -> None:
    layers = layer_parameters(elmo.encoder())
    assert len(layers) == elmo.num_layers
    assert sum(map(len, layers)) == len(list(elmo.encoder().parameters()))
    names = {id(parameter): name for name, parameter in elmo.encoder().named_parameters()}
    assert all("token_network" in names[id(parameter)] for parameter in layers[0])
    assert all("layers.1." in names[id(parameter)] for parameter in layers[2])


def test_lower_layers_learn_slower(elmo: Elmo) -> None:
    rates = [group["lr"] for group in tuned_groups(elmo.encoder(), FineTuning(learning_rate=0.1, decay=2.0))]
    assert rates == pytest.approx([0.025, 0.05, 0.1])


def test_layers_join_from_the_top_one_in_every_epoch(elmo: Elmo) -> None:
    encoder = Elmo(elmo.stored, device="cpu").encoder()
    before = [parameter.requires_grad for parameter in encoder.parameters()]
    for epoch, expected in enumerate([[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]]):
        open_layers(encoder, epoch, FineTuning())
        assert [all(p.requires_grad for p in layer) for layer in layer_parameters(encoder)] == list(map(bool, expected))
    open_layers(encoder, 0, FineTuning(is_gradual=False))
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    for parameter, value in zip(encoder.parameters(), before, strict=True):
        parameter.requires_grad_(value)


def test_an_encoder_learns_with_the_task_and_the_embedding_stays_as_it_is(elmo: Elmo) -> None:
    before = elmo.embed(["the tide"])[0]
    options = FitOptions(epochs=4, batch_size=3, fine_tuning=FineTuning(learning_rate=0.01))
    tagger = Tagger(elmo, TaggerOptions(state_width=4), device="cpu").fit(SENTENCES, TAGS, options=options)
    learned = tagger.network.encoder(0)
    assert learned is not None
    for mine, theirs in zip(layer_parameters(learned), layer_parameters(elmo.encoder()), strict=True):
        assert any(not torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert elmo.embed(["the tide"])[0].tobytes() == before.tobytes()


def test_a_fit_learns_every_layer_at_its_own_rate(elmo: Elmo, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: dict[int, float] = {}
    step = fitting._step

    def watched(problem: Any, optimizer: Any, *of: Any) -> float:
        rates.update({id(p): group["highest"] for group in optimizer.param_groups for p in group["params"]})
        return step(problem, optimizer, *of)

    monkeypatch.setattr(fitting, "_step", watched)
    options = FitOptions(epochs=1, learning_rate=0.01, fine_tuning=FineTuning(learning_rate=0.1, decay=2.0))
    tagger = Tagger(elmo, TaggerOptions(state_width=4), device="cpu").fit(SENTENCES, TAGS, options=options)
    encoder = tagger.network.encoder(0)
    assert encoder is not None
    found = [{rates[id(parameter)] for parameter in layer} for layer in layer_parameters(encoder)]
    assert found == [{0.025}, {0.05}, {0.1}]
    assert {rates[id(parameter)] for parameter in tagger._head.emit.parameters()} == {0.01}
    assert rates[id(tagger.mix.layer_scalars)] == pytest.approx(0.1)  # ten times faster


def test_vectors_of_types_learn_at_the_rate_of_a_top_layer_and_not_at_first() -> None:
    vocabulary = Vocabulary([*SPECIALS, *WORDS], [1] * (len(SPECIALS) + len(WORDS)))
    vectors = np.random.default_rng(0).normal(size=(len(vocabulary), 8)).astype(np.float32)
    words = Word2Vec(type_config("word2vec", make_tokenizer("words", language="en").config), vocabulary, vectors)
    tagger = Tagger(words, TaggerOptions(reader="none", char_filters=0), device="cpu")
    for epochs, is_moved in ((1, False), (2, True)):
        options = FitOptions(epochs=epochs, fine_tuning=FineTuning(learning_rate=0.001))
        tagger.fit(SENTENCES, TAGS, options=options)
        [table] = tagger.network.head.tokens.tuned_tables()
        moved = float((table.detach() - torch.from_numpy(words.rows(np.arange(len(table))))).abs().max())
        assert (0 < moved <= 0.001 * 1.01) if is_moved else moved == 0
