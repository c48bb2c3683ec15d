from __future__ import annotations

import pytest

from lowtide.tasks.spans import spans_of

SEQEVAL = [
    ("I-X I-X O", [("X", 0, 2)]),
    ("B-X I-Y I-Y", [("X", 0, 1), ("Y", 1, 3)]),
    ("B-X I-X B-X", [("X", 0, 2), ("X", 2, 3)]),
    ("E-X E-X", [("X", 0, 1), ("X", 1, 2)]),
    ("O E-X I-X", [("X", 1, 2), ("X", 2, 3)]),
    ("S-X I-X", [("X", 0, 1), ("X", 1, 2)]),
    ("B-X E-X E-X", [("X", 0, 2), ("X", 2, 3)]),
    ("I-X S-X I-X", [("X", 0, 1), ("X", 1, 2), ("X", 2, 3)]),
    ("B-X B-X I-X O I-Y", [("X", 0, 1), ("X", 1, 3), ("Y", 4, 5)]),
    ("B I O I", [("", 0, 2), ("", 3, 4)]),
    ("B-_ I-_ O S-_", [("_", 0, 2), ("_", 3, 4)]),
    ("B-A-B I-A-B", [("A-B", 0, 2)]),
    ("I-X E-X I-X", [("X", 0, 2), ("X", 2, 3)]),
    ("S S-X E-Y", [("", 0, 1), ("X", 1, 2), ("Y", 2, 3)]),
]
"""What ``get_entities`` of seqeval 1.2.2 says, the ends made exclusive, and no type called so."""


@pytest.mark.parametrize(("tags", "expected"), SEQEVAL)
def test_spans_of_malformed_sequences_are_those_of_seqeval(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert spans_of(tags.split()) == expected


def test_a_sentence_of_no_token_has_no_span() -> None:
    assert spans_of([]) == []
