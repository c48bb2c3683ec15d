"""With what numbers a training begins: small and random, at counts, at word vectors, at another model."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lowtide.embeddings.base import Vectors
from lowtide.errors import InputError
from lowtide.model import BiLM, Softmax
from lowtide.model.cloze import ClozeHead
from lowtide.model.lstm import ProjectedLSTM
from lowtide.text.vocabulary import Vocabulary
from lowtide.training.continuing import begin_at
from lowtide.training.learning import Networks
from lowtide.training.settings import Settings
from lowtide.training.training_text import TrainingText
from lowtide.weights.stored import make_softmax


def begin(settings: Settings, text: TrainingText) -> Networks:
    """Everything that is to learn, a function of the settings and the text.

    Args:
        settings: of the training.
        text: with the vectors or the model that it begins with, if there are any.

    Raises:
        InputError: if the vectors have another width.
    """
    state_width = settings.bilm.lstm.state_width
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        bilm = BiLM(settings.bilm, dropouts=settings.dropouts_in_use)
        is_sparse = settings.num_samples is not None and not settings.is_tied
        softmax = make_softmax(len(text.vocabulary), state_width, settings.cutoffs, sparse=is_sparse)
        _begin_at_unigrams(softmax, text.vocabulary)
        if text.start is not None:
            begin_at(text.start.tensors, bilm, softmax)
        if text.vectors is not None:
            _begin_at_vectors(_looked_up(bilm), text.vectors)
    cloze = ClozeHead(state_width) if settings.objective == "lm+cloze" else None
    networks = Networks(bilm, softmax, cloze, settings.product_dtype)
    tie(settings, networks)
    for module in bilm.modules():
        if isinstance(module, ProjectedLSTM):
            module.goes_back_once = True
            module.training_dtype = settings.product_dtype
    return networks


def tie(settings: Settings, networks: Networks) -> None:
    """Let the softmax predict with the vectors that are looked up, if the settings want it."""
    if settings.is_tied:
        networks.softmax.tie(_looked_up(networks.bilm))


def _looked_up(bilm: BiLM) -> Tensor:
    table = bilm.type_vectors
    assert table is not None, "only where types are looked up"
    return table


def _begin_at_unigrams(softmax: Softmax, vocabulary: Vocabulary) -> None:
    """Begin as the unigram model.

    A departure from bilm-tf, where the bias begins at zero and the first thousands of steps go
    into learning which words are common.
    """
    counts = np.maximum(vocabulary.counts.astype(np.float64), 0.5)
    softmax.begin_at(torch.from_numpy(np.log(counts / counts.sum())))


def _begin_at_vectors(drawn: Tensor, vectors: Vectors) -> None:
    """Begin with vectors from elsewhere, made as long as those that are drawn; types that have none keep theirs."""
    given = torch.from_numpy(vectors)
    if given.shape != drawn.shape:
        raise InputError(f"the vectors have width {given.shape[1]}, this network wants {drawn.shape[1]}")
    has_one = given.any(dim=1)
    with torch.no_grad():
        drawn[has_one] = given[has_one] * (drawn.square().mean().sqrt() / given[has_one].square().mean().sqrt())
