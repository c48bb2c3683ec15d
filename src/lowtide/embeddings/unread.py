"""What of a text a model cannot read: tokens that it has no vector for, and the ends of those that are too long."""

from __future__ import annotations

import logging
import warnings

from lowtide.text.characters import SymbolSpelling
from lowtide.text.tokenize import Sentence
from lowtide.weights.stored import StoredModel

log = logging.getLogger("lowtide")

_MANY = 0.25
"""Of the tokens: so many unknown ones are a text that the model was not made for."""


class Unread:
    """Counts which tokens of a text a model cannot read, or not whole.

    Args:
        model: that reads.
    """

    def __init__(self, model: StoredModel) -> None:
        self._model, self._spelling = model, model.spelling
        self.num_tokens, self.num_truncated, self.num_unknown = 0, 0, 0

    def add(self, sentence: Sentence) -> None:
        """Look at its tokens."""
        self.num_tokens += len(sentence)
        self.num_truncated += sum(map(self._spelling.is_truncated, sentence))
        if isinstance(self._spelling, SymbolSpelling):
            self.num_unknown += sum(not self._spelling.knows(token) for token in sentence)

    def tell(self) -> None:
        """Say how many tokens were longer than their row of characters; warn if many have no vector of their own."""
        char_cnn, letters = self._model.config.bilm.char_cnn, self._model.letters
        if self.num_truncated and char_cnn is not None:
            told = (
                "cut         %s tokens are longer than %d bytes; the rest of them is not read"
                if letters is None
                else "cut         %s tokens are longer than %d characters; the rest of them is not read"
            )
            log.info(told, f"{self.num_truncated:,}", char_cnn.max_characters - 2)
        share = self.num_unknown / max(1, self.num_tokens)
        if share >= _MANY:
            warnings.warn(
                f"{share:.0%} of the tokens are unknown to this model, and all of these enter it as one: is the text "
                "in its language, and cut as its own was? `lowtide pretrain TEXT --from` teaches it others",
                stacklevel=3,
            )
