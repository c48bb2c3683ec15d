"""From raw text to a vector for every token, in one breath."""

import tempfile
from pathlib import Path

import lowtide

LINES = [
    "The tide goes out and the boats lie on the sand.",
    "The tide comes in and the boats float again.",
    "He sat on the bank of the river and watched the boats.",
    "She took her money to the bank in the town.",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text("\n".join(LINES * 50), encoding="utf-8")
        elmo = lowtide.pretrain([corpus], out=Path(folder) / "model", preset="tiny", tokens=20_000)

        vectors = elmo.embed("The boats lie on the bank.")
        print("one vector a token:", elmo.tokenize("The boats lie on the bank."), vectors.shape)

        layers = elmo.embed_layers([["The", "tide", "goes", "out"]])[0]
        print("all layers:", layers.shape, "(layers, tokens, width)")


if __name__ == "__main__":
    main()
