"""What every benchmark needs: where it ran, how fast the machine can be, and a dated result."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results"
LIMIT_ROWS = (64, 128, 512)
LIMIT_SHAPE = (512, 16384)


def machine() -> str:
    """Processor, cores, memory."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    memory = ""
    if hasattr(os, "sysconf"):
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    return f"{model}, {os.cpu_count()} cores{memory}, {platform.system()}"


def versions() -> str:
    """Of what decides the numbers."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=RESULTS.parent, capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"lowtide at {commit or 'no commit'}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}"
    )


def spread(values: Sequence[float], digits: int = 0) -> str:
    """``median (lowest to highest)``."""
    median = statistics.median(values)
    if len(values) == 1:
        return f"{median:,.{digits}f}"
    return f"{median:,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def seconds_of(work: Callable[[], object]) -> float:
    """The wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def limit(*, seconds: float = 0.3) -> dict[str, float]:
    """The best float32 matrix-product rate of every installed library, in GFLOP/s.

    (rows x 512) times (512 x 16384), the recurrent product of the original ELMo, at 64, 128 and
    512 rows; with as many threads as torch is set to.
    """
    best: dict[str, float] = {}
    depth, width = LIMIT_SHAPE
    for rows in LIMIT_ROWS:
        x, weight = torch.randn(rows, depth), torch.randn(width, depth)
        flops = 2 * rows * depth * width
        ways: dict[str, Callable[[], object]] = {"torch (MKL)": partial(torch.mm, x, weight.t())}
        if torch.backends.mkldnn.is_available():
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
            linear = torch.ops.mkldnn._linear_pointwise
            ways["torch (oneDNN, packed)"] = partial(linear, x, packed, None, "none", [], "")
        if torch.get_num_threads() == (os.cpu_count() or 1):  # NumPy cannot be told how many
            ways["numpy"] = partial(np.matmul, x.numpy(), np.ascontiguousarray(weight.numpy().T))
        for name, way in ways.items():
            way()
            times = [seconds_of(way)]
            while sum(times) < seconds:
                times.append(seconds_of(way))
            best[name] = max(best.get(name, 0.0), flops / statistics.median(times) / 1e9)
    return best


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *[[str(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_result(name: str, command: str, body: str) -> None:
    """Print a result, and keep it with its date."""
    today = datetime.date.today().isoformat()
    text = f"# {name}, {today}\n\n- machine: {machine()}\n- versions: {versions()}\n- command: `{command}`\n\n{body}\n"
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{today}-{name}.md"
    path.write_text(text, encoding="utf-8", newline="\n")
    print(text)
    print(path, file=sys.stderr)
