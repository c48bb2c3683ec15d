"""What the command line shows as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lowtide.embeddings.language_model import PositionGuesses
from lowtide.evaluation.comparison import Comparison, layer_name
from lowtide.messages import say


def print_comparison(found: Comparison) -> None:
    """The marked sentences, and a matrix a layer."""
    console = Console()
    for number, sentence in enumerate(found.sentences, start=1):
        unseen = "" if found.is_known[number - 1] else "   " + say("(not in the vocabulary)")
        before, after = sentence.tokens[: sentence.first], sentence.tokens[sentence.last :]
        console.print(f"{number}  {' '.join(before)} [{sentence.word}] {' '.join(after)}{unseen}", markup=False)
    for name, matrix in found.matrices().items():
        console.print(layer_name(name), style="italic", highlight=False)
        table = Table(box=None)
        table.add_column("")
        for number in range(1, len(matrix) + 1):
            table.add_column(str(number), justify="right")
        for number, row in enumerate(matrix, start=1):
            table.add_row(str(number), *(f"{value:.2f}" for value in row))
        console.print(table)


def print_guesses(places: Sequence[PositionGuesses]) -> None:
    """A line for every place: the token, and what each direction expects there."""
    table = Table(box=None)
    for heading in (say("token"), say("from the left"), say("from the right")):
        table.add_column(heading)
    for place in places:
        unseen = "" if place.is_known else " " + say("(not in the vocabulary)")
        token = Text(place.token + unseen, style="dim" if unseen else "")
        sides = (
            "  ".join(f"{guess.type} {guess.probability:.1%}" for guess in side)
            for side in (place.from_left, place.from_right)
        )
        table.add_row(token, *(Text(side) for side in sides))
    Console().print(table)
