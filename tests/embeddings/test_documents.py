"""Documents: the state goes from sentence to sentence, and training sees what embedding will see."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import tiny
from lowtide.embeddings import Elmo, engine
from lowtide.model import BiLM, Carry
from lowtide.text.corpus import RawSentence
from lowtide.text.lanes import DocumentBatches
from lowtide.text.shards import PreparedCorpus, prepare
from lowtide.training.learning import read_top
from lowtide.weights.native import save_model

DOCUMENTS = [
    [["the", "tide", "goes", "out"], [], ["the", "bank"]],
    [["river"]],
    [["the"] * 9, ["tide"], ["out", "goes", "the", "river", "bank"], ["sat"]],
    [["bank", "river"], ["the", "tide"]],
]


@pytest.fixture(scope="module")
def elmo_of_documents(saved_bytes: tiny.Saved, tmp_path_factory: pytest.TempPathFactory) -> Elmo:
    """A model that says it was trained on documents."""
    folder = tmp_path_factory.mktemp("documents") / "model"
    config = dataclasses.replace(saved_bytes.config, documents=True)
    save_model(folder, config, saved_bytes.vocabulary, saved_bytes.bilm, saved_bytes.softmax)
    return Elmo.open(folder, device="cpu")


def test_a_vector_depends_on_the_sentences_of_its_document_on_both_sides(elmo: Elmo) -> None:
    [[_, middle, _]] = elmo.embed_documents([[["tide"], ["bank"], ["river"]]])
    [[_, other_left, _]] = elmo.embed_documents([[["out"], ["bank"], ["river"]]])
    [[_, other_right, _]] = elmo.embed_documents([[["tide"], ["bank"], ["out"]]])
    half = elmo.width // 2
    assert np.abs(middle - other_left)[:, :half].max() > 1e-3
    np.testing.assert_array_equal(middle[:, half:], other_left[:, half:])
    assert np.abs(middle - other_right)[:, half:].max() > 1e-3
    np.testing.assert_array_equal(middle[:, :half], other_right[:, :half])


def test_a_document_of_one_sentence_is_that_sentence(elmo: Elmo) -> None:
    sentences = [sentence for document in DOCUMENTS for sentence in document]
    for found, expected in zip(elmo.embed_documents([[s] for s in sentences]), elmo.embed(sentences), strict=True):
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("max_positions", [1, 20, 4096])
def test_neither_company_nor_order_changes_a_document(
    elmo: Elmo, max_positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [elmo.embed_documents([document], layers="all")[0] for document in DOCUMENTS]
    monkeypatch.setattr(engine, "MAX_POSITIONS", max_positions)
    for found, expected in zip(elmo.embed_documents(DOCUMENTS[::-1], layers="all")[::-1], alone, strict=True):
        assert [vectors.shape for vectors in found] == [vectors.shape for vectors in expected]
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_an_empty_document_has_no_vectors(elmo: Elmo) -> None:
    found = elmo.embed_documents([[], [["tide"]], []])
    assert [len(document) for document in found] == [0, 1, 0]


def test_a_file_is_embedded_by_documents_where_the_model_was_trained_on_them(
    elmo: Elmo, elmo_of_documents: Elmo, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the tide\ngoes out\n\n\nthe bank\n", encoding="utf-8")
    other = tmp_path / "other.txt"
    other.write_text("the river\n", encoding="utf-8")

    def written(model: Elmo) -> list[np.ndarray]:
        assert model.embed_to([text, other], tmp_path / "out.h5") == 6
        with h5py.File(tmp_path / "out.h5") as file:
            return [file[str(number)][:] for number in range(6)]

    first, second = elmo.embed_documents([[["the", "tide"], ["goes", "out"]]])[0]
    expected = [first, second, *elmo.embed([[], [], ["the", "bank"], ["the", "river"]])]
    for found, vectors in zip(written(elmo_of_documents), expected, strict=True):
        np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-6)
    lines = elmo.embed([["the", "tide"], ["goes", "out"], [], [], ["the", "bank"], ["the", "river"]])
    for found, vectors in zip(written(elmo), lines, strict=True):
        np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-6)


def test_perplexity_of_a_document_is_that_of_its_chained_probabilities(elmo: Elmo) -> None:
    model = elmo.language_model()
    whole = model.perplexity_of(DOCUMENTS)
    apart = model.perplexity_of([[sentence] for document in DOCUMENTS for sentence in document])
    assert whole.num_targets == apart.num_targets == sum(len(s) + 1 for d in DOCUMENTS for s in d)
    assert whole.forward != apart.forward
    # by hand: every position of a document's row, whose next is no <S>
    nats: list[float] = []
    with torch.inference_mode():
        for document in DOCUMENTS:
            tokens = [token for sentence in document for token in ["<S>", *sentence, "</S>"]]
            positions = _top_states(elmo, document)
            logits = torch.log_softmax(model._softmax.logits(positions[0]), dim=-1)
            for place, following in enumerate(tokens[1:]):
                if following != "<S>":
                    [index] = elmo.stored.vocabulary.indices([following]).tolist()
                    nats.append(-float(logits[place, index]))
    assert np.isclose(whole.forward, np.exp(np.mean(nats)), rtol=1e-5)


def _top_states(elmo: Elmo, document: list[list[str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """(positions, state width) of each direction's top layer, boundaries among them."""
    encoder = elmo.encoder()
    tokens = [token for sentence in document for token in ["<S>", *sentence, "</S>"]]
    types = list(dict.fromkeys(["<S>", "</S>", *tokens]))
    with torch.inference_mode():
        states = encoder.bilm(
            torch.from_numpy(encoder.spelling.char_ids(types)),
            torch.tensor([[types.index(token) for token in tokens]]),
            torch.tensor([[True] + [False] * (len(tokens) - 1)]),
            torch.tensor([len(tokens)]),
        )
    return states.forward_layers[-1][0], states.backward_layers[-1][0]


@pytest.mark.parametrize("row_tokens", [1, 3, 7, 100])
def test_training_sees_what_embedding_will_see(elmo: Elmo, tmp_path: Path, row_tokens: int) -> None:
    """Lanes cut into batches of any length, the state carried: every target's state is that of the whole document."""
    documents = [[sentence for sentence in document if sentence] for document in DOCUMENTS]
    raw = (RawSentence(" ".join(s), n == 0, "", 0) for document in documents for n, s in enumerate(document))
    prepare(raw, elmo.cutting(is_tokenized=True), tmp_path)
    corpus = PreparedCorpus(tmp_path)
    encoder = elmo.encoder()
    corpus.spell(encoder.spelling, elmo.stored.vocabulary)
    batches = DocumentBatches(corpus, row_length=encoder.spelling.row_length, row_tokens=row_tokens, rows=2, seed=0)
    found: list[set[tuple[int, tuple[float, ...]]]] = [set(), set()]
    carry: Carry | None = None
    bilm = encoder.bilm
    assert isinstance(bilm, BiLM)
    with torch.inference_mode():
        for training in batches.chunk(0, 0):
            assert training.backward is not None
            vectors = bilm.token_network(torch.from_numpy(training.batch.type_char_ids))
            given = carry if training.goes_on else None
            tops, targets, after = zip(*(read_top(bilm, training, d, vectors, given) for d in (0, 1)), strict=True)
            carry = Carry(*after)
            for direction in (0, 1):
                for state, target in zip(tops[direction].double().numpy(), targets[direction].tolist(), strict=True):
                    found[direction].add((target, tuple(np.round(state, 4).tolist())))
    expected: list[set[tuple[int, tuple[float, ...]]]] = [set(), set()]
    for document in documents:
        tokens = [token for sentence in document for token in ["<S>", *sentence, "</S>"]]
        indices = elmo.stored.vocabulary.indices(tokens).tolist()
        states = [top.double().numpy().round(4) for top in _top_states(elmo, document)]
        for place in range(len(tokens)):
            if tokens[place] != "</S>":
                expected[0].add((indices[place + 1], tuple(states[0][place].tolist())))
            if tokens[place] != "<S>":
                expected[1].add((indices[place - 1], tuple(states[1][place].tolist())))
    for one, other in zip(found, expected, strict=True):
        assert len(one) == len(other)
        for (target, state), (wanted, values) in zip(sorted(one), sorted(other), strict=True):
            assert target == wanted
            np.testing.assert_allclose(state, values, rtol=0, atol=2e-4)
