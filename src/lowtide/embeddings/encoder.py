"""From batches of NumPy arrays to the states of a biLM: the one place where text meets network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lowtide.errors import InputError
from lowtide.model import Carry, States, Trunk
from lowtide.text.batches import Batch, Document, batch_of_documents
from lowtide.text.characters import Spelling
from lowtide.text.tokenize import Sentence


def run_batch(bilm: Trunk, batch: Batch, carry: Carry | None = None) -> States:
    """Run a network over a batch, on the device where its weights are.

    Returns:
        The states of every position, boundaries among them.
    """
    device = next(bilm.parameters()).device
    char_ids = torch.from_numpy(batch.type_char_ids).to(device)
    states: States = bilm(char_ids, *index_tensors(batch, device), carry)
    return states


def index_tensors(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What says where the types of a batch stand: ``type_index``, ``starts`` and ``lengths``."""
    index, starts, lengths = map(torch.from_numpy, (batch.type_index, batch.starts, batch.lengths))
    return index.to(device), starts.to(device), lengths.to(device)


@contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """No dropout and no gradient inside, even of a network that is being trained further."""
    in_training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in in_training:
            module.training = True


class Encoder(nn.Module):
    """A biLM that takes sentences: for networks of your own, gradients and all.

    Args:
        bilm: the network.
        spelling: how its types are written.
    """

    def __init__(self, bilm: Trunk, spelling: Spelling) -> None:
        super().__init__()
        self.bilm = bilm
        self.spelling = spelling

    def forward(self, sentences: Sequence[Sentence]) -> States:
        """Encode sentences, each between its boundaries, which are then left out.

        Args:
            sentences: lists of tokens; an empty one is allowed.

        Returns:
            Layers of (layers, batch, tokens, width), zero beyond the end of a sentence.

        Raises:
            InputError: if a sentence is a text: this network has no tokenizer.
        """
        if any(isinstance(sentence, str) for sentence in sentences):
            raise InputError('an encoder takes tokens, found a text: cut it first, as in [["The", "cat"]]')
        states = self.read([[sentence] for sentence in sentences])
        mask = states.mask[:, 1:-1]
        return States(states.layers[:, :, 1:-1] * mask[None, :, :, None], mask)

    def read(self, documents: Sequence[Document]) -> States:
        """Encode documents, the state carried from sentence to sentence, forward one way, backward the other.

        Args:
            documents: each of one sentence or more.

        Returns:
            Layers of (layers, documents, positions, width): a row reads ``<S> w .. w </S> <S> w .. w </S>``,
            and where the sentences lie in it tells `sentence_places`. The mask is true at tokens; the layers are
            zero beyond the end of a row, and at a boundary what the network says there.
        """
        batch, _ = batch_of_documents(documents, self.spelling)
        states = run_batch(self.bilm, batch)
        mask = torch.zeros_like(states.mask)
        for row, document in zip(mask, documents, strict=True):
            for place in sentence_places(document):
                row[place] = True
        return States(states.layers, mask)


def sentence_places(document: Document) -> list[slice]:
    """Where the tokens of every sentence lie in the row of their document."""
    places, end = [], 0
    for sentence in document:
        start, end = end + 1, end + len(sentence) + 2
        places.append(slice(start, end - 1))
    return places
