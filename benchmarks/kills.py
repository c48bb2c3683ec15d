"""Whether a vector file whose writing is killed at random moments comes out as if nothing had happened.

    python benchmarks/kills.py --kills 20 --format h5
    python benchmarks/kills.py --model my-model --text corpus.txt --format mmap --layers all --window 4096

One process writes the file in peace. Then others write it again: each is killed (SIGKILL) at a random moment, and the
next goes on with ``resume=True``; when a file is whole, the next one begins. Every file has to have the bytes of the
first. Without a model and a text, invented ones are taken. POSIX only.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import write_result

_RUN = """
import sys
from pathlib import Path
from lowtide.embeddings import Elmo, engine, loading
model, text, out, layers, window = sys.argv[1:]
engine.WINDOW_POSITIONS = int(window)
elmo = loading.load(model, device="cpu")
print("ready", flush=True)
elmo.embed_to(Path(text), out, layers=layers, resume=True)
"""


def start(model: Path, text: Path, out: Path, layers: str, window: int) -> subprocess.Popen[str]:
    """Begin to write, or go on; comes back when the model is there."""
    command = [sys.executable, "-c", _RUN, str(model), str(text), str(out), layers, str(window)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def checksum(out: Path) -> str:
    """Of a file, or of all files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(out.rglob("*")) if out.is_dir() else [out]:
        digest.update(file.name.encode() * out.is_dir() + file.read_bytes())
    return digest.hexdigest()


def invented(folder: Path) -> tuple[Path, Path]:
    """A tiny random model and a text of some thirty thousand tokens."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    import scenario
    import tiny

    tiny.save(folder / "model")
    return folder / "model", scenario.write_corpus(folder / "text.txt", num_sentences=4000)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--format", default="h5", help="h5, npz, parquet, safetensors, mmap")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--text", type=Path)
    parser.add_argument("--layers", default="mix")
    parser.add_argument("--window", type=int, default=1024, help="positions of a block; the library takes 65,536")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="keep a dated result")
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        model, text = arguments.model, arguments.text
        if model is None or text is None:
            model, text = invented(here)
        rest = (arguments.layers, arguments.window)
        peaceful, out = here / f"peaceful.{arguments.format}", here / f"v.{arguments.format}"
        process = start(model, text, peaceful, *rest)
        started = time.monotonic()
        if process.wait():
            raise SystemExit("the first process failed")
        seconds, expected = time.monotonic() - started, checksum(peaceful)
        num_kills = num_files = 0
        moments: list[str] = []
        is_over = False
        while not is_over:
            process = start(model, text, out, *rest)
            is_over = num_kills == arguments.kills
            try:
                # short times more often than long ones: the blocks are written first, and sooner than they are joined
                process.wait(timeout=None if is_over else seconds / 2 * 10 ** -draw.uniform(0, 2))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                num_kills += 1
                num_blocks = len(list(here.glob("v.*.parts/0*")))
                moments.append(f"{num_blocks}" + "+" * bool(list(here.glob(".v.*.part"))))
                if not out.exists() or num_blocks:
                    continue
            if process.returncode not in (0, -signal.SIGKILL):
                raise SystemExit(f"a process failed with exit code {process.returncode}")
            if checksum(out) != expected:
                raise SystemExit(f"after {num_kills} kills the file is another one: blocks at each kill {moments}")
            num_files += 1
            shutil.rmtree(out) if out.is_dir() else out.unlink()
        left = sorted(path.name for path in here.iterdir() if "v." in path.name)
    told = (
        f"{num_kills} kills, {num_files} files of .{arguments.format}, each with the bytes of the one that was written "
        f"in {seconds:.1f} s without a stop. Blocks that were there at each kill (+: while they were put together): "
        f"{', '.join(moments)}. Left over: {', '.join(left) or 'nothing'}."
    )
    print(told)
    if arguments.save:
        write_result("kills", f"kills.py --kills {arguments.kills} --format {arguments.format}", told)


if __name__ == "__main__":
    main()
