"""A BiLSTM over rows of sentences: Schuster & Paliwal (1997), as all published taggers have it.

Both directions read whole rows, without packing, since only so PyTorch has its fast kernels (oneDNN on a CPU): half as
long again, measured on 16 sentences of 30 tokens. Backward, every row is turned around within its own length; so what
lies beyond the end of a sentence is read last by either direction, and reaches no token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class RowReader(nn.Module):
    """Layers of two LSTMs, one in each direction.

    Args:
        width: of what is read.
        state_width: of each direction.
        num_layers: every one reads both directions of the one below.
        dropout: between layers.
    """

    def __init__(self, width: int, state_width: int, *, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.width = 2 * state_width
        self._dropout = dropout
        widths = [width] + [self.width] * (num_layers - 1)
        self.forward_layers = nn.ModuleList(nn.LSTM(w, state_width, batch_first=True) for w in widths)
        self.backward_layers = nn.ModuleList(nn.LSTM(w, state_width, batch_first=True) for w in widths)

    def forward(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Read.

        Args:
            rows: (sentences, tokens, width)
            lengths: (sentences,): tokens of every sentence.

        Returns:
            (sentences, tokens, 2 * state width); anything beyond the end of a sentence.
        """
        turned = _turned(rows.shape[1], lengths.to(rows.device))[..., None]  # (sentences, tokens, 1)
        for number, (onward, back) in enumerate(zip(self.forward_layers, self.backward_layers, strict=True)):
            if number:
                rows = functional.dropout(rows, self._dropout, self.training)
            answers = back(rows.gather(1, turned.expand_as(rows)))[0]
            rows = torch.cat([onward(rows)[0], answers.gather(1, turned.expand_as(answers))], dim=-1)
        return rows


def _turned(num_tokens: int, lengths: Tensor) -> Tensor:
    """(sentences, tokens): where each token stands when its sentence is turned around; what lies beyond stays."""
    place = torch.arange(num_tokens, device=lengths.device)
    return torch.where(place < lengths[:, None], lengths[:, None] - 1 - place, place)
