"""A bidirectional LSTM whose upper layers see both directions: the plain encoder of ELMoForManyLangs.

Che et al. (2018), https://arxiv.org/abs/1807.03121 (``encoder.name`` is ``lstm``). From the second
layer on it reads what both directions have said below, so it is no language model: it cannot be asked
what comes next.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lowtide.model.bilm import BiLMConfig, Carry, Trunk


class JointLSTM(Trunk):
    """PyTorch's own LSTM in both directions, and one projection that they share.

    Of its layers only the top one comes out: so it has two, layer 0 (the token vector twice) and this.
    There is no clip, no residual and no carry; ``starts`` other than that of a row are not looked at.
    """

    def __init__(self, config: BiLMConfig) -> None:
        super().__init__(config)
        lstm = config.lstm
        self.lstm = nn.LSTM(lstm.width, lstm.cell_width, lstm.num_layers, bidirectional=True, batch_first=True)
        self.projection = nn.Linear(lstm.cell_width, lstm.width)

    @property
    def num_layers(self) -> int:
        """Layer 0 counts."""
        return 2

    @property
    def width(self) -> int:
        """Of every layer: twice that of one direction."""
        return 2 * self.config.lstm.width

    def read_layers(
        self, vectors: Tensor, type_index: Tensor, starts: Tensor, lengths: Tensor, carry: Carry | None
    ) -> tuple[list[Tensor], Carry | None]:
        """See `Trunk.read_layers`; every row is read alone, and nothing is carried."""
        packed = pack_padded_sequence(vectors[type_index], lengths.cpu(), batch_first=True, enforce_sorted=False)
        read, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=starts.shape[1])
        both = self.projection(read.unflatten(2, (2, -1))).flatten(2)  # (batch, tokens, width)
        is_read = torch.arange(starts.shape[1], device=lengths.device) < lengths[:, None]
        return [both * is_read[..., None]], None
