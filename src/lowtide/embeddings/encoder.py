"""From batches of NumPy arrays to the states of a biLM: the one place where text meets network.

Training and embedding both come through `run_batch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from lowtide.errors import InputError
from lowtide.model import BiLM, Carry, States
from lowtide.text.batches import Batch, batch_of_sentences
from lowtide.text.characters import Spelling
from lowtide.text.tokenize import Sentence


def run_batch(bilm: BiLM, batch: Batch, carry: Carry | None = None) -> States:
    """Run a biLM over a batch, on the device where its weights are.

    Returns:
        The states of every position, boundaries among them.
    """
    device = next(bilm.parameters()).device
    states: States = bilm(
        torch.from_numpy(batch.type_char_ids).to(device),
        torch.from_numpy(batch.type_index).to(device),
        torch.from_numpy(batch.starts).to(device),
        torch.from_numpy(batch.lengths).to(device),
        carry,
    )
    return states


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

    def __init__(self, bilm: BiLM, spelling: Spelling) -> None:
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
        batch, _ = batch_of_sentences(sentences, self.spelling)
        states = run_batch(self.bilm, batch)
        tokens = states.mask.shape[1] - 2
        # a row reads <S> w1 ... wn </S>, and then nothing: the mask of the tokens is that two places on
        mask = states.mask[:, 2:]
        return States(states.layers[:, :, 1 : 1 + tokens] * mask[None, :, :, None], mask)
