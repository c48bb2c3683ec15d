"""How well models tell the senses of words apart, beside the rungs below them.

    python benchmarks/senses.py en my-word2vec --uses wsd.train.tsv wsd.test.tsv --pairs wic.valid.tsv wic.test.tsv
    python benchmarks/senses.py zh my-word2vec --pairs wic.zh.tsv --name zh

The files are those of ``lowtide evaluate senses``: of uses the first is learned from and the second judged; of pairs
the first chooses and the second, if there is one, is judged, else ten folds are. Models are folders of any rung, or
names.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import command_line, table, write_result

from lowtide.embeddings.loading import load_any
from lowtide.evaluation.senses import CentroidReport, PairReport, measure


def row(name: str, found: CentroidReport | PairReport) -> list[str]:
    """What is to be told of one model."""
    if isinstance(found, CentroidReport):
        return [name, found.view, f"{found.mean_recall:.3f}", f"{found.accuracy:.1%}"]
    return [name, found.view, f"{found.accuracy:.1%}", f"{found.standard_error:.1%}"]


def main() -> None:
    """Judge every model by every set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--uses", nargs=2, type=Path, metavar=("TRAIN", "TEST"))
    parser.add_argument("--pairs", nargs="+", type=Path, metavar="FILE", help="one or two")
    parser.add_argument("--name", help="of the result")
    arguments = parser.parse_args()
    blocks = []
    for files, measures in ((arguments.uses, ("recall", "accuracy")), (arguments.pairs, ("accuracy", "+-"))):
        if files:
            found = {Path(name).name: measure(load_any(name, device="cpu"), *files) for name in arguments.models}
            named = ", ".join(file.name for file in files)
            blocks.append(table([named, "vectors", *measures], [row(name, of) for name, of in found.items()]))
            chosen = {name: of.chosen_from for name, of in found.items()}
            kinds = list(dict.fromkeys(kind for of in chosen.values() for kind in of))
            rows = [[kind, *(f"{of[kind]:.3f}" if kind in of else "" for of in chosen.values())] for kind in kinds]
            blocks.append(table(["what they were chosen from", *chosen], rows))
    title = "senses" if arguments.name is None else f"senses-{arguments.name}"
    command = command_line("senses.py MODELS", parser, arguments, "models uses pairs name")
    write_result(title, command, "\n\n".join(blocks))


if __name__ == "__main__":
    main()
