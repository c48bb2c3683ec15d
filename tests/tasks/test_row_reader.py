from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lowtide.tasks.row_reader import RowReader


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 3))
def test_rows_of_any_lengths_are_read_as_a_packed_bilstm_reads_them(lengths: list[int], num_layers: int) -> None:
    torch.manual_seed(len(lengths))
    reader = RowReader(3, 4, num_layers=num_layers, dropout=0.0)
    packed = nn.LSTM(3, 4, num_layers=num_layers, batch_first=True, bidirectional=True)
    for number in range(num_layers):
        for ours, suffix in ((reader.forward_layers[number], ""), (reader.backward_layers[number], "_reverse")):
            for name, weight in ours.named_parameters():
                getattr(packed, name.replace("l0", f"l{number}") + suffix).data.copy_(weight.data)
    rows = torch.randn(len(lengths), max(lengths), 3)
    answers = reader(rows, torch.tensor(lengths))
    assert answers.shape == (len(lengths), max(lengths), reader.width)
    together = packed(pack_padded_sequence(rows, torch.tensor(lengths), batch_first=True, enforce_sorted=False))[0]
    expected = pad_packed_sequence(together, batch_first=True)[0]
    for number, length in enumerate(lengths):
        torch.testing.assert_close(answers[number, :length], expected[number, :length])


def test_what_lies_beyond_the_end_of_a_sentence_teaches_nothing() -> None:
    reader = RowReader(3, 4, num_layers=2, dropout=0.0)
    rows = torch.randn(2, 5, 3, requires_grad=True)
    answers = reader(rows, torch.tensor([5, 3]))
    answers[1, :3].square().sum().backward()
    assert rows.grad is not None
    assert rows.grad[1, 3:].abs().max() == 0 < rows.grad[1, :3].abs().max()


def test_layers_are_dropped_between_only_while_it_learns() -> None:
    rows, lengths = torch.randn(1, 4, 3), torch.tensor([4])
    one, two = (RowReader(3, 4, num_layers=number, dropout=0.9) for number in (1, 2))
    assert torch.equal(one(rows, lengths), one.eval()(rows, lengths))
    assert not torch.equal(two(rows, lengths), two.eval()(rows, lengths))
