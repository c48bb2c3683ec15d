"""The same word in two sentences: one type, two token vectors."""

import tempfile
from pathlib import Path

import numpy as np

import lowtide

LINES = [
    "He sat on the bank of the river and watched the water.",
    "The boat lay on the bank of the lake, under the trees.",
    "She took her money to the bank in the town.",
    "The bank gave him money for the house.",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text("\n".join(LINES * 50), encoding="utf-8")
        elmo = lowtide.pretrain([corpus], out=Path(folder) / "model", preset="tiny", tokens=20_000)

        river = elmo.embed_word("They sat on the [bank] of the river.", layers="all")
        money = elmo.embed_word("The [bank] gave her money.", layers="all")
        for layer, (a, b) in enumerate(zip(river, money, strict=True)):
            cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
            print(f"layer {layer}: cosine {cosine:.2f}")  # layer 0 is before any context: 1.00


if __name__ == "__main__":
    main()
