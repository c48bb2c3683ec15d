"""FASTA: one record a sentence, one residue a token.

::

    >sp|P69905|HBA_HUMAN Hemoglobin      a header: never learnt; its first word, the id, may name a vector
    MVLSPADKTNVKAAWGKVGAHAGEYGAEALERMF   residues over any number of lines; white space is nothing,
    LSFPTTKTYFPHFDLSH                    and lower case, which marks masked stretches, is upper case
    ; a comment, as old files have them

Pearson and Lipman (1988), https://doi.org/10.1073/pnas.85.8.2444. The alphabet is that of IUPAC and
IUB for amino acids and for nucleotides: letters, ``*`` for a stop, ``-`` for a gap.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lowtide.errors import InputError
from lowtide.text.lines import Line

ALPHABET = frozenset(string.ascii_uppercase + "*-")


class Record(NamedTuple):
    """A sequence, in upper case."""

    sequence: str
    line: int
    """Of its header."""
    id: str
    """The first word of the header."""
    num_outside: int
    """Characters that are not in the alphabet. They stay in the sequence, so that places stay places."""


def is_fasta(first_line: str) -> bool:
    """Whether a file that begins so is FASTA: its first character is ``>``."""
    return first_line.startswith(">")


def read_records(lines: Iterable[Line], name: str) -> Iterator[Record]:
    """The records of a file; one without a residue is an empty sequence.

    Args:
        lines: of the file.
        name: of the file, for the error.

    Raises:
        InputError: if there is text before the first header.
    """
    pieces: list[str] = []
    header, id_ = 0, ""
    for line in lines:
        if line.text.startswith(">"):
            if header:
                yield _record(pieces, header, id_)
            pieces, header, id_ = [], line.number, next(iter(line.text[1:].split()), "")
        elif line.text.strip() and not line.text.startswith(";"):
            if not header:
                raise InputError(f"{name}:{line.number}: expected a FASTA header, a line that begins with >")
            pieces.append(line.text)
    if header:
        yield _record(pieces, header, id_)


def _record(pieces: list[str], header: int, id_: str) -> Record:
    sequence = "".join("".join(pieces).split()).upper()
    return Record(sequence, header, id_, sum(sequence.count(letter) for letter in set(sequence) - ALPHABET))
