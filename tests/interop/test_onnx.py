"""The file gives what the network gives: PyTorch is the reference, ONNX Runtime reads."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx as onnx_library
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import many_langs
import published
import tiny
from command import Command
from lowtide.embeddings import Elmo, load
from lowtide.embeddings.encoder import measuring, run_batch
from lowtide.errors import MissingExtraError, ModelError, WriteError
from lowtide.interop import onnx
from lowtide.model import BiLMConfig, SymbolConfig
from lowtide.text.batches import Document, batch_of_documents
from lowtide.text.tokenize import make_tokenizer
from lowtide.text.vocabulary import Vocabulary
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig, StoredModel

_ROOT = Path(__file__).parent.parent.parent
SENTENCES = published.SENTENCES
WORDS = ("", "a", "the", "tide", "退了", "潮水" * 4, "x" * 60, "🌊", "<S>")
"""Of no byte and of more than a row holds; most are shorter than the widest filter."""


def _of_config(config: BiLMConfig, _: Path) -> Elmo:
    words = Vocabulary.from_counts(tiny.COUNTS, num_sentences=12) if config.char_cnn is None else None
    tokenizer = make_tokenizer("words", language="en").config
    model = ModelConfig(FORMAT_VERSION, "elmo", tokenizer, "elmo", config)
    return Elmo(StoredModel(Path("tiny"), "test", model, tiny.bilm(config), words), device="cpu")


def _of_recipe(recipe: many_langs.Recipe, folder: Path) -> Elmo:
    many_langs.write(folder, recipe)
    return load(folder, device="cpu")


_NUM_SYMBOLS = 3 + len(tiny.COUNTS)
MODELS: dict[str, Callable[[Path], Elmo]] = {
    **{name: partial(_of_config, config) for name, config in published.VARIANTS.items()},
    "symbols": partial(_of_config, BiLMConfig(tiny.LSTM, symbols=SymbolConfig(_NUM_SYMBOLS))),
    "symbols, projected": partial(_of_config, BiLMConfig(tiny.LSTM, symbols=SymbolConfig(_NUM_SYMBOLS, 4))),
    **{f"ELMoForManyLangs, {name}": partial(_of_recipe, recipe) for name, recipe in many_langs.RECIPES.items()},
}
"""Every kind of model that there is."""


@dataclasses.dataclass(frozen=True)
class Exported:
    """A model, its file, and what runs it."""

    elmo: Elmo
    file: Path
    session: onnxruntime.InferenceSession

    def run(self, feeds: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        layers: NDArray[np.float32]
        [layers] = self.session.run(["layers"], feeds)
        return layers

    def metadata(self, key: str) -> Any:
        return json.loads(self.session.get_modelmeta().custom_metadata_map[key])


def _opened(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _exported(elmo: Elmo, file: Path) -> Exported:
    onnx.export(elmo, file)
    return Exported(elmo, file, _opened(file))


@pytest.fixture(scope="module", params=MODELS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Each kind of model, in turn."""
    folder = tmp_path_factory.mktemp("onnx")
    return _exported(MODELS[request.param](folder / "model"), folder / "model.onnx")


@pytest.fixture(scope="module")
def of_bytes(saved_bytes: tiny.Saved, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The model that other tests use."""
    return _exported(Elmo.open(saved_bytes.folder, device="cpu"), tmp_path_factory.mktemp("onnx") / "model.onnx")


def _feeds(elmo: Elmo, documents: Sequence[Document]) -> dict[str, NDArray[Any]]:
    batch, _ = batch_of_documents(documents, elmo.stored.spelling)
    return {"type_char_ids": batch.type_char_ids, "type_index": batch.type_index, "lengths": batch.lengths}


def _expected(elmo: Elmo, documents: Sequence[Document]) -> NDArray[np.float32]:
    with measuring(elmo.encoder()):
        batch, _ = batch_of_documents(documents, elmo.stored.spelling)
        layers: NDArray[np.float32] = run_batch(elmo.stored.bilm, batch).layers.numpy()
    return layers


# -- the numbers ---------------------------------------------------------------------------------


def _assert_agree(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Sigmoid and tanh are approximations in both libraries, and a recurrence makes more of their last bits."""
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6 * max(1.0, np.abs(expected).max(initial=0.0)))


def test_a_file_gives_the_layers_of_its_network(exported: Exported) -> None:
    documents = [[sentence] for sentence in (*SENTENCES, *many_langs.SENTENCES)]
    _assert_agree(exported.run(_feeds(exported.elmo, documents)), _expected(exported.elmo, documents))


def test_a_word_alone_gets_the_layers_of_its_network(exported: Exported) -> None:
    for word in WORDS:
        _assert_agree(exported.run(_feeds(exported.elmo, [[[word]]])), _expected(exported.elmo, [[[word]]]))


_DOCUMENTS = st.lists(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=9), min_size=1, max_size=3), min_size=1, max_size=6
)


@settings(max_examples=40, deadline=None)
@given(documents=_DOCUMENTS)
def test_rows_of_any_number_and_length_give_the_layers_of_the_network(
    of_bytes: Exported, documents: list[Document]
) -> None:
    found, expected = of_bytes.run(_feeds(of_bytes.elmo, documents)), _expected(of_bytes.elmo, documents)
    _assert_agree(found, expected)
    for row, length in enumerate(_feeds(of_bytes.elmo, documents)["lengths"]):
        assert not found[:, row, length:].any()


@settings(max_examples=20, deadline=None)
@given(documents=_DOCUMENTS, seed=st.integers(0, 9), more=st.integers(0, 4))
def test_types_beyond_the_end_of_a_row_change_nothing(
    of_bytes: Exported, documents: list[Document], seed: int, more: int
) -> None:
    feeds = _feeds(of_bytes.elmo, documents)
    rubbish = np.random.default_rng(seed).integers(
        len(feeds["type_char_ids"]), size=(len(documents), feeds["type_index"].shape[1] + more)
    )
    for row, length in enumerate(feeds["lengths"]):
        rubbish[row, :length] = feeds["type_index"][row, :length]
    found = of_bytes.run({**feeds, "type_index": rubbish})
    clean = of_bytes.run(feeds)
    np.testing.assert_allclose(found[:, :, : clean.shape[2]], clean, rtol=0, atol=2e-6)
    assert not found[:, :, clean.shape[2] :].any()


def test_a_type_may_be_spelled_for_every_token(of_bytes: Exported) -> None:
    feeds = _feeds(of_bytes.elmo, [[["the", "tide", "the"]], [["tide"]]])
    index = feeds["type_index"]
    spelled = {
        "type_char_ids": feeds["type_char_ids"][index.ravel()],
        "type_index": np.arange(index.size).reshape(index.shape),
        "lengths": feeds["lengths"],
    }
    np.testing.assert_allclose(of_bytes.run(spelled), of_bytes.run(feeds), rtol=0, atol=2e-6)


def test_no_rows_give_no_layers(of_bytes: Exported) -> None:
    assert of_bytes.run(onnx.inputs(of_bytes.elmo, [])).shape == (3, 0, 2, of_bytes.elmo.width)


# -- the file ------------------------------------------------------------------------------------


def test_a_file_is_valid_and_asks_for_the_standard_alone(exported: Exported) -> None:
    onnx_library.checker.check_model(exported.file, full_check=True)
    model = onnx_library.load(exported.file)
    assert [(used.domain, used.version) for used in model.opset_import] == [("", onnx.OPSET)]
    assert model.ir_version == onnx.IR_VERSION
    steps = [attribute.g for node in model.graph.node for attribute in node.attribute if attribute.HasField("g")]
    assert {node.domain for graph in (model.graph, *steps) for node in graph.node} == {""}


def test_rows_of_characters_have_the_length_of_the_model(of_bytes: Exported) -> None:
    feeds = onnx.inputs(of_bytes.elmo, "The tide")
    with pytest.raises(Exception, match="type_char_ids"):
        of_bytes.run({**feeds, "type_char_ids": feeds["type_char_ids"][:, :-1]})


def test_a_model_is_exported_by_its_path(saved_bytes: tiny.Saved, of_bytes: Exported, tmp_path: Path) -> None:
    onnx.export(str(saved_bytes.folder), tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == of_bytes.file.read_bytes()


def test_inputs_are_one_row_a_sentence(of_bytes: Exported) -> None:
    elmo, texts = of_bytes.elmo, ["The tide goes out.", ["退了"], []]
    feeds = onnx.inputs(elmo, texts)
    layers = of_bytes.run(feeds)
    found = [layers[:, row, 1 : length - 1] for row, length in enumerate(feeds["lengths"])]
    for vectors, expected in zip(found, elmo.embed_layers(texts), strict=True):
        _assert_agree(vectors, expected)
    assert onnx.inputs(elmo, "The tide")["type_index"].tolist() == [[0, 2, 3, 1]]


def test_the_metadata_tells_which_model_it_is(exported: Exported) -> None:
    elmo = exported.elmo
    assert exported.metadata("checksum") == elmo.checksum
    assert exported.metadata("documents") is False
    assert exported.metadata("tokenizer") == dataclasses.asdict(elmo.stored.config.tokenizer)


def test_the_metadata_tells_how_to_spell(exported: Exported) -> None:
    facts, spelling = exported.metadata("spelling"), exported.elmo.stored.spelling
    types = sorted({word for sentence in (*SENTENCES, *many_langs.SENTENCES) for word in sentence})
    types = [type_ for type_ in types if type_ not in spelling.marks]
    rows = [facts["sentence_start"], *(_spelled(type_, facts) for type_ in types), facts["sentence_end"]]
    assert rows == spelling.char_ids([spelling.marks[0], *types, spelling.marks[1]]).tolist()


def _spelled(type_: str, facts: dict[str, Any]) -> list[int]:
    """As docs/onnx.md tells it."""
    length = len(facts["sentence_start"])
    if facts["kind"] == "bytes":
        middle = [byte + facts["first_byte"] for byte in type_.encode(errors="ignore")[: length - 2]]
        row = [facts["word_start"], *middle, facts["word_end"]]
        return row + [facts["padding"]] * (length - len(row))
    front = []
    if facts["kind"] == "letters":
        type_ = type_[: length - ("symbols" in facts) - 2]
    if "symbols" in facts:
        type_ = type_[: facts["max_letters"]]
        places = {symbol: place for place, symbol in enumerate(facts["symbols"])}
        front = [places.get(type_, facts["unknown_symbol"])]
    if facts["kind"] == "symbols":
        return front
    places = {letter: place for place, letter in enumerate(facts["letters"])}
    middle = [places.get(letter, facts["unknown_letter"]) for letter in type_]
    row = [*front, facts["word_start"], *middle, facts["word_end"]]
    return row + [facts["padding"]] * (length - len(row))


def test_a_model_of_documents_says_so(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    stored = Elmo.open(saved_bytes.folder, device="cpu").stored
    of_documents = dataclasses.replace(stored, config=dataclasses.replace(stored.config, documents=True))
    assert _exported(Elmo(of_documents, device="cpu"), tmp_path / "m.onnx").metadata("documents") is True


# -- what goes wrong, and the command ------------------------------------------------------------


def test_weights_beyond_the_format_are_refused(
    of_bytes: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "LARGEST", 1000)
    with pytest.raises(ModelError, match=r"weights of [\d,]+ bytes, and an ONNX file holds 1,000 at most"):
        onnx.export(of_bytes.elmo, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_without_the_library_the_error_names_the_command(
    of_bytes: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lowtide\[onnx\]'"):
        onnx.export(of_bytes.elmo, tmp_path / "m.onnx")


def test_a_file_that_cannot_be_written_is_told_and_leaves_nothing(of_bytes: Exported, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(WriteError, match=r"m\.onnx"):
        onnx.export(of_bytes.elmo, tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_convert_writes_the_same_file(
    run: Command, saved_bytes: tiny.Saved, of_bytes: Exported, tmp_path: Path
) -> None:
    ran = run("convert", saved_bytes.folder, tmp_path / "m.onnx", "--to", "onnx")
    assert ran.code == 0, ran.err
    assert (tmp_path / "m.onnx").read_bytes() == of_bytes.file.read_bytes()


def test_the_lines_of_the_page_run(saved_bytes: tiny.Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(saved_bytes.folder, tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    page = (_ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    with_lowtide, without = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert "lowtide" not in without
    names: dict[str, Any] = {}
    exec(compile(with_lowtide, "onnx.md", "exec"), names)
    elmo: Elmo = names["elmo"]
    both = elmo.embed_layers(["The tide goes out.", "He sat on the bank."])
    for vectors, expected in zip(names["vectors"], both, strict=True):
        _assert_agree(vectors, expected)
    names = {}
    exec(compile(without, "onnx.md", "exec"), names)
    _assert_agree(names["layers"][:, 0, 1:-1], elmo.embed_layers("The tide goes out."))
