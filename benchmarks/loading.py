"""How long a published model of full size takes to load, and how much memory, beside reading its file.

    python benchmarks/loading.py --rounds 9

The model has the original architecture (93.6 M parameters) with random weights, in the published layout; no download
is needed. Every round is a process of its own, which has PyTorch, h5py and lowtide imported before the clock starts:
it loads the pair, and reads the weight file and copies it once, in both orders, and says how long each took. Memory is
the highest that the process has had, less what it had before, where it loaded first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import seconds_of, spread, table, write_result

from lowtide.model import BiLM
from lowtide.text.tokenize import make_tokenizer
from lowtide.training.presets import PRESETS, bilm_config
from lowtide.weights import allennlp
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig, StoredModel


def write_original(folder: Path) -> None:
    """The original architecture, random, as ``options.json`` and ``weights.hdf5``."""
    torch.manual_seed(0)
    bilm = BiLM(bilm_config(PRESETS["original"], num_symbols=None, dropout=0.1))
    config = ModelConfig(FORMAT_VERSION, "elmo", make_tokenizer("words", language="en").config, "elmo", bilm.config)
    allennlp.write(folder, StoredModel(folder, "random", config, bilm))


def measure(folder: Path, *, reads_first: bool) -> dict[str, float]:
    """One round, in this process: seconds of both, and bytes of memory where loading came first."""
    from lowtide.embeddings import loading  # imports are not what is measured

    weights = folder / allennlp.WEIGHTS

    def read_and_copy() -> None:
        np.frombuffer(weights.read_bytes(), dtype=np.uint8).copy()

    found = {"read": seconds_of(read_and_copy)} if reads_first else {}
    before = _memory()
    found["load"] = seconds_of(lambda: loading.read(folder))
    if not reads_first:
        found["peak"] = _memory() - before
        found["read"] = seconds_of(read_and_copy)
    return found


def _memory() -> float:
    """The most memory that this process has had, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--round-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--reads-first", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.round_of:
        print(json.dumps(measure(arguments.round_of, reads_first=arguments.reads_first)))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_original(Path(folder))
        size = (Path(folder) / allennlp.WEIGHTS).stat().st_size
        command = [sys.executable, __file__, "--round-of", folder]
        rounds = [
            json.loads(subprocess.run([*command, *order], capture_output=True, text=True, check=True).stdout)
            for _ in range(arguments.rounds + 1)
            for order in ([], ["--reads-first"])
        ][2:]  # after the first, the file is in the system's cache
    rows = [
        ("file", f"{size / 1e6:,.0f} MB"),
        ("loading", f"{spread([r['load'] for r in rounds], 2)} s"),
        ("reading the file and copying it once", f"{spread([r['read'] for r in rounds], 2)} s"),
        ("loading / reading and copying", spread([r["load"] / r["read"] for r in rounds], 2)),
        ("peak memory / file", spread([r["peak"] / size for r in rounds if "peak" in r], 2)),
    ]
    write_result("loading", f"python benchmarks/loading.py --rounds {arguments.rounds}", table(("", "measured"), rows))


if __name__ == "__main__":
    main()
