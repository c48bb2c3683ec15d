"""Whether time stays in proportion to the text, and memory as it is, when a vector file is written.

    python benchmarks/embedding_files.py TEXT --out FOLDER --megabytes 0.05 1 10 100
    python benchmarks/embedding_files.py TEXT --out FOLDER --megabytes 10 --max-memory 700MB --layers all

TEXT is cut into sentences of at most 60 tokens. The first two megabytes of them are repeated up to each size, and one
token in a hundred is made a type that was never there before. Each corpus is embedded by a `tiny` network with random
weights in a process of its own, the mix of its layers in float16, into an ``.mmap``. The clock runs while the file is
written, loading apart; memory is the most that the process held at any time. Sizes take turns, and each is measured in
every round. Linux only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from common import spread, table, write_result
from embedding import sentences_of
from memory import write_corpus

from lowtide.amounts import parse_bytes
from lowtide.model import BiLM
from lowtide.text.tokenize import make_tokenizer
from lowtide.training.presets import PRESETS, bilm_config
from lowtide.weights import native
from lowtide.weights.stored import FORMAT_VERSION, ModelConfig

_RUN = """
import json, resource, sys, time
from pathlib import Path
from lowtide.embeddings.loading import load
from lowtide.embeddings.outputs import memory_map
model, text, out, layers, limit = sys.argv[1:]
elmo = load(model, device="cpu")
elmo.embed(["The tide goes out."])
started = time.perf_counter()
count = elmo.embed_to(Path(text), out, layers=layers, is_tokenized=True, max_memory=limit or None)
seconds = time.perf_counter() - started
index = json.loads((Path(out) / "index.json").read_text(encoding="utf-8"))
peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"sentences": count, "seconds": seconds, "peak": peak, "index": index}))
"""


def write_model(folder: Path) -> None:
    """A `tiny` network with random weights."""
    torch.manual_seed(0)
    bilm = BiLM(bilm_config(PRESETS["tiny"], num_symbols=None, dropout=0.0))
    config = ModelConfig(FORMAT_VERSION, "elmo", make_tokenizer("words", language="en").config, "elmo", bilm.config)
    folder.mkdir(parents=True, exist_ok=True)
    native.save_model(folder, config, None, bilm, None)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.05, 1, 10, 100])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", default="mix")
    parser.add_argument("--max-memory", default="")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    model = arguments.out / "model"
    write_model(model)
    cut = arguments.out / "sentences.txt"
    lines = (" ".join(sentence) for sentence in sentences_of(arguments.text))
    cut.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    corpora = {}
    for megabytes in arguments.megabytes:
        corpora[megabytes] = arguments.out / f"{megabytes:g}.txt"
        write_corpus(cut, corpora[megabytes], megabytes)
    tokens: dict[float, int] = {}
    rates: dict[float, list[float]] = {megabytes: [] for megabytes in corpora}
    peaks: dict[float, list[float]] = {megabytes: [] for megabytes in corpora}
    for number in range(arguments.rounds):
        for megabytes, corpus in list(corpora.items())[:: 1 if number % 2 == 0 else -1]:
            out = arguments.out / "vectors.mmap"
            shutil.rmtree(out, ignore_errors=True)
            command = [sys.executable, "-c", _RUN, str(model), str(corpus), str(out), arguments.layers]
            answer = subprocess.run([*command, arguments.max_memory], capture_output=True, text=True, check=True).stdout
            found = json.loads(answer)
            tokens[megabytes] = found["index"]["num_tokens"]
            rates[megabytes].append(tokens[megabytes] / found["seconds"])
            peaks[megabytes].append(found["peak"] / 1e6)
            print(f"{megabytes:g} MB: {rates[megabytes][-1]:,.0f} tokens/s, {peaks[megabytes][-1]:,.0f} MB", flush=True)
            shutil.rmtree(out)
    rows = [
        (f"{megabytes:g} MB", f"{tokens[megabytes]:,}", spread(rates[megabytes]), spread(peaks[megabytes]))
        for megabytes in corpora
    ]
    body = table(("text", "tokens", "tokens/s", "peak memory, MB"), rows)
    if arguments.max_memory:
        allowed = parse_bytes(arguments.max_memory) / 1e6
        body += f"\n\nAllowed: {allowed:,.0f} MB. The most held: {max(max(p) for p in peaks.values()):,.0f} MB."
    sizes = " ".join(f"{megabytes:g}" for megabytes in corpora)
    options = f" --max-memory {arguments.max_memory}" if arguments.max_memory else ""
    command_ = f"embedding_files.py TEXT --megabytes {sizes} --rounds {arguments.rounds} --layers {arguments.layers}"
    write_result("embedding-files" + ("-limited" if arguments.max_memory else ""), command_ + options, body)


if __name__ == "__main__":
    main()
