from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.embeddings.blocks import Block, copy_block, digest, read_block, write_block
from lowtide.embeddings.numbered import NumberedSentence
from lowtide.embeddings.outputs import EmbeddedSentence
from lowtide.errors import InputError

TOKENS = st.lists(
    st.text(st.characters(), max_size=4) | st.sampled_from(["\ud800", "a\0b", "🌊", "x" * 300]), max_size=4
)


def embedded(sentences: Sequence[Sequence[str]], shape: str, dtype: str, *, has_spans: bool) -> list[EmbeddedSentence]:
    draw = np.random.default_rng(0)
    made = []
    for number, tokens in enumerate(sentences):
        shapes = {"tokens": (len(tokens), 5), "layers": (3, len(tokens), 5), "pooled": (5,), "pooled layers": (3, 5)}
        vectors = draw.normal(size=shapes[shape]).astype(dtype)
        spans = [(place, place + 1) for place in range(len(tokens))] if has_spans else None
        made.append(EmbeddedSentence(f"k{number}", list(tokens), vectors, spans, shape.startswith("pooled")))
    return made


def copied(path: Path, block: Block) -> list[EmbeddedSentence]:
    class Collector:
        def __init__(self) -> None:
            self.sentences: list[EmbeddedSentence] = []

        def write(self, sentence: EmbeddedSentence) -> None:
            self.sentences.append(sentence)

    collector = Collector()
    copy_block(path, block, collector)
    return collector.sentences


@settings(max_examples=60, deadline=None)
@given(
    sentences=st.lists(TOKENS, max_size=6),
    shape=st.sampled_from(["tokens", "layers", "pooled", "pooled layers"]),
    dtype=st.sampled_from(["float32", "float16"]),
    has_spans=st.booleans(),
)
def test_a_block_gives_back_what_was_written(
    sentences: list[list[str]], shape: str, dtype: str, has_spans: bool
) -> None:
    written = embedded(sentences, shape, dtype, has_spans=has_spans)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "00000000"
        block = write_block(path, "digest", written)
        assert read_block(path) == block
        found = copied(path, block)
    assert (block.num_sentences, block.num_tokens) == (len(sentences), sum(map(len, sentences)))
    for one, other in zip(found, written, strict=True):
        assert (one.key, one.tokens, one.spans, one.is_pooled) == (
            other.key,
            other.tokens,
            other.spans,
            other.is_pooled,
        )
        assert one.vectors.dtype == other.vectors.dtype and np.array_equal(one.vectors, other.vectors)


def test_a_failure_leaves_no_block(tmp_path: Path) -> None:
    def some() -> list[EmbeddedSentence]:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        write_block(tmp_path / "0", "digest", (sentence for _ in [0] for sentence in some()))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_block_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is damaged: remove this folder"):
        read_block(tmp_path)


@given(st.lists(TOKENS, max_size=4), st.lists(TOKENS, max_size=4))
def test_only_equal_sentences_have_an_equal_digest(one: list[list[str]], other: list[list[str]]) -> None:
    digests = [
        digest(NumberedSentence(str(n), tokens, None, True, "", n) for n, tokens in enumerate(sentences))
        for sentences in (one, other)
    ]
    assert (digests[0] == digests[1]) == (one == other)
