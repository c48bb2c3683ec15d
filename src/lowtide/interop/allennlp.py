"""Old code for AllenNLP's ELMo, with the old numbers: only the import changes.

::

    from lowtide.interop.allennlp import Elmo, batch_to_ids

    elmo = Elmo(options_file, weight_file, 2, dropout=0)
    elmo(batch_to_ids([["First", "sentence", "."], ["Another", "."]]))["elmo_representations"]

What is imitated is how versions 0.9.0 and 2.10.1 of https://github.com/allenai/allennlp behave when they run; masks are
bool, as in the later one. State dicts of modules that hold an `Elmo` go both ways between the two libraries. The state
is warm: row r of a batch begins with what row r of the batches before has left. ``stateful=False``, or the old
``elmo._elmo_lstm._elmo_lstm.stateful = False``, turns this off.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.device import pick_device
from lowtide.embeddings.inputs import as_token_lists
from lowtide.embeddings.outputs.hdf5 import created
from lowtide.errors import InputError, ShapeError, nearest
from lowtide.files import written_whole
from lowtide.interop.allennlp_network import (
    ElmoBiLm,
    add_sentence_boundary_token_ids,
    batch_to_ids,
    remove_sentence_boundaries,
)
from lowtide.model.layer_mix import mix_layers, norm_as_published
from lowtide.progress import progress

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "DEFAULT_OPTIONS_FILE",
    "DEFAULT_WEIGHT_FILE",
    "Elmo",
    "ElmoEmbedder",
    "ElmoTokenEmbedder",
    "ScalarMix",
    "add_sentence_boundary_token_ids",
    "batch_to_ids",
    "remove_sentence_boundaries",
]

_ORIGINAL = (
    "https://allennlp.s3.amazonaws.com/models/elmo/2x4096_512_2048cnn_2xhighway/elmo_2x4096_512_2048cnn_2xhighway"
)
DEFAULT_OPTIONS_FILE, DEFAULT_WEIGHT_FILE = f"{_ORIGINAL}_options.json", f"{_ORIGINAL}_weights.hdf5"
DEFAULT_BATCH_SIZE = 64

_FORMATS: dict[str, Callable[[Vectors], NDArray[np.float32]]] = {
    "all": lambda layers: layers,
    "top": lambda layers: layers[-1],
    "average": lambda layers: layers.mean(axis=0),
}


_ElmoBiLm = ElmoBiLm
"""Old code imports it under this name."""


class ScalarMix(nn.Module):
    """`lowtide.LayerMix` under its old name, its parameters one by one.

    Args:
        mixture_size: how many tensors.
        do_layer_norm: whether to take one mean and variance over the whole batch first.
        initial_scalar_parameters: before the softmax; zeros if not given.
        trainable: whether they and gamma are learned.

    Raises:
        InputError: if there are not as many scalars as tensors.
    """

    def __init__(
        self,
        mixture_size: int,
        do_layer_norm: bool = False,
        initial_scalar_parameters: Sequence[float] | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        scalars = [0.0] * mixture_size if initial_scalar_parameters is None else list(initial_scalar_parameters)
        if len(scalars) != mixture_size:
            raise InputError(f"found {len(scalars)} scalars for a mix of {mixture_size} layers, expected one for each")
        self.mixture_size, self.do_layer_norm = mixture_size, do_layer_norm
        self.scalar_parameters = nn.ParameterList(nn.Parameter(torch.tensor([float(scalar)])) for scalar in scalars)
        self.gamma = nn.Parameter(torch.tensor([1.0]))
        self.requires_grad_(trainable)

    def forward(self, tensors: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """Mix tensors of one shape, (..., tokens, width); the mask (..., tokens) is wanted for the layer norm alone.

        Raises:
            ShapeError: if there is another number of tensors.
            InputError: if there is no mask for the layer norm.
        """
        if len(tensors) != self.mixture_size:
            raise ShapeError(f"found {len(tensors)} layers, this mix is of {self.mixture_size} (layer 0 counts)")
        layers = torch.stack(list(tensors))
        if self.do_layer_norm:
            if mask is None:
                raise InputError("a mix with do_layer_norm wants a mask, found none")
            layers = norm_as_published(layers, mask)
        return mix_layers(layers, torch.cat(list(self.scalar_parameters)), self.gamma)


class Elmo(nn.Module):
    """One or more mixes of the layers, as a module.

    What: ``allennlp.modules.elmo.Elmo``, with its numbers and its state dict. When: a network of then is to be loaded,
    or trained further. What to do instead in new code: `lowtide.load` and `lowtide.LayerMix`. As there, dropout is 0.5
    and the module begins in training mode.

    Args:
        options_file: a path, or the address of a published file, which is then fetched.
        weight_file: the same.
        num_output_representations: how many mixes.
        requires_grad: whether the network is trained too.
        do_layer_norm: see `ScalarMix`.
        dropout: of what comes out.
        vocab_to_cache: words whose token vectors are computed once; the first is padding.
        keep_sentence_boundaries: whether ``<S>`` and ``</S>`` come out too.
        scalar_mix_parameters: of all mixes; then none is trained.
        module: gives ``activations`` and ``mask`` in place of the files, which are None then.
        stateful: whether the state is warm.

    Raises:
        MissingPathError: if a file is not there and cannot be fetched.
        ModelError: if it is damaged, or of a model that does not read bytes.
        InputError: if an argument is out of range, or excludes another.
    """

    def __init__(
        self,
        options_file: str | Path | None,
        weight_file: str | Path | None,
        num_output_representations: int,
        requires_grad: bool = False,
        do_layer_norm: bool = False,
        dropout: float = 0.5,
        vocab_to_cache: Sequence[str] | None = None,
        keep_sentence_boundaries: bool = False,
        scalar_mix_parameters: Sequence[float] | None = None,
        module: Any = None,
        *,
        stateful: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}, expected 0 up to 1")
        has_files = options_file is not None or weight_file is not None
        if module is not None and (has_files or not stateful):
            raise InputError(
                "module= has files and a state of its own: leave out options_file, weight_file and stateful"
            )
        if module is None:
            if options_file is None:
                raise InputError("options_file is None, expected a file, or a module")
            module = ElmoBiLm(options_file, weight_file, requires_grad, vocab_to_cache, stateful=stateful)
        self._elmo_lstm = module
        self._dropout = nn.Dropout(p=dropout)
        self._keep_sentence_boundaries = keep_sentence_boundaries
        self._scalar_mixes = [
            ScalarMix(module.num_layers, do_layer_norm, scalar_mix_parameters, scalar_mix_parameters is None)
            for _ in range(num_output_representations)
        ]
        for number, mix in enumerate(self._scalar_mixes):
            self.add_module(f"scalar_mix_{number}", mix)

    def get_output_dim(self) -> int:
        """The width of a vector: both directions."""
        width: int = self._elmo_lstm.get_output_dim()
        return width

    def forward(self, inputs: Tensor, word_inputs: Tensor | None = None) -> dict[str, Any]:
        """Embed a batch.

        Args:
            inputs: (..., tokens, 50), of `batch_to_ids`; leading dimensions are rows.
            word_inputs: (..., tokens) numbers in the cached vocabulary.

        Returns:
            ``elmo_representations``: of every mix (..., tokens, width); ``mask``: (..., tokens).
        """
        is_nested = isinstance(inputs, Tensor) and inputs.dim() > 3
        rows = inputs.flatten(0, -3) if is_nested else inputs
        words = word_inputs.flatten(0, -2) if word_inputs is not None and is_nested else word_inputs
        run = self._elmo_lstm(rows, words)
        layers, mask = run["activations"], run["mask"]
        mixed = [mix(layers, mask) for mix in self._scalar_mixes]
        if not self._keep_sentence_boundaries:
            mixed = [remove_sentence_boundaries(vectors, mask)[0] for vectors in mixed]
            mask = remove_sentence_boundaries(layers[0], mask)[1]
        leading = inputs.shape[:-2]
        return {
            "elmo_representations": [self._dropout(vectors).unflatten(0, leading) for vectors in mixed],
            "mask": mask.unflatten(0, leading),
        }


class ElmoTokenEmbedder(nn.Module):
    """One mix of the layers, projected if a width is given; see `Elmo` for the arguments."""

    def __init__(
        self,
        options_file: str | Path = DEFAULT_OPTIONS_FILE,
        weight_file: str | Path = DEFAULT_WEIGHT_FILE,
        do_layer_norm: bool = False,
        dropout: float = 0.5,
        requires_grad: bool = False,
        projection_dim: int | None = None,
        vocab_to_cache: Sequence[str] | None = None,
        scalar_mix_parameters: Sequence[float] | None = None,
        *,
        stateful: bool = True,
    ) -> None:
        super().__init__()
        network = ElmoBiLm(options_file, weight_file, requires_grad, vocab_to_cache, stateful=stateful)
        self._elmo = Elmo(None, None, 1, False, do_layer_norm, dropout, None, False, scalar_mix_parameters, network)
        self._projection = nn.Linear(network.get_output_dim(), projection_dim) if projection_dim else None
        self.output_dim = projection_dim or network.get_output_dim()

    def get_output_dim(self) -> int:
        """The width of a vector."""
        return self.output_dim

    def forward(self, elmo_tokens: Tensor, word_inputs: Tensor | None = None) -> Tensor:
        """(..., tokens, 50) to (..., tokens, width)."""
        vectors: Tensor = self._elmo(elmo_tokens, word_inputs)["elmo_representations"][0]
        return vectors if self._projection is None else self._projection(vectors)


class ElmoEmbedder:
    """All layers of tokenised sentences, as arrays.

    What: ``allennlp.commands.elmo.ElmoEmbedder`` of versions up to 0.9, with its numbers; without arguments, the
    original model. When: code or numbers from then are to be kept. What to do instead in new code: `lowtide.load` and
    `lowtide.Elmo.embed_layers`. An empty sentence gives (layers, 0, width), whatever the model; a batch of them alone,
    with which the original fails, does not run.

    Args:
        options_file: see `Elmo`.
        weight_file: see `Elmo`.
        cuda_device: the number of a GPU; -1: the CPU.
        stateful: whether the state is warm; ``elmo_bilm._elmo_lstm.stateful`` in old code.
    """

    def __init__(
        self,
        options_file: str | Path = DEFAULT_OPTIONS_FILE,
        weight_file: str | Path = DEFAULT_WEIGHT_FILE,
        cuda_device: int = -1,
        *,
        stateful: bool = True,
    ) -> None:
        self.cuda_device = cuda_device
        device = pick_device("cpu" if cuda_device < 0 else f"cuda:{cuda_device}")
        self.elmo_bilm = ElmoBiLm(options_file, weight_file, stateful=stateful).to(device)

    def batch_to_embeddings(self, batch: Iterable[Iterable[str]]) -> tuple[Tensor, Tensor]:
        """(sentences, layers, longest, width), without the boundaries, and the mask (sentences, longest)."""
        run = self.elmo_bilm(batch_to_ids(batch))
        pairs = [remove_sentence_boundaries(layer, run["mask"]) for layer in run["activations"]]
        return torch.stack([layer for layer, _ in pairs], dim=1), pairs[0][1]

    def embed_sentence(self, sentence: Iterable[str]) -> Vectors:
        """(layers, tokens, width) of one sentence."""
        return self.embed_batch([sentence])[0]

    def embed_batch(self, batch: Iterable[Iterable[str]]) -> list[Vectors]:
        """(layers, tokens, width) of every sentence; they run together."""
        sentences = as_token_lists(batch)
        if not any(sentences):  # nothing runs, and no state changes
            shape = self.elmo_bilm.num_layers, 0, self.elmo_bilm.get_output_dim()
            return [np.zeros(shape, np.float32) for _ in sentences]
        layers = self.batch_to_embeddings(sentences)[0].detach().cpu().numpy()
        # copies, so that one short sentence does not keep its whole batch alive
        return [vectors[:, : len(sentence)].copy() for vectors, sentence in zip(layers, sentences, strict=True)]

    def embed_sentences(
        self, sentences: Iterable[Iterable[str]], batch_size: int = DEFAULT_BATCH_SIZE
    ) -> Iterator[Vectors]:
        """The same of any number of sentences, batch after batch, in their order."""
        if batch_size < 1:
            raise InputError(f"a batch of {batch_size} rows: expected at least 1")
        rest = iter(sentences)
        while batch := list(itertools.islice(rest, batch_size)):
            yield from self.embed_batch(batch)

    def embed_file(
        self,
        input_file: IO[str],
        output_file_path: str | Path,
        output_format: str = "all",
        batch_size: int = DEFAULT_BATCH_SIZE,
        forget_sentences: bool = False,
        use_sentence_keys: bool = False,
    ) -> None:
        """Embed an open file, one sentence a line, its tokens between spaces; then it is closed.

        Args:
            input_file: the lines.
            output_file_path: an HDF5 file, which appears when it is whole: datasets ``"0"``, ``"1"`` and so on, and in
                ``sentence_to_index`` one JSON object from line to number.
            output_format: ``all``: (layers, tokens, width); ``top`` or ``average``: (tokens, width).
            batch_size: sentences that run together.
            forget_sentences: whether to leave out ``sentence_to_index``.
            use_sentence_keys: whether datasets are named by their lines instead.

        Raises:
            InputError: if a line is empty, or cannot be a key, or there is no such format.
            WriteError: if the file cannot be written.
        """
        if output_format not in _FORMATS:
            known = ", ".join(_FORMATS)
            raise InputError(f"unknown format {output_format!r}.{nearest(output_format, _FORMATS)} Known: {known}")
        lines = [line.strip() for line in input_file]
        empty = [str(number) for number, line in enumerate(lines) if not line]
        if empty:
            raise InputError(f"found empty lines, expected a sentence in each: remove {', '.join(empty)} (from 0)")
        keys = lines if use_sentence_keys else [str(number) for number in range(len(lines))]
        embedded = self.embed_sentences((line.split() for line in lines), batch_size)
        with (
            progress("embedding", total=len(lines), unit="sentences") as bar,
            written_whole(Path(output_file_path)) as beside,
            created(beside) as (file, check),
        ):
            for key, layers in zip(keys, embedded, strict=True):
                _write(file, key, _FORMATS[output_format](layers))
                check()
                bar.advance(1)
            if not forget_sentences and not use_sentence_keys:
                index = json.dumps(dict(zip(lines, keys, strict=True)))
                file.create_dataset("sentence_to_index", data=[index], dtype=h5py.string_dtype())
        if hasattr(input_file, "close"):
            input_file.close()


def _write(file: h5py.File, key: str, vectors: NDArray[np.float32]) -> None:
    try:
        file.create_dataset(key, data=vectors, track_times=False)
    except (ValueError, TypeError, OSError) as error:  # it is there, or has a NUL, or lies below one that is there
        raise InputError(f"the line {key!r} cannot be a key of HDF5 ({error}): leave out use_sentence_keys") from None
