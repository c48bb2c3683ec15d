"""Old code for simple_elmo, with the old numbers: only the import changes.

::

    from lowtide.interop.simple_elmo import ElmoModel

    model = ElmoModel()
    model.load("/path/to/model")
    model.get_elmo_vectors([["The", "tide", "goes", "out", "."], ["Yes"]])

What is imitated is how version 0.9.2 of https://github.com/ltgoslo/simple_elmo behaves when it runs: texts are run in
batches in the order in which they come, each from the states in which the one before ended, and before all others the
first batch is run once, to warm up. The next call begins at zero again.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.encoder import Encoder, measuring
from lowtide.embeddings.inputs import as_token_lists
from lowtide.embeddings.language_model import Guess, LanguageModel
from lowtide.embeddings.layers import Reduction, choose_layers
from lowtide.embeddings.loading import read
from lowtide.embeddings.warm_state import WarmState
from lowtide.errors import InputError
from lowtide.model import States
from lowtide.text.batches import batch_of_documents
from lowtide.text.characters import NO_TOKEN, ByteSpelling
from lowtide.text.tokenize import Sentence
from lowtide.text.vocabulary import END_INDEX, START_INDEX, UNKNOWN_INDEX, Vocabulary

log = logging.getLogger("lowtide")

_LAYERS = ("average", "top", "all")

Doubles = NDArray[np.float64]


class ElmoModel:
    """A model that gives texts their vectors, and remembers within a call.

    What: ``simple_elmo.ElmoModel``, with its numbers: they depend on the texts before them in the call, and means on
    the longest text beside them. When: code or numbers from then are to be kept. What to do instead in new code:
    `lowtide.load`, whose vectors depend on the text alone. ``stateful=False`` gives those under the old names: then
    every text begins at zero, and padding is zero.

    Where the original fails, this does not: no texts give an array of no texts, an empty text alone a mean of zero,
    and several models may be loaded. A vocabulary is not looked at for vectors (there, one without ``<S>`` and
    ``</S>`` made a mark of its last word). ``get_elmo_vector_average`` with ``layers="all"`` gives the mean of every
    layer (there, tokens and layers were mixed up), and ``get_elmo_substitutes`` looks at all of the context and
    gives what its names say (see there). There is no TensorFlow, and so no ``session``.

    Args:
        stateful: whether the state is warm, as it was; may be changed later.
        device: see `lowtide.load`.

    Attributes:
        batch_size: texts that run together; may be changed later. None before `load`, as all that follow.
        max_chars: bytes of a word and its two marks; None too for a model of words.
        vector_size: the width of a vector.
        n_layers: layer 0 counts.
        vocab: the words that a model with ``full=True`` can predict.
    """

    def __init__(self, *, stateful: bool = True, device: str = "auto") -> None:
        self.stateful = stateful
        self.batch_size: int | None = None
        self.max_chars: int | None = None
        self.vector_size: int | None = None
        self.n_layers: int | None = None
        self.vocab: Vocabulary | None = None
        self._device = device
        self._elmo: Elmo | None = None
        self._language_model: LanguageModel | None = None
        self._is_told = False

    def load(self, directory: str | Path, max_batch_size: int = 32, limit: int = 100, full: bool = False) -> str:
        """Read a model.

        Args:
            directory: a folder or a zip with ``options.json`` and an hdf5 file; of several hdf5 files in a folder
                ``model.hdf5``, else the first by name. Also the hdf5 file itself, and all that `lowtide.load` opens.
            max_batch_size: texts that run together.
            limit: not used: it was the size of a cache.
            full: whether to read the training checkpoint of the folder, and not the hdf5 file beside it.

        Returns:
            "The model is now loaded."

        Raises:
            MissingPathError: if there is no such model.
            ModelError: if its files are damaged, or with ``full`` it has no softmax.
        """
        elmo = Elmo(read(_chosen_file(Path(str(directory)), is_full=full)), device=self._device)
        self._language_model = elmo.language_model() if full else None
        self._elmo = elmo
        characters = elmo.stored.config.bilm.char_cnn
        self.batch_size = max_batch_size
        self.max_chars = None if characters is None else characters.max_characters
        self.vector_size, self.n_layers = elmo.width, elmo.num_layers
        self.vocab = elmo.stored.vocabulary if full else None
        return "The model is now loaded."

    @property
    def elmo(self) -> Elmo:
        """The model as lowtide knows it.

        Raises:
            InputError: if none is loaded.
        """
        if self._elmo is None:
            raise InputError("no model is loaded: call load(directory) first")
        return self._elmo

    def get_elmo_vectors(
        self,
        texts: Iterable[Iterable[str]],
        warmup: bool = True,
        layers: str = "average",
        session: None = None,
    ) -> Doubles:
        """Embed texts.

        Args:
            texts: each a list of tokens; a text that is a str is taken for a list of its characters, as in the
                original.
            warmup: whether the first batch is run once before, so that its texts begin warm.
            layers: ``average``, ``top`` or ``all``.
            session: None; there is no TensorFlow here.

        Returns:
            (texts, tokens of the longest, width), or (texts, layers, tokens, width) for ``all``: float32 numbers as
            float64, as it was. Beyond the end of a text, up to the longest one of its batch, layer 0 is what the
            network makes of no characters, and so the average is not zero; all else is. With ``stateful=False`` all
            is zero there.

        Raises:
            InputError: if something is no text, the choice of layers is unknown, the batch size is below 1, or no
                model is loaded.
        """
        sentences, shape = self._checked(texts, layers, session)
        longest = max(map(len, sentences), default=0)
        vectors = np.zeros((len(sentences), *shape, longest, self.elmo.width))
        first = 0
        for batch in self._batches(sentences, layers, warmup):
            vectors[first : first + len(batch), ..., : batch.shape[-2], :] = batch
            first += len(batch)
        return vectors

    def get_elmo_vector_average(
        self,
        texts: Iterable[Iterable[str]],
        warmup: bool = True,
        layers: str = "average",
        session: None = None,
    ) -> Doubles:
        """One vector a text: the mean over its tokens, and over the padding behind them, scaled to the length 1.

        Padding counts because it did; only with ``layers="top"``, where it is zero, it makes no difference. With
        ``stateful=False`` it is not counted.

        Args:
            texts: as in `get_elmo_vectors`, like all else.
            warmup: whether the first batch is run once before.
            layers: ``average``, ``top`` or ``all``.
            session: None.

        Returns:
            (texts, width) float64; for ``all`` (texts, layers, width), the layers of a text scaled together. Zero
            for an empty text that has nothing beside it.

        Raises:
            InputError: as in `get_elmo_vectors`.
        """
        sentences, shape = self._checked(texts, layers, session)
        # what is scaled may be a sum as well as a mean
        sums = [batch.sum(axis=-2, dtype=np.float64) for batch in self._batches(sentences, layers, warmup)]
        total: Doubles = np.concatenate([np.zeros((0, *shape, self.elmo.width)), *sums])
        lengths = np.sqrt((total**2).sum(axis=tuple(range(1, total.ndim)), keepdims=True))
        scaled: Doubles = total / np.where(lengths > 0, lengths, 1)
        return scaled

    def get_elmo_substitutes(
        self, data: Iterable[str], topn: int = 3, nodelimiters: bool = True
    ) -> list[list[dict[str, Any]]]:
        """What each direction of the language model expects in the place of each word.

        The original saw one neighbour of a word only, gave raw scores, and left out the texts of an unfinished
        batch. Here the forward direction knows all that stands left of a word and the backward one all that stands
        right of it, ``logp`` is the logarithm of a probability, and every text has its answer; so the numbers are
        not the old ones.

        Args:
            data: texts, which are cut at white space; lists of tokens are taken as they are.
            topn: how many of the likeliest words.
            nodelimiters: whether ``<S>`` and ``</S>`` are left out.

        Returns:
            A list a text with a dictionary a word: ``word`` (``<UNK>`` if the vocabulary does not have it),
            ``forward`` and ``backward``. Each of the two has ``candidates`` (numbers in the vocabulary),
            ``candidate_words`` and ``logp``, the likeliest last.

        Raises:
            InputError: if something is no text, ``topn`` is below 1, or no model is loaded.
            ModelError: if the model has no softmax, as hdf5 files never have: load a checkpoint with ``full=True``.
        """
        if self._language_model is None:
            self._language_model = self.elmo.language_model()
        if not isinstance(topn, int) or topn < 1:
            raise InputError(f"topn is {topn!r}, expected a whole number from 1 on")
        vocabulary = self.elmo.stored.vocabulary
        hidden = (vocabulary.types[START_INDEX], vocabulary.types[END_INDEX]) if nodelimiters else ()
        sentences = as_token_lists(text.split() if isinstance(text, str) else text for text in _iterable(data))

        def told(guesses: Sequence[Guess]) -> dict[str, list[Any]]:
            best = [guess for guess in guesses if guess.type not in hidden][:topn][::-1]
            return {
                "candidates": [vocabulary.index(guess.type) for guess in best],
                "candidate_words": [guess.type for guess in best],
                "logp": [round(math.log(guess.probability), 4) if guess.probability else -math.inf for guess in best],
            }

        return [
            [
                {
                    "word": place.token if place.is_known else vocabulary.types[UNKNOWN_INDEX],
                    "forward": told(place.from_left),
                    "backward": told(place.from_right),
                }
                for place in places[1:-1]
            ]
            for places in self._language_model.guesses(sentences, top=topn + len(hidden))
        ]

    # -- inside ----------------------------------------------------------------------------------

    def _checked(
        self, texts: Iterable[Iterable[str]], layers: str, session: object
    ) -> tuple[list[Sentence], tuple[int, ...]]:
        """The tokens of all texts, and what stands before (tokens, width) in the shape of one."""
        num_layers = self.elmo.num_layers
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise InputError(f"batch_size is {self.batch_size!r}, expected a whole number from 1 on")
        if session is not None:
            raise InputError(
                f"found a session ({type(session).__name__}), and here is no TensorFlow: leave it out; what carries "
                "its state from call to call is lowtide.load(model, stateful=True)"
            )
        if layers not in _LAYERS:
            raise InputError(f"layers is {layers!r}, expected one of {', '.join(_LAYERS)}")
        return as_token_lists(texts), (num_layers,) if layers == "all" else ()

    def _batches(self, sentences: Sequence[Sentence], layers: str, warmup: bool) -> Iterator[NDArray[np.float32]]:
        """(texts, ..., tokens, width) of one batch after the other."""
        self._tell()
        reduction, state = choose_layers(layers, self.elmo.num_layers), WarmState()
        rest = iter(sentences)
        batches = iter(lambda: list(itertools.islice(rest, self.batch_size)), [])
        for number, batch in enumerate(batches):
            if self.stateful and warmup and number == 0:
                self._run(batch, state, reduction)
            yield self._run(batch, state, reduction)
            if not self.stateful:
                state.reset()

    def _run(self, sentences: Sequence[Sentence], state: WarmState, reduction: Reduction) -> NDArray[np.float32]:
        """One batch, its r-th text from the state that the last batch left in row r."""
        encoder = self.elmo.encoder()
        batch, _ = batch_of_documents([[sentence] for sentence in sentences], encoder.spelling)
        with measuring(encoder):
            states = state.run(encoder.bilm, batch)
            layers = states.layers[:, :, 1:-1]  # (layers, batch, tokens, width)
            lengths = torch.from_numpy(batch.lengths - 2).to(layers.device)
            is_token = torch.arange(layers.shape[2], device=layers.device) < lengths[:, None]  # (batch, tokens)
            padding = torch.zeros_like(layers[:, :1, :1])  # (layers, 1, 1, width)
            if self.stateful:
                padding[0] = _padding(encoder)
            layers = torch.where(is_token[None, :, :, None], layers, padding)
            reduced = reduction(States(layers, is_token)).float().cpu().numpy()  # (..., batch, tokens, width)
        vectors: NDArray[np.float32] = np.moveaxis(reduced, -3, 0)
        return vectors

    def _tell(self) -> None:
        if self.stateful and not self._is_told:
            self._is_told = True
            log.warning(
                "state       warm, as in simple_elmo: vectors depend on the texts before them in a call, means on the "
                "longest text beside them; stateful=False turns this off"
            )

    def __repr__(self) -> str:
        what = "" if self._elmo is None else f"{str(self._elmo.stored.path)!r}, "
        return f"ElmoModel({what}stateful={self.stateful})"


def _padding(encoder: Encoder) -> Tensor:
    """(width,): layer 0 where there is no token; zero for a model that is not one of bytes."""
    parameter = next(encoder.parameters())
    if not isinstance(encoder.spelling, ByteSpelling):
        return parameter.new_zeros(encoder.bilm.width)
    char_ids = torch.full((1, encoder.spelling.row_length), NO_TOKEN, device=parameter.device)
    vector: Tensor = encoder.bilm.token_network(char_ids)[0]
    return torch.cat([vector, vector])


def _chosen_file(path: Path, *, is_full: bool) -> Path:
    """What the original reads of a folder that holds several models; else the path itself."""
    if not (path / "options.json").is_file():
        return path
    ending = ".index" if is_full else ".hdf5"
    found = sorted(file for file in path.iterdir() if file.suffix == ending)
    if is_full:
        return found[0] if len(found) == 1 else path  # of several, the reader knows the last one
    return next((file for file in found if file.name == "model.hdf5"), found[0] if found else path)


def _iterable(texts: Any) -> Iterable[Any]:
    if isinstance(texts, Iterable):
        return texts
    raise InputError(f"found {type(texts).__name__}, expected a text, or a list of sentences")
