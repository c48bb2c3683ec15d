from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import tiny
from lowtide.embeddings import readers
from lowtide.embeddings.calibration import Calibration, fit
from lowtide.embeddings.encoder import Encoder
from lowtide.embeddings.layers import Reduction, calibrated_first, choose_layers
from lowtide.embeddings.readers import PackedReader, PlainReader, Reader
from lowtide.embeddings.side_by_side import side_by_side
from lowtide.model import BiLM, BiLMConfig, LayerMix, States, SymbolConfig
from lowtide.model.products import Dtype, kernel_for
from lowtide.text.batches import Document, num_positions
from lowtide.text.characters import LETTER_MARKS, ByteSpelling, LetterSpelling, Spelling, SymbolSpelling
from lowtide.text.vocabulary import FOREIGN_SPECIALS, Vocabulary
from lowtide.training.presets import PRESETS, bilm_config

CPU = torch.device("cpu")
FLOAT32 = kernel_for("float32", CPU)
WORDS = ["the", "tide", "goes", "out", "潮水", "A", "B", "a-type-that-is-longer-than-its-row", "", "<S>", "</S>"]
WORDS_AND_LETTERS = BiLMConfig(
    tiny.LSTM,
    char_cnn=dataclasses.replace(tiny.CHAR_CNN, num_highways=0),
    symbols=SymbolConfig(num_symbols=6, embedding_width=3),
)
NETWORKS: dict[str, BiLMConfig] = {
    **tiny.VARIANTS,
    "symbols": tiny.SYMBOL_CONFIG,
    "words and letters": WORDS_AND_LETTERS,
}
DOCUMENTS: list[Document] = [
    [["the", "tide", "goes", "out"], [], ["the"], [], []],
    [["tide"]],
    [[]],
    [[], [], ["A"], ["B", "the", "<S>", "tide"]],
    [["the", "tide", "goes", "out", "潮水"] * 3],
    [["tide"]],
    [["out", "the"] * 4, ["goes"], ["a-type-that-is-longer-than-its-row", "", "</S>"]],
    [[], []],
    [["B"], ["A"], ["B"], ["A"]],
]
CHOICES = ["all", "mix", "top", "average", "sum", "context", 0, 1, 2]
claim = settings(derandomize=True, deadline=None)
documents = st.lists(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=6), min_size=1, max_size=4), min_size=1, max_size=9
)


def spelling_for(config: BiLMConfig) -> Spelling:
    if config.char_cnn is None:
        return SymbolSpelling(Vocabulary.from_counts(dict.fromkeys("ABCDEFGH", 9), num_sentences=4))
    if config.symbols is None:
        return ByteSpelling(config.char_cnn.max_characters)
    words = Vocabulary([*FOREIGN_SPECIALS, "the", "tide", "out"], [1] * 6)
    return LetterSpelling([*LETTER_MARKS, *"abcdehinotu"], config.char_cnn.max_characters, words)


def encoder_of(network: str = "as published") -> Encoder:
    config = NETWORKS[network]
    return Encoder(tiny.bilm(config), spelling_for(config)).eval()


def packed(encoder: Encoder, dtype: Dtype = "float32", *, max_positions: int = 4096, types: int = 99) -> PackedReader:
    return PackedReader(encoder, kernel_for(dtype, CPU), max_positions=max_positions, cached_types=types)


Row = tuple[Tensor, Tensor]
"""(..., positions, width) of a document without its first and last mark, and (positions,) its mask."""


def rows_of(
    reader: Reader, documents: Sequence[Document], reduction: Reduction, max_positions: int = 4096
) -> list[Row]:
    """Put together from pieces; that these fit together is seen to on the way."""
    parts: list[list[Row]] = [[] for _ in documents]
    end = 0
    for piece in reader.read(documents, max_positions):
        assert piece.first == end
        end += piece.states.layers.shape[2] - 2
        assert piece.states.mask.shape == piece.states.layers.shape[1:3]
        with torch.inference_mode():
            reduced = reduction(piece.states)
        for number, found in enumerate(parts):
            found.append((reduced[..., number, 1:-1, :], piece.states.mask[number, 1:-1]))
        assert not piece.states.mask[:, [0, -1]].any() or isinstance(reader, PlainReader)
    assert end == max(map(num_positions, documents)) - 2
    rows = []
    for document, found in zip(documents, parts, strict=True):
        length = num_positions(document) - 2
        whole = torch.cat([layers for layers, _ in found], dim=-2)
        mask = torch.cat([mask for _, mask in found])
        assert not mask[length:].any()
        rows.append((whole[..., :length, :], mask[:length]))
    return rows


def compare(found: Sequence[Row], expected: Sequence[Row], *, atol: float = 4e-6, at_marks: bool = True) -> None:
    for (layers, mask), (other, other_mask) in zip(found, expected, strict=True):
        assert torch.equal(mask, other_mask)
        if not at_marks:
            layers, other = layers[..., mask, :], other[..., mask, :]
        largest = max(1.0, float(other.abs().max())) if other.numel() else 1.0
        torch.testing.assert_close(layers, other, rtol=0, atol=atol * largest)


def alone(encoder: Encoder, documents: Sequence[Document], reduction: Reduction) -> list[Row]:
    """Each document alone, through the network that is trained."""
    rows = []
    for document in documents:
        with torch.inference_mode():
            states = encoder.read([document])
            rows.append((reduction(states)[..., 0, 1:-1, :], states.mask[0, 1:-1]))
    return rows


# -- the same numbers as the network that is trained -----------------------------------------------


@pytest.mark.parametrize("max_positions", [1, 30, 4096])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_packed_network_says_what_the_network_says(network: str, max_positions: int) -> None:
    encoder = encoder_of(network)
    reduction = choose_layers("all", encoder.bilm.num_layers)
    found = rows_of(packed(encoder), DOCUMENTS, reduction, max_positions)
    compare(found, alone(encoder, DOCUMENTS, reduction))


@pytest.mark.parametrize("network", ["as published", "no residual"])
@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_of_layers_is_the_same_in_pieces(choice: str | int, network: str) -> None:
    encoder = encoder_of(network)
    reduction = choose_layers(choice, encoder.bilm.num_layers)
    expected = alone(encoder, DOCUMENTS, reduction)
    for max_positions in (9, 4096):
        compare(rows_of(packed(encoder), DOCUMENTS, reduction, max_positions), expected, at_marks=False)


@pytest.mark.parametrize("layer_norm", ["none", "token"])
def test_a_learned_mix_is_the_same_in_pieces(layer_norm: str) -> None:
    encoder, mix = encoder_of(), LayerMix(3, layer_norm=layer_norm)  # type: ignore[arg-type]  # one of its names
    tiny.random_(mix)
    reduction = choose_layers("mix", 3, mix)
    found = rows_of(packed(encoder), DOCUMENTS, reduction, 20)
    compare(found, alone(encoder, DOCUMENTS, reduction), atol=2e-5, at_marks=False)


@pytest.mark.parametrize("choice", ["all", "mix", "context"])
def test_calibrated_layers_are_the_same_in_pieces(choice: str) -> None:
    encoder = encoder_of()
    generator = np.random.default_rng(0)
    calibration = _calibration(generator, num_layers=3, width=encoder.bilm.width)
    reduction = calibrated_first(choice, choose_layers(choice, 3), calibration)
    found = rows_of(packed(encoder), DOCUMENTS, reduction, 20)
    compare(found, alone(encoder, DOCUMENTS, reduction), atol=2e-5, at_marks=False)


def _calibration(generator: np.random.Generator, *, num_layers: int, width: int) -> Calibration:
    vectors = (generator.normal(size=(num_layers, 40, width)).astype(np.float32) for _ in range(9))
    return fit(vectors, model_checksum="", max_tokens=10_000, num_removed=1)


@settings(claim, max_examples=40)
@given(documents=documents, max_positions=st.integers(1, 20), num_types=st.integers(1, 30))
def test_any_documents_in_any_pieces_are_read_as_the_network_reads_them(
    documents: list[Document], max_positions: int, num_types: int
) -> None:
    reduction = choose_layers("all", 4)
    most = max(max_positions, len(documents))
    found = rows_of(packed(_ANY, max_positions=most, types=num_types), documents, reduction, max_positions)
    compare(found, alone(_ANY, documents, reduction))


_ANY = encoder_of("three layers")


@pytest.mark.parametrize("network", ["as published", "symbols"])
def test_what_was_read_before_changes_nothing(network: str) -> None:
    encoder = encoder_of(network)
    reduction = choose_layers("all", 3)
    reader = packed(encoder, max_positions=12, types=12)
    for documents in (DOCUMENTS[:3], DOCUMENTS[3:6], DOCUMENTS[::-1][:4], DOCUMENTS[:3]):
        compare(rows_of(reader, documents, reduction, 12), alone(encoder, documents, reduction))


def test_a_plain_reader_gives_one_piece_that_is_the_whole() -> None:
    encoder = encoder_of()
    reduction = choose_layers("all", 3)
    assert len(list(PlainReader(encoder).read(DOCUMENTS, 1))) == 1
    compare(rows_of(PlainReader(encoder), DOCUMENTS, reduction), alone(encoder, DOCUMENTS, reduction))


def test_the_mask_is_true_at_tokens_and_false_at_marks() -> None:
    document = [["the", "<S>"], [], ["tide"]]
    [(_, mask)] = rows_of(packed(encoder_of()), [document], choose_layers("all", 3), 2)
    assert mask.tolist() == [True, True, False, False, False, False, True]


@pytest.mark.parametrize("max_positions", [7, 40, 4096])
def test_no_piece_has_more_positions_than_it_may(max_positions: int) -> None:
    reader = packed(encoder_of())
    for number in (1, 3, 7):
        for piece in reader.read(DOCUMENTS[:number], max_positions):
            assert number * (piece.states.layers.shape[2] - 2) <= max(max_positions, number)


@pytest.mark.parametrize(("num_tokens", "num_sentences", "max_positions"), [(20_000, 900, 4096), (2_000, 1, 512)])
def test_a_long_document_in_pieces_is_the_same_document(
    num_tokens: int, num_sentences: int, max_positions: int
) -> None:
    generator = np.random.default_rng(0)
    tokens = generator.choice(WORDS, size=num_tokens).tolist()
    cuts = [0, *sorted(generator.choice(num_tokens, num_sentences - 1, replace=False).tolist()), num_tokens]
    document = [tokens[first:end] for first, end in itertools.pairwise(cuts)]
    encoder = encoder_of("one layer")
    reduction = choose_layers("all", 2)
    expected = rows_of(PlainReader(encoder), [document], reduction)
    compare(rows_of(packed(encoder), [document], reduction, max_positions), expected, atol=1e-5)


# -- both directions at once -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3, 27])
def test_two_threads_say_what_one_says(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, reduction = encoder_of(), choose_layers("all", 3)
    many = (DOCUMENTS * 3)[:number]
    called: list[int] = []

    def counted(first: Callable[[], object], second: Callable[[], object]) -> tuple[object, object]:
        called.append(1)
        return side_by_side(first, second)

    monkeypatch.setattr(readers, "side_by_side", counted)
    one = rows_of(packed(encoder), many, reduction, 100)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        two = rows_of(packed(encoder), many, reduction, 100)
    finally:
        torch.set_num_threads(before)
    assert bool(called) == (number >= 8)
    compare(two, one, atol=1e-6)
    assert torch.get_num_threads() == before


# -- less exact ------------------------------------------------------------------------------------


def random_encoder(preset: str) -> Encoder:
    """With the weights that a training begins with."""
    torch.manual_seed(0)
    return Encoder(BiLM(bilm_config(PRESETS[preset], num_symbols=None, dropout=0.1)), ByteSpelling(50)).eval()


@pytest.fixture(scope="module")
def tiny_preset() -> Encoder:
    return random_encoder("tiny")


SENTENCE = ["the", "tide", "goes", "out", "潮水"]
COMPANY: list[list[Document]] = [
    [[SENTENCE]],
    [[["a"]], [SENTENCE], [SENTENCE]],
    [*([[f"w{n}" * (n % 5 + 1)] * (n % 9)] for n in range(40)), [SENTENCE]],
    [[["very", "long"] * 40], [SENTENCE], [[]]],
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_sentence_has_the_same_vectors_in_any_company_and_in_any_pieces(dtype: Dtype, tiny_preset: Encoder) -> None:
    reduction = choose_layers("all", 3)
    atol = {"float32": 1e-6, "bfloat16": 1e-5, "int8": 0}[dtype]
    reader = packed(tiny_preset, dtype)
    [expected] = rows_of(packed(tiny_preset, dtype), [[SENTENCE]], reduction)
    for documents in COMPANY:
        place = max(number for number, document in enumerate(documents) if document == [SENTENCE])
        for max_positions in (4096, 50):
            found = rows_of(reader, documents, reduction, max_positions)[place]
            compare([found], [expected], atol=atol)


def test_reading_changes_no_weight(tiny_preset: Encoder) -> None:
    before = copy.deepcopy(tiny_preset.state_dict())
    list(packed(tiny_preset, "int8").read([[SENTENCE]], 99))
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_preset.state_dict().items())


@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 0.9995), ("int8", 0.99)])
def test_a_network_of_real_size_drifts_no_further_than_stated(dtype: Dtype, least: float) -> None:
    encoder = random_encoder("small")
    reduction = choose_layers("all", 3)
    generator = np.random.default_rng(0)
    sentences: list[Document] = [[generator.choice(WORDS, size=12).tolist()] for _ in range(6)]
    expected = rows_of(packed(encoder), sentences, reduction)
    for (one, _), (other, _) in zip(rows_of(packed(encoder, dtype), sentences, reduction), expected, strict=True):
        assert float(torch.nn.functional.cosine_similarity(one, other, dim=-1).min()) >= least
        assert not torch.equal(one, other)


def test_a_piece_says_what_its_layers_are() -> None:
    [piece] = packed(encoder_of("three layers")).read(DOCUMENTS, 4096)
    assert isinstance(piece.states, States)
    assert torch.equal(piece.states.forward_layers[0], piece.states.backward_layers[0])  # the token twice
    assert piece.states.layers.shape[0] == 4
