"""What stands behind the old names of AllenNLP: its network with states of rows, and its state dicts.

Old code finds these through `lowtide.interop.allennlp`.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from lowtide.embeddings.inputs import as_token_lists
from lowtide.embeddings.loading import read
from lowtide.embeddings.warm_state import WarmState
from lowtide.errors import InputError, ModelError, ShapeError
from lowtide.model import BiLM, BiLMConfig, Carry, CharCNN, LSTMConfig, States, SymbolConfig, SymbolEmbedding, Trunk
from lowtide.model.recurrence import LayerState
from lowtide.text.batches import Batch
from lowtide.text.characters import NUM_BYTE_CHARACTERS, ByteSpelling
from lowtide.text.vocabulary import SENTENCE_END, SENTENCE_START
from lowtide.weights.arrays import ForeignArray, whole
from lowtide.weights.fetching import local_file
from lowtide.weights.stored import blank_network
from lowtide.weights.torch_names import arrays_of_characters, arrays_of_recurrence

log = logging.getLogger("lowtide")

_SPELLING = ByteSpelling(50)
_TYPES_AT_ONCE = 1024


# -- functions -----------------------------------------------------------------------------------


def batch_to_ids(batch: Iterable[Iterable[str]]) -> Tensor:
    """Spell sentences, each a list of tokens; a str is taken for a list of its characters, as in the original.

    Returns:
        (sentences, longest, 50) int64: ids 1 to 261, and 0 where there is no token.

    Raises:
        InputError: if something is no sentence.
    """
    sentences = as_token_lists(batch)
    numbers: dict[str, int] = {}
    index = [[numbers.setdefault(token, len(numbers)) for token in sentence] for sentence in sentences]
    spelled = _SPELLING.char_ids(list(numbers))
    ids = np.zeros((len(sentences), max(map(len, sentences), default=0), _SPELLING.row_length), dtype=np.int64)
    for row, types in zip(ids, index, strict=True):
        row[: len(types)] = spelled[types]
    return torch.from_numpy(ids)


def add_sentence_boundary_token_ids(
    tensor: Tensor, mask: Tensor, sentence_begin_token: Any, sentence_end_token: Any
) -> tuple[Tensor, Tensor]:
    """Put a mark before and another behind every row: (rows, tokens, ...) to (rows, tokens + 2, ...).

    Returns:
        The rows, and their mask: where something is above 0.

    Raises:
        ShapeError: if the mask is not (rows, tokens).
    """
    _check_mask(tensor, mask)
    rows, num_tokens = mask.shape
    marked = tensor.new_zeros(rows, num_tokens + 2, *tensor.shape[2:])
    marked[:, 1:-1] = tensor
    marked[:, 0] = sentence_begin_token
    marked[torch.arange(rows), mask.sum(dim=1).long() + 1] = sentence_end_token
    return marked, (marked > 0).flatten(2).any(dim=2) if marked.dim() > 2 else marked > 0


def remove_sentence_boundaries(tensor: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Take the first and the last position from every row: (rows, tokens, width) to (rows, tokens - 2, width).

    Returns:
        The rows, zero where there is nothing, and their mask.

    Raises:
        ShapeError: if the mask is not (rows, tokens), or there are no two positions.
    """
    _check_mask(tensor, mask)
    if tensor.dim() != 3 or mask.shape[1] < 2:
        raise ShapeError(f"found {tuple(tensor.shape)}, expected (rows, tokens, width) with two tokens or more")
    kept = torch.arange(mask.shape[1] - 2, device=mask.device) < mask.sum(dim=1, keepdim=True) - 2
    return torch.where(kept[..., None], tensor[:, 1:-1], tensor.new_zeros(())), kept


def _check_mask(tensor: Tensor, mask: Tensor) -> None:
    if mask.dim() != 2 or tensor.shape[:2] != mask.shape:
        raise ShapeError(f"found a mask {tuple(mask.shape)} for {tuple(tensor.shape)}, expected one of (rows, tokens)")


# -- the network ---------------------------------------------------------------------------------


class _Rows(WarmState):
    """The states of all rows: ``elmo._elmo_lstm._elmo_lstm`` of old code.

    Args:
        lstm: the sizes.
        stateful: whether it is warm. If not, every call begins at zero; what it leaves can be looked at all the same.
    """

    def __init__(self, lstm: LSTMConfig, stateful: bool) -> None:
        super().__init__()
        self.stateful = stateful
        self.num_layers, self.cell_size = lstm.num_layers, lstm.cell_width
        self.input_size = self.hidden_size = lstm.width
        self._is_told = False

    def run(self, trunk: Trunk, batch: Batch, rows: Sequence[int] | None = None) -> States:
        """See `WarmState.run`."""
        if not self.stateful:
            self.reset()
        elif not self._is_told:
            self._is_told = True
            log.warning(
                "state       warm, as in AllenNLP: vectors depend on what was embedded before them; "
                "stateful=False turns this off"
            )
        like, states = next(trunk.parameters()), self._states
        if states is not None and (states[0].device, states[0].dtype) != (like.device, like.dtype):
            self._states = tuple(state.to(like) for state in states)
        return super().run(trunk, batch, rows)

    def reset_states(self, mask: Tensor | None = None) -> None:
        """Forget everything, or the rows where a mask (rows,) is true.

        Raises:
            InputError: if the mask is not as long as there are rows.
        """
        if mask is None:
            self.reset()
            return
        states = self._states
        num_rows = 0 if states is None else states[0].shape[1]
        if states is None or mask.shape != (num_rows,):
            raise InputError(
                f"found a mask {tuple(mask.shape)} for the states of {num_rows} rows, expected one for each"
            )
        keep = ~mask.bool().to(states[0].device)[:, None]
        self._states = (states[0] * keep, states[1] * keep)

    @property
    def _states(self) -> tuple[Tensor, Tensor] | None:
        """Hidden and memory as they were kept: (layers, rows, width), forward half first; None if there are none."""
        if self.carry is None:
            return None
        pairs = list(zip(self.carry.forward, self.carry.backward, strict=True))
        hidden = torch.stack([torch.cat([ahead.hidden, back.hidden], dim=1) for ahead, back in pairs])
        return hidden, torch.stack([torch.cat([ahead.cell, back.cell], dim=1) for ahead, back in pairs])

    @_states.setter
    def _states(self, states: Sequence[Tensor] | None) -> None:
        if states is None:
            self.reset()
            return
        hidden, memory = (state.chunk(2, dim=2) for state in states)
        self.carry = Carry(
            *([LayerState(*pair) for pair in zip(hidden[way], memory[way], strict=True)] for way in (0, 1))
        )


class ElmoBiLm(nn.Module):
    """The network between boundaries, and the states of its rows; see `Elmo` for the arguments."""

    def __init__(
        self,
        options_file: str | Path,
        weight_file: str | Path | None,
        requires_grad: bool = False,
        vocab_to_cache: Sequence[str] | None = None,
        *,
        stateful: bool = True,
    ) -> None:
        super().__init__()
        self._bilm = _network(options_file, weight_file).requires_grad_(requires_grad)
        self._words: BiLM | None = None
        self._num_words = 0
        self._elmo_lstm = _Rows(self._bilm.config.lstm, stateful)
        self.num_layers = self._bilm.num_layers
        if vocab_to_cache:
            self.create_cached_cnn_embeddings(vocab_to_cache)
        self.register_state_dict_post_hook(_save_as_published)  # type: ignore[no-untyped-call]  # torch does not type it
        self.register_load_state_dict_pre_hook(_load_as_published)  # type: ignore[no-untyped-call]  # nor this

    def get_output_dim(self) -> int:
        """The width of a vector: both directions."""
        return self._bilm.width

    def create_cached_cnn_embeddings(self, tokens: Sequence[str]) -> None:
        """Compute the token vectors of a vocabulary once: word i of ``word_inputs`` is ``tokens[i]``, 0 is padding."""
        characters, config = self._bilm.token_network, self._bilm.config
        weight = next(characters.parameters())
        spelled = torch.from_numpy(_SPELLING.char_ids([*tokens, SENTENCE_START, SENTENCE_END])).to(weight.device)
        with torch.no_grad():
            vectors = torch.cat([characters(part) for part in spelled.split(_TYPES_AT_ONCE)])
        vectors[0] = 0
        words = blank_network(BiLMConfig(config.lstm, symbols=SymbolConfig(len(vectors)), dropout=config.dropout))
        assert isinstance(words, BiLM) and isinstance(words.token_network, SymbolEmbedding)
        words.token_network.embedding.weight = nn.Parameter(vectors, requires_grad=weight.requires_grad)
        words.forward_lstm, words.backward_lstm = self._bilm.forward_lstm, self._bilm.backward_lstm
        self._words, self._num_words = words, len(tokens)

    def forward(self, inputs: Tensor, word_inputs: Tensor | None = None) -> dict[str, Any]:
        """Run a batch, each row from the state that the last one has left there.

        Args:
            inputs: (rows, tokens, 50), of `batch_to_ids`.
            word_inputs: (rows, tokens) numbers in the cached vocabulary; if all are in it, they are read instead.

        Returns:
            ``activations``: of every layer (rows, tokens + 2, width); ``mask``: (rows, tokens + 2).

        Raises:
            InputError: if the ids are none.
        """
        if word_inputs is not None and self._words is None:
            warnings.warn("word_inputs are not read: this Elmo was made without vocab_to_cache", stacklevel=2)
        if self._words is not None and _are_ids(word_inputs, (None, None), self._num_words):
            marks = torch.tensor([[self._num_words], [self._num_words + 1]])
            return self._run(self._words, word_inputs[..., None], marks)
        if not _are_ids(inputs, (None, None, _SPELLING.row_length), NUM_BYTE_CHARACTERS):
            given: Any = inputs
            found = f"{given.dtype} {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
            raise InputError(
                f"found {found}, expected char ids as batch_to_ids gives them: one row or more, (rows, tokens, "
                f"{_SPELLING.row_length}), whole numbers below {NUM_BYTE_CHARACTERS}"
            )
        return self._run(self._bilm, inputs, torch.from_numpy(_SPELLING.char_ids([SENTENCE_START, SENTENCE_END])))

    def _run(self, trunk: BiLM, ids: Tensor, marks: Tensor) -> dict[str, Any]:
        """(rows, tokens, ids of a type), and those of the two boundaries (2, ids), to all layers."""
        ids = ids.cpu().long()
        marked, mask = add_sentence_boundary_token_ids(ids, (ids > 0).any(dim=2), *marks.long())
        states = self._elmo_lstm.run(trunk, _batch_of(marked, mask))
        return {"activations": list(states.layers), "mask": states.mask}


def _network(options_file: str | Path, weight_file: str | Path | None) -> BiLM:
    """The network of two files, without dropout; its forget bias is in the stored bias, as AllenNLP has it."""
    stored = read(_local(options_file), weights=None if weight_file is None else _local(weight_file))
    bilm = stored.bilm
    if not isinstance(bilm, BiLM) or not isinstance(bilm.token_network, CharCNN) or stored.letters is not None:
        raise ModelError(
            f"{stored.path} ({stored.format}) does not read bytes as AllenNLP does: open it with lowtide.load"
        )
    lstm = dataclasses.replace(bilm.config.lstm, forget_bias=0.0)
    network = blank_network(dataclasses.replace(bilm.config, lstm=lstm, dropout=0.0))
    assert isinstance(network, BiLM)
    network.load_state_dict(bilm.state_dict(), assign=True)
    for name, parameter in network.named_parameters():
        if re.fullmatch(r"(forward|backward)_lstm\.layers\.\d+\.bias", name):
            parameter.detach().chunk(4)[1].add_(bilm.config.lstm.forget_bias)
    return network.train()


def _local(file: str | Path) -> str:
    return str(local_file(file)) if isinstance(file, str) and re.match("https?://", file) else str(file)


def _are_ids(ids: Any, shape: tuple[int | None, ...], count: int) -> TypeGuard[Tensor]:
    """Whether these are whole numbers from 0 up to a count, in one row or more; None is any length."""
    if not isinstance(ids, Tensor) or ids.dim() != len(shape) or not len(ids):
        return False
    if ids.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8):
        return False
    fits = all(wanted in (None, found) for wanted, found in zip(shape, ids.shape, strict=True))
    return fits and (not ids.numel() or bool((ids.min() >= 0) & (ids.max() < count)))


def _batch_of(ids: Tensor, mask: Tensor) -> Batch:
    """(rows, steps, ids of a type), boundaries among them, to a batch in which every type stands once."""
    rows = ids.numpy().astype(np.int32)
    numbers: dict[bytes, int] = {}
    index = [numbers.setdefault(row.tobytes(), len(numbers)) for row in rows.reshape(-1, rows.shape[2])]
    types = np.frombuffer(bytearray(b"".join(numbers)), dtype=np.int32).reshape(-1, rows.shape[2])
    type_index = np.array(index, dtype=np.int64).reshape(rows.shape[:2])
    return Batch(types, type_index, np.zeros(type_index.shape, dtype=np.bool_), mask.sum(dim=1).numpy())


# -- state dicts ---------------------------------------------------------------------------------


def _published_arrays(bilm: ElmoBiLm) -> list[ForeignArray]:
    """Every tensor of a state dict of AllenNLP, in its order."""
    assert isinstance(bilm._bilm.token_network, CharCNN)
    arrays = arrays_of_characters(bilm._bilm.token_network, "_token_embedder.")
    if bilm._words is not None:
        assert isinstance(bilm._words.token_network, SymbolEmbedding)
        vectors = bilm._words.token_network.embedding.weight  # the last two are the boundaries
        arrays.append(whole("_word_embedding.weight", vectors[:-2]))
    return arrays + arrays_of_recurrence(bilm._bilm, "_elmo_lstm.")


def _save_as_published(bilm: ElmoBiLm, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in [key for key in state_dict if key.startswith(prefix)]:
        del state_dict[key]
    state_dict.update({f"{prefix}{array.name}": array.as_state() for array in _published_arrays(bilm)})


def _load_as_published(
    bilm: ElmoBiLm,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: Any,
    strict: bool,
    missing_keys: list[str],
    unexpected_keys: list[str],
    error_msgs: list[str],
) -> None:
    for array in _published_arrays(bilm):
        key = f"{prefix}{array.name}"
        found = state_dict.pop(key, None)
        if found is None:
            missing_keys.append(key)
        elif not isinstance(found, Tensor) or found.shape != array.shape:
            shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            error_msgs.append(f"size mismatch for {key}: found {shown}, expected {array.shape}")
        else:
            array.fill(found.detach())
    # PyTorch goes on to load the parameters under our names: it finds what they are now
    state_dict.update({f"{prefix}{name}": p.detach() for name, p in bilm.named_parameters(remove_duplicate=False)})
