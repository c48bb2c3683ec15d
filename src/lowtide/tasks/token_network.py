"""From a batch to one vector a token that knows the task: what enters, a BiLSTM over it, and dropout.

As the taggers of Lample et al. (2016), Ma & Hovy (2016) and section 3.3 of Peters et al. (2018)::

    x_k = [mix of the layers of every embedding; characters]        h_k = BiLSTM(x)_k        [h_k; a second mix]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from lowtide.embeddings.base import Embedder
from lowtide.model import CharCNN, CharCNNConfig, LayerMix
from lowtide.tasks.inputs import Batch
from lowtide.tasks.layer_entry import Entry, LayerEntry, TableEntry, make_entry
from lowtide.tasks.options import HeadOptions
from lowtide.tasks.row_reader import RowReader
from lowtide.text.characters import ByteSpelling

INPUT, OUTPUT = "input", "output"
"""What the mixes are called: that of the reader's input, and the one put beside what it says."""
MAX_CHARACTERS = 50
_CHAR_WIDTH, _CHARS_AT_ONCE = 25, 3


def spelling_of(options: HeadOptions) -> ByteSpelling | None:
    """How a head spells words; None if it reads no letters."""
    return ByteSpelling(MAX_CHARACTERS) if options.char_filters else None


class TokenNetwork(nn.Module):
    """Embeddings, their mixes, letters and a reader.

    Args:
        embeddings: whose vectors are put beside each other.
        options: the sizes.
        is_tuned: whether vectors of types are learned further.
    """

    def __init__(self, embeddings: Sequence[Embedder], options: HeadOptions, *, is_tuned: bool) -> None:
        super().__init__()
        self._penalty, self._dropout = options.layers.penalty, options.dropout
        self.entries = nn.ModuleList(make_entry(e, options.layers, is_tuned=is_tuned) for e in embeddings)
        self.output_entries = nn.ModuleList()
        self._second: list[int] = []
        if options.layers.at_output:
            self._second = [n for n, entry in enumerate(self.entries) if isinstance(entry, LayerEntry)]
            self.output_entries.extend(
                make_entry(embeddings[n], options.layers, is_tuned=is_tuned) for n in self._second
            )
        self.char_cnn: CharCNN | None = None
        if options.char_filters:
            filters = ((_CHARS_AT_ONCE, options.char_filters),)
            config = CharCNNConfig(
                embedding_width=_CHAR_WIDTH,
                filters=filters,
                num_highways=0,
                activation="tanh",  # weights of a size that can be learned from at once, without pretraining
                max_characters=MAX_CHARACTERS,
                has_projection=False,
            )
            self.char_cnn = CharCNN(config, options.char_filters)
        width = sum(_width(entry) for entry in self.entries) + options.char_filters
        self.reader: RowReader | None = None
        if options.reader == "lstm":
            self.reader = RowReader(
                width, options.state_width, num_layers=options.num_reader_layers, dropout=options.dropout
            )
            width = self.reader.width
        self.width = width + sum(_width(entry) for entry in self.output_entries)

    def forward(self, batch: Batch) -> Tensor:
        """Give every token its vector.

        Returns:
            (sentences, tokens, width); at least one token wide, and anything beyond the end of a sentence.
        """
        entered = [entry(states) for entry, states in zip(self.entries, batch.states, strict=True)]
        if self.char_cnn is not None:
            assert batch.type_char_ids is not None and batch.type_index is not None
            entered.append(self.char_cnn(batch.type_char_ids)[batch.type_index])
        rows = self._dropped(_rows(torch.cat(entered, dim=-1), batch.lengths))
        if self.reader is not None:
            rows = self._dropped(self.reader(rows, batch.lengths))
        if self._second:
            mixed = [entry(batch.states[n]) for entry, n in zip(self.output_entries, self._second, strict=True)]
            rows = torch.cat([rows, self._dropped(_rows(torch.cat(mixed, dim=-1), batch.lengths))], dim=-1)
        return rows

    def _dropped(self, rows: Tensor) -> Tensor:
        """One mask a sentence: a number that is dropped is dropped at all its tokens."""
        return functional.dropout1d(rows.transpose(1, 2), self._dropout, self.training).transpose(1, 2)

    def mixes(self) -> dict[str, LayerMix]:
        """The learned mixes, by name: ``input`` and ``output``, with a number where there are several embeddings."""
        found = {}
        for place, entries in ((INPUT, self.entries), (OUTPUT, self.output_entries)):
            mixes = [entry.mix for entry in entries if isinstance(entry, Entry) and entry.mix is not None]
            for number, mix in enumerate(mixes, start=1):
                found[place if len(mixes) == 1 else f"{place} {number}"] = mix
        return found

    def tuned_tables(self) -> list[nn.Parameter]:
        """The vectors of types that are learned further with the task, which begin as those of an embedding."""
        tables = [entry.table for entry in self.entries if isinstance(entry, TableEntry) and entry.is_tuned]
        return [table for table in tables if isinstance(table, nn.Parameter)]

    def penalty(self) -> Tensor:
        """Lambda ||s||^2 of all mixes."""
        squares = [mix.layer_scalars.square().sum() for mix in self.mixes().values()]
        return self._penalty * torch.stack(squares).sum() if squares else torch.zeros(())


def _width(entry: nn.Module) -> int:
    assert isinstance(entry, Entry)
    return entry.width


def _rows(tokens: Tensor, lengths: Tensor) -> Tensor:
    """(all tokens, width) to (sentences, tokens, width), zero beyond the end; at least one token wide."""
    rows = pad_sequence(list(torch.split(tokens, lengths.tolist())), batch_first=True)
    return rows if rows.shape[1] else tokens.new_zeros(len(lengths), 1, tokens.shape[-1])


def token_mask(lengths: Tensor, num_tokens: int, device: torch.device) -> Tensor:
    """(sentences, tokens), true where there is a token."""
    return torch.arange(num_tokens, device=device) < lengths.to(device)[:, None]


def pool_tokens(rows: Tensor, lengths: Tensor, how: str) -> Tensor:
    """One vector a sentence: (sentences, tokens, width) to (sentences, width), twice that for ``both``.

    Zeros for a sentence without a token.
    """
    mask = token_mask(lengths, rows.shape[1], rows.device)[..., None]
    counts = lengths.to(rows.device)[:, None]
    pooled = []
    if how in ("mean", "both"):
        pooled.append((rows * mask).sum(dim=1) / counts.clamp(min=1))
    if how in ("max", "both"):
        pooled.append(rows.masked_fill(~mask, float("-inf")).amax(dim=1).masked_fill(counts == 0, 0.0))
    return torch.cat(pooled, dim=-1)
