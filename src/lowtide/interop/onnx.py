"""A model as an ONNX file: ONNX Runtime computes it from C++, Java, C#, JavaScript, or Python without PyTorch.

::

    from lowtide.interop import onnx

    onnx.export(elmo, "my-model.onnx")
    session = onnxruntime.InferenceSession("my-model.onnx")
    [layers] = session.run(["layers"], onnx.inputs(elmo, ["The tide goes out."]))

What goes in is a `Batch`, and what comes out are the layers of its `States`::

    type_char_ids  (types, chars) int32      how every type in the batch is spelled, the marks among them
    type_index     (batch, positions) int64  the type at every position: <S> w .. w </S>
    lengths        (batch,) int64            how many positions of every row count; the types beyond mean nothing

    layers         (layers, batch, positions, width) float32, zero beyond the end of a row

Every state is zero where a row begins, and nowhere else: a row is a sentence between its boundaries, or a document of
several such, through which the state is carried.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lowtide import __version__
from lowtide.config import to_json
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.inputs import Texts
from lowtide.embeddings.loading import load
from lowtide.errors import ModelError, require
from lowtide.files import written_whole
from lowtide.interop.onnx_graph import graph_of
from lowtide.text.batches import batch_of_documents
from lowtide.text.characters import LETTER_MARKS, WORD_END, WORD_PAD, WORD_START, ByteSpelling
from lowtide.text.vocabulary import UNKNOWN_INDEX
from lowtide.weights.stored import StoredModel

OPSET, IR_VERSION = 17, 8
"""Of 2022, and with all that is wanted here: what reads newer ones reads these too."""
LARGEST = 2_000_000_000
"""Bytes of weights. The format ends at 2 GiB, unless weights lie in files of their own."""


def export(model: Elmo | str | Path, out: str | Path) -> None:
    """Write a network with all its layers, and without its softmax.

    What one must know to feed it stands in the file's metadata, as JSON: ``spelling`` (how a type becomes ids),
    ``tokenizer``, ``documents`` (whether the state is carried through documents) and ``checksum`` (that of the model in
    every format).

    Args:
        model: an open one, or what `lowtide.load` takes.
        out: the file; it appears when it is whole.

    Raises:
        MissingExtraError: if onnx is not installed.
        ModelError: if there is more of the network than a file holds.
        WriteError: if the file cannot be written.
    """
    onnx = require("onnx", extra="onnx")
    elmo = model if isinstance(model, Elmo) else load(model, device="cpu")
    bilm = elmo.stored.bilm
    size = sum(4 * parameter.numel() for parameter in bilm.parameters())
    if size > LARGEST:
        raise ModelError(
            f"{elmo.stored.path} has weights of {size:,} bytes, and an ONNX file holds {LARGEST:,} at most: "
            "run it with lowtide itself"
        )
    file = onnx.helper.make_model(
        graph_of(bilm),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="lowtide",
        producer_version=__version__,
    )
    onnx.helper.set_model_props(file, _metadata(elmo))
    with written_whole(Path(out)) as beside:
        beside.write_bytes(file.SerializeToString())


def inputs(elmo: Elmo, sentences: Texts | str) -> dict[str, NDArray[Any]]:
    """What a session is fed for sentences, one a row: the tokens of row r lie at 1 to ``lengths[r] - 2``.

    Args:
        elmo: the model that was exported: its tokenizer, and how it spells.
        sentences: as in `Elmo.embed`.
    """
    cut = [elmo.tokenize(sentences)] if isinstance(sentences, str) else elmo.tokenize(sentences)
    batch, _ = batch_of_documents([[sentence] for sentence in cut], elmo.stored.spelling)
    return {"type_char_ids": batch.type_char_ids, "type_index": batch.type_index, "lengths": batch.lengths}


def _metadata(elmo: Elmo) -> dict[str, str]:
    config = elmo.stored.config
    facts = {
        "spelling": _spelling(elmo.stored),
        "tokenizer": to_json(config.tokenizer),
        "documents": config.documents,
        "checksum": elmo.checksum,
    }
    # as ASCII: a word of a vocabulary may hold half a surrogate pair, and a string of the format may not
    return {name: json.dumps(fact) for name, fact in facts.items()}


def _spelling(stored: StoredModel) -> dict[str, Any]:
    """The ids that a row of ``type_char_ids`` is made of, and the rows of both marks of a sentence."""
    spelling, symbols = stored.spelling, stored.config.bilm.symbols
    start, end = spelling.char_ids(spelling.marks).tolist()
    facts: dict[str, Any] = {"sentence_start": start, "sentence_end": end}
    if isinstance(spelling, ByteSpelling):
        return {
            "kind": "bytes",
            **facts,
            "first_byte": 1,
            "word_start": WORD_START,
            "word_end": WORD_END,
            "padding": WORD_PAD,
        }
    if symbols is not None:
        facts |= {
            "symbols": stored.vocabulary.types,
            "unknown_symbol": UNKNOWN_INDEX,
            "max_letters": symbols.max_letters,
        }
    if stored.letters is None:
        return {"kind": "symbols", **facts}
    # a word begins with what the dictionary calls its end: see `LetterSpelling`
    names = ("unknown_letter", "padding", "word_end", "word_start")
    letters = list(stored.letters)
    marks = {name: letters.index(mark) for name, mark in zip(names, LETTER_MARKS[2:], strict=True)}
    return {"kind": "letters", **facts, **marks, "letters": letters}
