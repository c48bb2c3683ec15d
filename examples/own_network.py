"""Layers and their mix inside a network of your own: gradients reach the layer scalars and the biLM."""

import tempfile
from pathlib import Path

import torch

import lowtide

TEXT = "The tide goes out .\nThe tide comes in .\nThe boats lie still .\n" * 50


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text(TEXT, encoding="utf-8")
        elmo = lowtide.pretrain([corpus], out=Path(folder) / "model", preset="tiny", tokens=5_000)

        encoder = elmo.encoder()
        mix = lowtide.LayerMix(elmo.num_layers)
        head = torch.nn.Linear(elmo.width, 2)

        states = encoder([["The", "tide", "goes", "out"], ["The", "boats"]])
        logits = head(mix(states.layers, states.mask))  # (batch, tokens, 2)
        logits[states.mask].logsumexp(dim=-1).sum().backward()
        print("gradient of the layer scalars:", mix.layer_scalars.grad)


if __name__ == "__main__":
    main()
