"""A corpus cut into tokens once and laid on disk, read back as memory maps.

A prepared corpus is a folder of plain little-endian arrays. Rows of the *type table* number the
types in order of first appearance; the token stream is row numbers. Nothing that grows with the
corpus is held in memory: only the table of live types, which is bounded (types seen once are
dropped when it is full, and come back under a new row; word2vec and "lossy counting" do the same).

==================  ========  ==========================================================
``tokens.bin``      uint32    the row of every token
``sentences.bin``   uint64    where every sentence ends in ``tokens.bin``
``documents.bin``   uint64    the number of the first sentence of every document
``parts.bin``       uint64    the number of the first sentence of every part: of what was named as one text
``held_out.bin``    uint64    the numbers of the sentences that training never sees
``types.txt``       text      one type a line, escaped as in ``vocabulary.txt``
``characters.bin``  int32     (rows, chars): how every type is spelled
``targets.bin``     uint32    the vocabulary index of every type
``manifest.json``             counts, the tokenizer, checksums of the files above ``characters.bin``; written last
==================  ========  ==========================================================
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lowtide.config import from_json, to_json
from lowtide.errors import InputError, MissingPathError, ModelError
from lowtide.files import crc32, explained, read_json, write_json
from lowtide.text.characters import Spelling
from lowtide.text.corpus import RawSentence
from lowtide.text.cutting import cut_blocks
from lowtide.text.order import BlockOrder
from lowtide.text.tokenize import Sentence, Tokenizer, TokenizerConfig
from lowtide.text.vocabulary import SENTENCE_END, SENTENCE_START, Vocabulary, escape, unescape

START_ROW, END_ROW = 0, 1
"""The rows of ``<S>`` and ``</S>`` in the type table."""

MAX_LIVE_TYPES = 1_000_000
_BUFFERED = 1 << 18
_BLOCK = 1 << 16


_FILES = ("tokens.bin", "sentences.bin", "documents.bin", "held_out.bin", "parts.bin", "types.txt")


@dataclass(frozen=True)
class FileChecksum:
    """Of a file of a prepared corpus."""

    name: str
    num_bytes: int
    crc32: int


@dataclass(frozen=True)
class CorpusCounts:
    """What was counted while a corpus was prepared."""

    tokenizer: TokenizerConfig
    num_documents: int
    num_sentences: int
    num_tokens: int
    """Boundaries not counted."""
    num_rows: int
    """Rows of the type table: the types, dropped ones that came back counted again."""
    longest_sentence: int
    """In tokens."""
    num_held_out: int
    """Sentences that training never sees."""
    num_held_out_tokens: int
    files: tuple[FileChecksum, ...] = ()
    """What training reads of the corpus."""


class PreparedCorpus:
    """A prepared corpus, opened: arrays mapped from disk, nothing loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts = from_json(CorpusCounts, read_json(folder / "manifest.json"), where=str(folder / "manifest.json"))
        self.tokens: NDArray[np.uint32] = _map(folder / "tokens.bin", np.uint32)
        self.sentence_ends: NDArray[np.uint64] = _map(folder / "sentences.bin", np.uint64)
        self.document_starts: NDArray[np.uint64] = _map(folder / "documents.bin", np.uint64)
        self.held_out: NDArray[np.uint64] = _map(folder / "held_out.bin", np.uint64)
        self.parts: NDArray[np.uint64] = _map(folder / "parts.bin", np.uint64)
        for name, found, expected in (
            ("tokens.bin", len(self.tokens), self.counts.num_tokens),
            ("sentences.bin", len(self.sentence_ends), self.counts.num_sentences),
            ("documents.bin", len(self.document_starts), self.counts.num_documents),
            ("held_out.bin", len(self.held_out), self.counts.num_held_out),
        ):
            if found != expected:
                raise ModelError(f"{folder / name} holds {found:,} numbers, expected {expected:,}: is it damaged?")

    def verify(self) -> None:
        """Read all files once, and see whether they are as they were written.

        Raises:
            MissingPathError: if one is gone.
            ModelError: if one has changed.
        """
        for file in self.counts.files:
            path = self.folder / file.name
            if not path.is_file():
                raise MissingPathError(f"{path} is not there: the prepared text is incomplete")
            if (path.stat().st_size, crc32(path)) != (file.num_bytes, file.crc32):
                raise ModelError(f"{path} is not as it was written: is the disk damaged? Begin anew in another folder")

    def order(self, block: int, *, seed: int, weights: Sequence[float] = ()) -> BlockOrder:
        """The order in which blocks of so many sentences are read."""
        starts = self.parts.tolist()
        starts += [self.counts.num_sentences] * (len(weights) - len(starts))  # parts at the end that are empty
        return BlockOrder(self.counts.num_sentences, block=block, seed=seed, starts=starts, weights=weights)

    def tokens_of_parts(self) -> NDArray[np.int64]:
        """(parts,): the tokens of every part that training sees."""
        ends = np.concatenate([[0], self.sentence_ends]).astype(np.int64)
        borders = np.append(self.parts.astype(np.int64), self.counts.num_sentences)
        tokens: NDArray[np.int64] = np.diff(ends[borders])
        numbers = self.held_out.astype(np.int64)
        part = np.searchsorted(self.parts.astype(np.int64), numbers, side="right") - 1
        np.subtract.at(tokens, part, ends[numbers + 1] - ends[numbers])
        return tokens

    def sentence(self, number: int) -> NDArray[np.uint32]:
        """The type rows of one sentence."""
        start = int(self.sentence_ends[number - 1]) if number else 0
        return self.tokens[start : int(self.sentence_ends[number])]

    def positions(self, number: int) -> NDArray[np.uint32]:
        """One sentence between its boundaries."""
        return np.concatenate([[START_ROW], self.sentence(number), [END_ROW]]).astype(np.uint32)

    def document_stretches(self, numbers: NDArray[np.integer]) -> list[NDArray[np.integer]]:
        """Rising numbers of sentences, parted where a document begins and where one is left out."""
        keys = numbers.astype(self.document_starts.dtype)  # of another type, all the starts would be converted
        starts = np.searchsorted(self.document_starts, keys, side="right")  # the document of every sentence
        is_apart = (np.diff(starts) != 0) | (np.diff(numbers.astype(np.int64)) != 1)
        return np.split(numbers, np.flatnonzero(is_apart) + 1) if len(numbers) else []

    def read_sentences(self, numbers: Iterable[int]) -> list[Sentence]:
        """Some sentences, as tokens again."""
        rows = [self.sentence(number) for number in numbers]
        wanted = np.unique(np.concatenate(rows)) if rows else np.empty(0, dtype=np.uint32)
        is_wanted = np.zeros(self.counts.num_rows, dtype=np.bool_)
        is_wanted[wanted] = True
        types = {row: type_ for row, type_ in enumerate(self.types()) if is_wanted[row]}
        return [[types[row] for row in sentence.tolist()] for sentence in rows]

    def types(self) -> Iterator[str]:
        """The type of every row, in order."""
        path = self.folder / "types.txt"
        if not path.is_file():
            raise MissingPathError(f"{path} is not there: the prepared text is incomplete")
        count = 0
        with path.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield unescape(line.rstrip("\n"))
                count += 1
        if count != self.counts.num_rows:
            raise ModelError(f"{path} holds {count:,} types, expected {self.counts.num_rows:,}: is it damaged?")

    def spell(self, spelling: Spelling, vocabulary: Vocabulary) -> int:
        """Write how every type is spelled and which target it is; returns how many are truncated.

        Raises:
            WriteError: if the disk is full.
        """
        num_truncated = 0
        with (
            explained(self.folder),
            (self.folder / "characters.bin").open("wb") as characters,
            (self.folder / "targets.bin").open("wb") as targets,
        ):
            types = self.types()
            while block := list(itertools.islice(types, _BLOCK)):
                characters.write(spelling.char_ids(block).astype("<i4").tobytes())
                targets.write(vocabulary.indices(block).astype("<u4").tobytes())
                num_truncated += sum(map(spelling.is_truncated, block))
        return num_truncated

    def characters(self, row_length: int) -> NDArray[np.int32]:
        """(rows, chars): what `spell` wrote."""
        return _map(self.folder / "characters.bin", np.int32).reshape(-1, row_length)

    def targets(self) -> NDArray[np.uint32]:
        """(rows,): the vocabulary index of every type, as `spell` wrote it."""
        return _map(self.folder / "targets.bin", np.uint32)


def _map(path: Path, dtype: Any) -> NDArray[Any]:
    if not path.is_file():
        raise MissingPathError(f"{path} is not there: the prepared text is incomplete")
    if path.stat().st_size == 0:
        return np.empty(0, dtype=dtype)
    if path.stat().st_size % np.dtype(dtype).itemsize:
        raise ModelError(f"{path} ends amid a number: is it damaged?")
    return np.memmap(path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r")


class _Writer:
    """An array on disk that grows."""

    def __init__(self, file: BinaryIO, typecode: str) -> None:
        self._file = file
        self._buffer = array(typecode)
        self.append = self._buffer.append

    def flush(self, *, least: int = 0) -> None:
        if len(self._buffer) > least:
            # not tofile, which tells nobody of a full disk
            self._file.write(np.asarray(self._buffer).astype(f"<u{self._buffer.itemsize}").tobytes())
            del self._buffer[:]


class _TypeTable:
    """Types to rows, with their counts; bounded, the rarest forgotten first."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.rows = {SENTENCE_START: START_ROW, SENTENCE_END: END_ROW}
        self.counts = [0, 0]
        file.write(f"{SENTENCE_START}\n{SENTENCE_END}\n".encode())

    def rows_of(self, types: Sequence[str], occurrences: NDArray[np.integer]) -> NDArray[np.uint32]:
        """(types,): the row of every type, which has come so many times more."""
        rows, counts = self.rows, self.counts
        found = np.empty(len(types), dtype=np.uint32)
        for number, (type_, more) in enumerate(zip(types, occurrences.tolist(), strict=True)):
            row = rows.get(type_)
            if row is None:
                row = rows[type_] = len(counts)
                counts.append(0)
                self._file.write(f"{escape(type_)}\n".encode())
            counts[row] += more
            found[number] = row
        return found

    def forget_rare(self) -> None:
        least = 1
        while len(self.rows) > MAX_LIVE_TYPES // 2:
            self.rows = {t: r for t, r in self.rows.items() if self.counts[r] > least or r <= END_ROW}
            least *= 2

    def uncount(self, rows: NDArray[np.uint32]) -> None:
        for row in rows.tolist():
            self.counts[row] -= 1

    def totals(self) -> dict[str, int]:
        rows = self.rows.items()
        return {type_: self.counts[row] for type_, row in rows if row > END_ROW and self.counts[row]}


class _HeldOut:
    """Chooses what training never sees: one stretch of text in ``1 / share``, by a hash of it.

    A stretch is a document, or 50 sentences of a longer one. It is known by its first sentence,
    so that the choice does not depend on the other texts. Where that chooses nothing, or all, the
    end of the stretch with the smallest hash is taken: at most a tenth of the text, or a sentence.
    """

    STRETCH = 50

    def __init__(self, share: float) -> None:
        self._limit = int(share * 2**64)
        self._is_held_out = self._is_smallest = False
        self._in_stretch = self.STRETCH
        self._smallest = 2**64
        self._fallback: list[int] = []
        self.numbers: list[int] = []

    def see(self, number: int, text: str, starts_document: bool) -> None:
        if not self._limit:
            return
        if starts_document or self._in_stretch == self.STRETCH:
            self._in_stretch = 0
            digest = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())
            self._is_held_out = digest < self._limit
            self._is_smallest = digest < self._smallest
            if self._is_smallest:
                self._smallest, self._fallback = digest, []
        self._in_stretch += 1
        if self._is_held_out:
            self.numbers.append(number)
        if self._is_smallest:
            self._fallback.append(number)

    def chosen(self, num_sentences: int) -> NDArray[np.uint64]:
        numbers = self.numbers
        if len(numbers) in (0, num_sentences):
            numbers = self._fallback[-max(1, num_sentences // 10) :] if num_sentences > 1 else []
        return np.array(numbers, dtype=np.uint64)


def prepare(
    sentences: Iterable[RawSentence],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    held_out_share: float = 0.0,
    name: str = "the text",
    part_of: Callable[[str], int] = lambda file: 0,
    processes: int | None = None,
) -> tuple[CorpusCounts, dict[str, int]]:
    """Cut sentences into tokens and lay them into a folder.

    Args:
        sentences: raw; one without a token is passed over.
        tokenizer: what cuts.
        folder: is made; an unfinished one is written over.
        held_out_share: how much of the text training never sees, 0 to 1.
        name: of the text, for the error.
        part_of: the part that a file belongs to; parts come one after another.
        processes: that cut; None: one a core. The answer is the same.

    Returns:
        The counts, and the occurrences of every type in what training will see (of the
        commonest million).

    Raises:
        InputError: if there is not one token.
        WriteError: if the disk is full.
    """
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").unlink(missing_ok=True)
        with (
            (folder / "tokens.bin").open("wb") as token_file,
            (folder / "sentences.bin").open("wb") as sentence_file,
            (folder / "documents.bin").open("wb") as document_file,
            (folder / "types.txt").open("wb") as type_file,
        ):
            table = _TypeTable(type_file)
            held_out = _HeldOut(held_out_share)
            ends = _Writer(sentence_file, "Q")
            starts = _Writer(document_file, "Q")
            num_sentences = num_tokens = num_documents = longest = 0
            parts = [0]
            is_new = True
            for block in cut_blocks(sentences, tokenizer, processes=processes):
                cut = block.cut
                rows = table.rows_of(cut.types, np.bincount(cut.numbers, minlength=len(cut.types)))
                token_file.write(rows[cut.numbers].astype("<u4").tobytes())
                for sentence, length in zip(block.sentences, cut.lengths.tolist(), strict=True):
                    is_new = is_new or sentence.starts_document
                    if not length:
                        continue
                    while part_of(sentence.file) >= len(parts):
                        parts.append(num_sentences)
                    held_out.see(num_sentences, sentence.text, is_new)
                    if is_new:
                        starts.append(num_sentences)
                        num_documents += 1
                        is_new = False
                    num_tokens += length
                    num_sentences += 1
                    longest = max(longest, length)
                    ends.append(num_tokens)
                for writer in (ends, starts):
                    writer.flush(least=_BUFFERED)
                if len(table.rows) > MAX_LIVE_TYPES:
                    table.forget_rare()
            for writer in (ends, starts):
                writer.flush()
        if not num_tokens:
            raise InputError(f"{name} holds no token: is it empty, or blank?")
        numbers = held_out.chosen(num_sentences)
        (folder / "held_out.bin").write_bytes(numbers.astype("<u8").tobytes())
        (folder / "parts.bin").write_bytes(np.array(parts, dtype="<u8").tobytes())
    counts = CorpusCounts(
        tokenizer=tokenizer.config,
        num_documents=num_documents,
        num_sentences=num_sentences,
        num_tokens=num_tokens,
        num_rows=len(table.counts),
        longest_sentence=longest,
        num_held_out=len(numbers),
        num_held_out_tokens=0,
    )
    write_json(folder / "manifest.json", to_json(counts))
    corpus = PreparedCorpus(folder)
    for number in numbers.tolist():
        table.uncount(corpus.sentence(number))
    lengths = [len(corpus.sentence(number)) for number in numbers.tolist()]
    checksums = [FileChecksum(name, (folder / name).stat().st_size, crc32(folder / name)) for name in _FILES]
    counts = dataclasses.replace(counts, num_held_out_tokens=sum(lengths), files=tuple(checksums))
    write_json(folder / "manifest.json", to_json(counts))
    return counts, table.totals()
