"""More words for a model that looks words up: the vocabulary expansion of Kiros et al. (2015).

Skip-Thought Vectors, https://arxiv.org/abs/1506.06726, section 2.2: a linear map from the space of a word2vec model to
that of the network's own vectors, fitted by least squares to the words that both know, gives every other word of the
word2vec model a place in the network. The network itself stays as it is, and its softmax predicts what it did.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.word2vec import Word2Vec
from lowtide.errors import InputError
from lowtide.model import Softmax
from lowtide.model.char_cnn import SymbolEmbedding
from lowtide.text.vocabulary import SPECIALS
from lowtide.weights.native import is_tied
from lowtide.weights.stored import StoredModel

log = logging.getLogger("lowtide")

FEWEST_COMMON = 1000
"""Words that both must know: a map of some hundred columns is not fitted to less."""
_RIDGE = 1.0
"""Of the squared length of the map; it decides what the common words leave open, and little else."""
_LEAST_EXPLAINED = 0.25
"""Below this a map is warned of."""
_TRIED = 10
"""Every so manieth common word is left out when the map is judged."""


@dataclasses.dataclass(frozen=True)
class Expanded:
    """What an expansion gave."""

    model: StoredModel
    num_common: int
    """Words that the map was fitted to."""
    explained: float
    """Share of the variance of vectors that the map explains, over words it was not fitted to; 1 is all of it."""


def expand(
    stored: StoredModel, words: Word2Vec, *, types: Sequence[str] | None = None, max_words: int | None = None
) -> Expanded:
    """Give a model words that it does not know.

    Args:
        stored: a model that looks words up.
        words: of the same language; best of the same text, and best the one that the training began with.
        types: the words to give, best first, as far as the word2vec model knows them: where that has none but lower
            case, names are written here as they are in a text. None: those of the word2vec model, commonest first.
        max_words: how many it gets, at most; None: all.

    Returns:
        The same network with more rows to look up. Its words in another writing count as known from now on.

    Raises:
        InputError: if the model does not look words up, or they have too few words in common.
    """
    table = stored.bilm.type_vectors
    if table is None or stored.words is None:
        raise InputError(
            f"{stored.path} ({stored.format}) makes its token vectors of characters: there is no word it cannot read. "
            "Expected a model that looks words up, such as `lowtide pretrain --inputs words` makes"
        )
    if max_words is not None and max_words < 1:
        raise InputError(f"max_words is {max_words}, expected 1 or more")
    config = dataclasses.replace(stored.config, folds_case=True)
    folding = dataclasses.replace(stored, config=config)
    own_types = [*stored.words.types, *stored.more_words]
    common = [number for number, type_ in enumerate(own_types) if number >= len(SPECIALS) and words.knows(type_)]
    if len(common) < FEWEST_COMMON:
        raise InputError(
            f"the two models have {len(common):,} words in common, expected {FEWEST_COMMON:,} at least to fit a map to"
        )
    given = _rows(words, [own_types[number] for number in common])
    own = table.detach().cpu().numpy()[common]
    is_tried = np.arange(len(common)) % _TRIED == 0
    tried = _fitted(given[~is_tried], own[~is_tried])(given[is_tried])
    explained = 1 - float(((own[is_tried] - tried) ** 2).sum() / ((own[is_tried] - own.mean(axis=0)) ** 2).sum())
    offered = words.vocabulary.types[len(SPECIALS) :] if types is None else [t for t in types if words.knows(t)]
    new = [type_ for type_ in dict.fromkeys(offered) if not folding.knows(type_)][:max_words]
    found = _fitted(given, own)(_rows(words, new)) if new else own[:0]
    log.info(
        "expanded    %s words more, by a map from %s common ones that explains %.0f %% of what it did not see",
        f"{len(new):,}",
        f"{len(common):,}",
        100 * explained,
    )
    if explained < _LEAST_EXPLAINED:
        log.warning(
            "the map explains %.0f %%, where half and more is usual, so the new words will mean little: are both "
            "models of one language, and of like text?",
            100 * explained,
        )
    bilm = copy.deepcopy(stored.bilm)
    rows = nn.Parameter(torch.cat([table.detach().cpu(), torch.from_numpy(found.astype(np.float32))]))
    assert isinstance(bilm.token_network, SymbolEmbedding) and config.bilm.symbols is not None
    bilm.token_network.embedding.weight = rows.requires_grad_(table.requires_grad)
    sizes = dataclasses.replace(config.bilm, symbols=dataclasses.replace(config.bilm.symbols, num_symbols=len(rows)))
    bilm.config = sizes
    model = dataclasses.replace(
        stored,
        config=dataclasses.replace(config, bilm=sizes),
        bilm=bilm,
        more_words=[*stored.more_words, *new],
        read_softmax=None if stored.read_softmax is None else functools.partial(_softmax, stored, rows),
        calibration=None,  # which is of the vectors over a text, and these have changed
        card=f"{stored.card}\n{len(new):,} words more have a vector, each mapped from word2vec.\n".lstrip(),
    )
    return Expanded(model, len(common), explained)


def _softmax(stored: StoredModel, table: nn.Parameter) -> Softmax:
    """That of the model before, tied to the new table if it was to the old one."""
    softmax = stored.load_softmax()
    if is_tied(softmax, stored.bilm):
        softmax.tie(table)
    return softmax


def _rows(words: Word2Vec, types: list[str]) -> NDArray[np.float64]:
    """(types, width + 1): their vectors, and a 1 for the constant of the map."""
    return np.hstack([words.rows(words.indices(types)), np.ones((len(types), 1))]).astype(np.float64)


def _fitted(given: NDArray[np.float64], own: Vectors) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """The linear map with the least squared error, its own squared length counted in."""
    square = given.T @ given + _RIDGE * np.eye(given.shape[1])
    weights = np.linalg.solve(square, given.T @ own.astype(np.float64))
    return lambda rows: rows @ weights
