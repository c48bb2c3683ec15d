"""What the command line shows as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lowtide.embeddings.language_model import PositionGuesses
from lowtide.evaluation.comparison import Comparison, layer_name
from lowtide.messages import say
from lowtide.weights.catalogue import Published


def print_comparison(found: Comparison) -> None:
    """The marked sentences, and a matrix a layer."""
    console = Console()
    for number, sentence in enumerate(found.sentences, start=1):
        unseen = "" if found.is_known[number - 1] else "   " + say("(not in the vocabulary)")
        before, after = sentence.tokens[: sentence.first], sentence.tokens[sentence.last :]
        console.print(f"{number}  {' '.join(before)} [{sentence.word}] {' '.join(after)}{unseen}", markup=False)
    if found.is_calibrated:
        console.print(say("every layer is calibrated"))
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


def print_models(records: Sequence[Published]) -> None:
    """A line for every published model: its name, its language, and what it is."""
    table = Table(box=None)
    table.add_column(say("name"), no_wrap=True)
    table.add_column(say("language"), no_wrap=True)
    table.add_column(say("what it is"))
    for record in records:
        table.add_row(*map(Text, (record.name, record.language, record.about)))
    Console().print(table)


def print_model(record: Published) -> None:
    """All that is known of one published model."""
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    unknown = say("not known")
    facts = {
        say("name"): record.name,
        say("what it is"): record.about,
        say("language"): record.language,
        say("parameters"): unknown if record.parameters is None else f"{record.parameters:,}",
        say("bytes"): unknown if record.size is None else f"{record.size:,}",
        say("licence"): record.licence,
        say("citation"): record.citation,
        say("described at"): record.page,
        say("notes"): record.notes,
    }
    for name, fact in facts.items():
        if fact:
            table.add_row(Text(name), Text(fact))
    for file in record.files:
        checksum = f"SHA-256 {file.sha256}" if file.sha256 else say("no checksum is known")
        table.add_row(Text(say("file")), Text("\n".join([file.name, checksum, *file.urls])))
    Console().print(table)
