"""A model that remembers, under the name by which users ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import overload

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.inputs import Texts, as_sentences
from lowtide.embeddings.warm_state import WarmState, check_rows, embed_warm
from lowtide.errors import InputError
from lowtide.model import LayerMix
from lowtide.text.tokenize import Sentence


class Session:
    """An ELMo that remembers: for old numbers only.

    What: the r-th sentence of a call begins with the state in which the r-th sentence of the call before ended. When:
    you must reproduce vectors of bilm-tf, AllenNLP or ELMoForManyLangs, whose state was warm. How to get one:
    ``lowtide.load(model, stateful=True)``. What to do: give it the very batches, in the very order, that were given
    then; or name their size once, with ``rows``.

    Args:
        elmo: the model.
        rows: sentences of a batch; a call with more of them is several batches. None: a call is a batch.
    """

    def __init__(self, elmo: Elmo, *, rows: int | None = None) -> None:
        check_rows(rows)
        self.elmo, self.rows = elmo, rows
        self._state = WarmState()

    def reset(self) -> None:
        """Forget everything: the next sentence begins at zero."""
        self._state.reset()

    @overload
    def embed(self, sentences: str, *, layers: str | int = "mix", mix: LayerMix | None = None) -> Vectors: ...
    @overload
    def embed(self, sentences: Texts, *, layers: str | int = "mix", mix: LayerMix | None = None) -> list[Vectors]: ...
    def embed(
        self, sentences: Texts | str, *, layers: str | int = "mix", mix: LayerMix | None = None
    ) -> list[Vectors] | Vectors:
        """As `Elmo.embed`, with warm state."""
        if layers == "all":
            raise InputError("layers='all' gives another shape: use embed_layers(sentences)")
        return self._embed(sentences, layers, mix)

    def _embed(self, sentences: Texts | str, layers: str | int, mix: LayerMix | None) -> list[Vectors] | Vectors:
        texts: Texts = [sentences] if isinstance(sentences, str) else sentences
        cut = as_sentences(texts, self.elmo.tokenizer)
        vectors = list(self.embed_iter(cut, layers=layers, mix=mix))
        return vectors[0] if isinstance(sentences, str) else vectors

    @overload
    def embed_layers(self, sentences: str) -> Vectors: ...
    @overload
    def embed_layers(self, sentences: Texts) -> list[Vectors]: ...
    def embed_layers(self, sentences: Texts | str) -> list[Vectors] | Vectors:
        """As `Elmo.embed_layers`, with warm state."""
        return self._embed(sentences, "all", None)

    def embed_iter(
        self, sentences: Iterable[Sentence], *, layers: str | int = "mix", mix: LayerMix | None = None
    ) -> Iterator[Vectors]:
        """One array a sentence, of sentences that are tokens already, batch after batch."""
        return embed_warm(self.elmo.encoder(), sentences, self.rows, self.elmo.reduction(layers, mix), self._state)

    def __repr__(self) -> str:
        return f"Session({self.elmo!r}, rows={self.rows})"
