from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lowtide.text import cutting
from lowtide.text.corpus import RawSentence
from lowtide.text.cutting import CutBlock, cut_blocks, cut_texts
from lowtide.text.shards import prepare
from lowtide.text.tokenize import make_tokenizer

WORDS = make_tokenizer("words", language="en")
SENTENCES = [RawSentence(f"The {n} tides, the {n % 7} moons.", n % 5 == 0, "a.txt", n) for n in range(300)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "BLOCK_CHARACTERS", 500)


def tokens(blocks: Sequence[CutBlock]) -> list[list[str]]:
    found = []
    for block in blocks:
        types = np.array(block.cut.types, dtype=object)
        ends = np.cumsum(block.cut.lengths)
        found += [part.tolist() for part in np.split(types[block.cut.numbers], ends[:-1])]
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_tokens_are_those_of_the_tokenizer_in_order(processes: int) -> None:
    blocks = list(cut_blocks(SENTENCES, WORDS, processes=processes))
    assert len(blocks) > cutting._WORTH_PROCESSES
    assert tokens(blocks) == [WORDS.split(sentence.text) for sentence in SENTENCES]
    assert [sentence for block in blocks for sentence in block.sentences] == SENTENCES


def test_a_short_text_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "_Processes", None)
    assert len(list(cut_blocks(SENTENCES[:20], WORDS, processes=2))) > 1


def test_no_more_processes_are_started_than_cores_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 9}, raising=False)
    assert cutting._num_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cutting._num_cores() == 1


def test_types_are_numbered_as_they_appear_and_empty_texts_keep_their_place() -> None:
    cut = cut_texts(WORDS, ["b a b", "", "a c"])
    assert (cut.types, cut.numbers.tolist(), cut.lengths.tolist()) == (["b", "a", "c"], [0, 1, 0, 1, 2], [3, 0, 2])


@pytest.mark.parametrize("died", [0, 1])
def test_what_a_process_leaves_that_dies_is_cut_here(monkeypatch: pytest.MonkeyPatch, died: int) -> None:
    begin = cutting._Processes.__init__

    def with_a_dead_one(processes: cutting._Processes, *arguments: object) -> None:
        begin(processes, *arguments)  # type: ignore[arg-type]  # the same ones
        processes._running[died].kill()

    monkeypatch.setattr(cutting._Processes, "__init__", with_a_dead_one)
    blocks = list(cut_blocks(SENTENCES, WORDS, processes=2))
    assert tokens(blocks) == [WORDS.split(sentence.text) for sentence in SENTENCES]


def test_no_process_is_left_when_the_reader_stops_early(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[cutting._Processes] = []
    begin = cutting._Processes.__init__

    def watched(processes: cutting._Processes, *arguments: object) -> None:
        begin(processes, *arguments)  # type: ignore[arg-type]  # the same ones
        started.append(processes)

    monkeypatch.setattr(cutting._Processes, "__init__", watched)
    blocks = cut_blocks(SENTENCES, WORDS, processes=2)
    next(blocks)
    blocks.close()  # type: ignore[attr-defined]  # a generator
    running = started[0]._running
    assert len(running) == 2 and all(process.returncode is not None for process in running)


def test_a_prepared_corpus_has_the_same_bytes_whoever_cut_it(tmp_path: Path) -> None:
    for processes in (1, 2):
        prepare(SENTENCES, WORDS, tmp_path / str(processes), held_out_share=0.2, processes=processes)
    files = [{f.name: f.read_bytes() for f in (tmp_path / str(n)).iterdir()} for n in (1, 2)]
    assert files[0] == files[1] and len(files[0]) == 7


def test_a_script_needs_no_guard_around_what_starts_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from lowtide.text import cutting\n"
        "from lowtide.text.corpus import RawSentence\n"
        "from lowtide.text.tokenize import make_tokenizer\n"
        "cutting.BLOCK_CHARACTERS = 10\n"
        "sentences = [RawSentence('some text here', True, 'a', 1)] * 20\n"
        "blocks = list(cutting.cut_blocks(sentences, make_tokenizer('words', language='en'), processes=2))\n"
        "print(len(blocks), blocks[-1].cut.types)\n"
    )
    told = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert told.stdout == "20 ['some', 'text', 'here']\n" and not told.stderr
