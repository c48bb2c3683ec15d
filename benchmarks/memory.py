"""Whether the memory of a training grows with its corpus.

    python benchmarks/memory.py TEXT --sizes 10 1000 --tokens 2M --out FOLDER

The first two megabytes of TEXT are repeated up to each size (in MB), and one token in a hundred is
made a type that was never there before. Each corpus is trained on in a process of its own, and the
largest anonymous memory of that process is what counts: pages of files that the system may drop at
any time are not held by anybody. Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common import table, write_result

import lowtide
from lowtide.text.corpus import Corpus

BASE_BYTES = 2_000_000
FRESH = 100
"""One token in so many is fresh."""


def write_corpus(text: Path, path: Path, megabytes: float) -> int:
    """Write a corpus; returns how many fresh types are in it."""
    lines: list[str] = []
    size = 0
    for raw in Corpus([text], lines="sentence").sentences():
        lines.append(raw.text)
        size += len(raw.text.encode()) + 1
        if size >= BASE_BYTES:
            break
    count = itertools.count(1)
    written = num_fresh = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        while written < megabytes * 1_000_000:
            for line in lines:
                tokens = line.split()
                for place, number in zip(range(len(tokens)), count, strict=False):
                    if number % FRESH == 0:
                        tokens[place] = f"fresh{num_fresh}"
                        num_fresh += 1
                written += file.write(" ".join(tokens) + "\n")
                if written >= megabytes * 1_000_000:
                    break
    return num_fresh


def run(corpus: Path, out: Path, tokens: str, preset: str) -> dict[str, float]:
    """Train in a process of its own; MiB and seconds, the reading apart from the training."""
    command = [sys.executable, "-m", "lowtide", "pretrain", str(corpus), "--out", str(out)]
    command += ["--tokens", tokens, "--preset", preset, "--tokenizer", "whitespace", "--lines", "sentence"]
    log = out.with_name(out.name + ".log")
    peaks = {"reading": 0, "training": 0}
    started = time.monotonic()
    seconds_read = 0.0
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        while process.poll() is None:
            is_training = (out / "config.json").exists()
            if not is_training:
                seconds_read = time.monotonic() - started
            found = anonymous(process.pid)
            phase = "training" if is_training else "reading"
            peaks[phase] = max(peaks[phase], found)
            time.sleep(0.02)
    if process.returncode:
        raise SystemExit(log.read_text(encoding="utf-8"))
    return {**{phase: kib / 1024 for phase, kib in peaks.items()}, "seconds": seconds_read}


def anonymous(pid: int) -> int:
    """KiB of anonymous memory of a process; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"RssAnon:\s+(\d+)", status)
    return int(found[1]) if found else 0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1000], help="MB")
    parser.add_argument("--tokens", default="2M")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for megabytes in arguments.sizes:
        corpus = arguments.out / f"{megabytes}.txt"
        num_fresh = write_corpus(arguments.text, corpus, megabytes)
        out = arguments.out / f"model-{megabytes}"
        shutil.rmtree(out, ignore_errors=True)
        measured = run(corpus, out, arguments.tokens, arguments.preset)
        vocabulary = len(lowtide.load(out).stored.vocabulary)
        corpus.unlink()
        rows.append(
            [
                f"{megabytes:,} MB",
                f"{num_fresh:,}",
                f"{vocabulary:,}",
                f"{measured['reading']:.0f}",
                f"{measured['training']:.0f}",
                f"{max(measured['reading'], measured['training']):.0f}",
                f"{measured['seconds']:.0f}",
            ]
        )
    peaks = [float(row[5]) for row in rows]
    header = [
        "corpus",
        "fresh types",
        "vocabulary",
        "reading, MiB",
        "training, MiB",
        "peak, MiB",
        "seconds until training",
    ]
    body = (
        table(header, rows)
        + f"\n\nThe largest peak is {max(peaks) / min(peaks):.2f} times the smallest. The memory is anonymous "
        '(RssAnon), polled 50 times a second; "reading" lasts until the settings are decided, the probe included.'
    )
    sizes = " ".join(map(str, arguments.sizes))
    write_result(
        "memory", f"memory.py TEXT --sizes {sizes} --tokens {arguments.tokens} --preset {arguments.preset}", body
    )


if __name__ == "__main__":
    main()
