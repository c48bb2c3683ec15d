"""The texts of examples without their labels, for a language model that reads them before the task is learned."""

from __future__ import annotations

import itertools
from pathlib import Path

from lowtide.errors import InputError
from lowtide.files import refuse_to_write_over, written_alone
from lowtide.tasks.columns import ColumnOptions, lines_of
from lowtide.tasks.reading import read_unlabelled
from lowtide.tasks.rows import RowOptions
from lowtide.text.file_kinds import FileKind, file_kind, refuse_compressed


def write_example_texts(
    source: str | Path,
    out: str | Path,
    *,
    rows: RowOptions | None = None,
    columns: ColumnOptions | None = None,
    kind: FileKind | None = None,
) -> int:
    """Write the texts of examples, one a line; the file appears when it is whole.

    Peters et al. (2018) let the biLM read the text of the training examples once, without their labels (section 3.4):
    ``lowtide.pretrain(out, lines="sentence", from_model=..., epochs=1)`` does. Tokens are parted by spaces, and white
    space within a text is one space.

    Args:
        source: a file of examples; what their labels are is not looked at. Of pairs both texts are written.
        out: the file to write.
        rows: how it is read, if it has an example a row.
        columns: how it is read, if it has a token a row.
        kind: what kind of file it is; None: as its name says.

    Returns:
        How many texts there are.

    Raises:
        MissingPathError: if the file is not there.
        InputError: if it holds no example, or is read as a text; if a row is broken, with its line; if ``out`` is what
            is read, or is called as tables or compressed files are.
        WriteError: if ``out`` cannot be written.
    """
    source, out = Path(source), Path(out)
    refuse_to_write_over(source, out)
    refuse_compressed(out)
    if file_kind(out) != "text" or out.name == "-":
        raise InputError(f"{out}: what is written is a text: give its name the ending .txt")
    if (kind or file_kind(source)) == "text":
        next(lines_of(source, (rows or RowOptions()).encoding), None)  # refused here if it is not there
        raise InputError(
            f"{source} is read as a text, which has no labels: if it holds examples, say as what (--format conll, "
            "conllu, tsv, csv or jsonl)"
        )
    texts = read_unlabelled(source, rows, columns=columns, kind=kind, wants="all")
    first = next(texts, None)
    if first is None:
        raise InputError(f"{source} holds no example")
    count = 0
    with written_alone(out) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        for text in itertools.chain([first], texts):
            words = (text if isinstance(text, str) else " ".join(text)).split()
            if words:  # a blank line would part documents
                file.write(" ".join(words) + "\n")
                count += 1
    return count
