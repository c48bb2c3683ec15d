"""The texts of examples without their labels, for a language model that reads them before the task is learned."""

from __future__ import annotations

import re
from pathlib import Path

from lowtide.errors import InputError
from lowtide.files import refuse_to_write_over, written_alone
from lowtide.tasks.columns import ColumnOptions
from lowtide.tasks.reading import read_unlabelled
from lowtide.tasks.rows import RowOptions
from lowtide.text.corpus import joined
from lowtide.text.file_kinds import FileKind, file_kind
from lowtide.text.lines import OPENERS

_BREAKS = re.compile(r"\s*[\r\n]\s*")


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
    ``lowtide.pretrain(out, from_model=..., epochs=1)`` does. Tokens are parted by spaces, but for Chinese ones; a line
    that breaks within a text goes on.

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
        InputError: if it holds no text, is a text already, or is ``out``; if a row is broken, with its line; or if
            ``out`` is called as compressed files are.
        WriteError: if ``out`` cannot be written.
    """
    source, out = Path(source), Path(out)
    refuse_to_write_over(source, out)
    if (kind or file_kind(source)) == "text":
        raise InputError(
            f"{source} is a text already, as its name says: if it is a table, say what it is, --format conll or tsv"
        )
    if out.suffix.lower() in OPENERS:
        raise InputError(f"{out}: the text is not compressed: leave {out.suffix} out")
    count = 0
    with written_alone(out) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        for text in read_unlabelled(source, rows, columns=columns, kind=kind, wants="all"):
            file.write(_BREAKS.sub(" ", text if isinstance(text, str) else joined(text)).strip() + "\n")
            count += 1
        if not count:
            raise InputError(f"{source} holds no example")
    return count
