"""What arguments of several commands are called, and what their help says: each once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lowtide.messages import speak

PresetName = Literal["auto", "tiny", "small", "medium", "original"]
TokenizerChoice = Literal["words", "characters", "whitespace"]
Dtype = Literal["float32", "bfloat16", "int8"]
LinesChoice = Literal["auto", "sentence", "paragraph", "wrapped", "fasta"]
Language = Literal["en", "zh"]


def _speak(ui: Language) -> Language:
    speak(ui)
    return ui


Model = Annotated[str, typer.Argument(help="A model: folder, file, zip, or a published name.", metavar="MODEL")]
Weights = Annotated[Path | None, typer.Option(help="The weight file, if the model is an options file far from it.")]
CutBy = Annotated[
    TokenizerChoice | None, typer.Option(help="What raw text is cut with. [default: the model's; published: words]")
]
Written = Annotated[str | None, typer.Option(help="What raw text is in: en, zh, de, ... [default: the model's; en]")]
Stored = Annotated[
    Literal["float32", "float16", "int8"],
    typer.Option(
        help="Numbers of our own folder: float16 is half as large, int8 rounds vectors that are looked up once more."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Encoding = Annotated[str, typer.Option(help="Of the text files.")]
Lines = Annotated[LinesChoice, typer.Option(help="What a line of the text is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the training in --out.")]
Ui = Annotated[
    Language,
    typer.Option(envvar="LOWTIDE_UI", callback=_speak, is_eager=True, help="The language of messages and pages."),
]
Calibrated = Annotated[
    bool, typer.Option("--calibrated", help="Calibrate every layer first: cosines say more. See embed --calibrate.")
]
Tokenized = Annotated[bool, typer.Option("--tokenized", help="The text is cut already: tokens stand between spaces.")]
