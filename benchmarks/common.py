"""What every benchmark needs: where it ran, how fast the machine can be, and a dated result."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lowtide.model import CharCNNConfig, LSTMConfig
from lowtide.model.products import Dtype

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


def command_line(start: str, parser: argparse.ArgumentParser, arguments: argparse.Namespace, hidden: str) -> str:
    """The command of a benchmark, for its result: what was said and is not the default.

    Args:
        start: its beginning, which names what is hidden: ``tasks.py --data DATA``.
        parser: of the arguments.
        arguments: as they were read.
        hidden: names of arguments, between spaces, that are paths of this machine.
    """
    words = [start]
    for name, value in vars(arguments).items():
        if name not in hidden.split() and value != parser.get_default(name):
            given = [] if value is True else value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')}", *(shlex.quote(str(word)) for word in given)]
    return " ".join(words)


def limit(dtype: Dtype = "float32", *, seconds: float = 0.3) -> dict[str, float]:
    """The best matrix-product rate of every installed library at a dtype, in GFLOP/s.

    (rows x 512) times (512 x 16384), the recurrent product of the original ELMo, at 64, 128 and
    512 rows; with as many threads as torch is set to. A library that cannot do it here is left out.
    """
    best: dict[str, float] = {}
    depth, width = LIMIT_SHAPE
    for rows in LIMIT_ROWS:
        x, weight = torch.randn(rows, depth), torch.randn(width, depth) / depth**0.5
        for name, way in _ways(dtype, x, weight):
            try:
                way()
            except RuntimeError:  # the processor lacks what it wants
                continue
            times = [seconds_of(way)]
            while sum(times) < seconds:
                times.append(seconds_of(way))
            best[name] = max(best.get(name, 0.0), 2 * rows * depth * width / statistics.median(times) / 1e9)
    return best


def _ways(dtype: Dtype, x: torch.Tensor, weight: torch.Tensor) -> Iterator[tuple[str, Callable[[], object]]]:
    """How a product can be had, by library. What takes long to begin stands in the generator, not in the way."""
    dnn, quantized = torch.ops.mkldnn, torch.ops.quantized
    if dtype == "int8":
        scale = float(weight.abs().max()) / 127
        ints = torch.quantize_per_channel(
            weight, torch.full((len(weight),), scale), torch.zeros(len(weight), dtype=torch.int64), 0, torch.qint8
        )
        before = torch.backends.quantized.engine
        try:
            for engine in ("x86", "fbgemm", "onednn"):
                if engine in torch.backends.quantized.supported_engines:
                    torch.backends.quantized.engine = engine
                    packed = quantized.linear_prepack(ints, None)
                    yield f"torch ({engine}, dynamic)", partial(quantized.linear_dynamic, x, packed)
        finally:
            torch.backends.quantized.engine = before
        return
    cast = x.bfloat16() if dtype == "bfloat16" else x
    held = weight.to(cast.dtype)
    yield f"torch ({'oneDNN' if dtype == 'bfloat16' else 'MKL'})", partial(torch.mm, cast, held.t())
    with contextlib.suppress(RuntimeError):  # no such product on this processor
        packed = dnn._reorder_linear_weight(held, len(x))
        yield "torch (oneDNN, packed)", partial(dnn._linear_pointwise, cast, packed, None, "none", [], "")
    if dtype == "bfloat16":
        half = quantized.linear_prepack_fp16(weight, None)
        yield "torch (FBGEMM, 16-bit weights)", partial(quantized.linear_dynamic_fp16, x, half)
    elif torch.get_num_threads() == (os.cpu_count() or 1):  # NumPy cannot be told how many
        yield "numpy", partial(np.matmul, x.numpy(), np.ascontiguousarray(weight.numpy().T))


def lstm_flop(sizes: LSTMConfig) -> float:
    """Floating-point operations of a token in the LSTMs of both directions: products only."""
    gates = 4 * sizes.cell_width
    projection = sizes.cell_width * sizes.state_width if sizes.is_projected else 0
    return 2 * 2 * sizes.num_layers * (sizes.width * gates + sizes.state_width * gates + projection)


def type_flop(network: CharCNNConfig | None, width: int, places: int = 12) -> float:
    """Floating-point operations of a type in the character network.

    Args:
        network: its sizes.
        width: of the vector that comes out.
        places: of a word of ten letters: what is behind it is left out.
    """
    if network is None:
        return 0.0
    convolutions = sum(places * chars * network.embedding_width * count for chars, count in network.filters)
    return 2 * (convolutions + 2 * network.num_highways * network.num_filters**2 + network.num_filters * width)


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
