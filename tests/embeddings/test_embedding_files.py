"""Vector files of any size: in blocks, gone on with after a stop at any moment, shared among processes."""

from __future__ import annotations

import gzip
import json
import logging
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from command import Command
from lowtide.embeddings import Elmo, engine
from lowtide.embeddings.embedding_files import windows
from lowtide.embeddings.engine import Engine
from lowtide.embeddings.numbered import NumberedSentence
from lowtide.embeddings.outputs import hdf5, open_embeddings
from lowtide.embeddings.parts import Parts, Shard, parts_folder
from lowtide.errors import InputError, LowtideError, WriteError
from scenario import write_corpus

FORMATS = ["h5", "npz", "safetensors", "mmap", *(["parquet"] if find_spec("pyarrow") else [])]
WINDOW = 150
"""Positions: some ten blocks of the corpus."""
ODD = [
    "the tide goes out",
    "",
    "the tide goes out",
    "a/b /etc/passwd ../..",
    "a\tb",
    "🌊👩‍👩‍👧 潮水",
    "x" * 300,
    " ",
    ".",
    "0",
    "sentence_to_index",
]
"""Lines that something may stumble over."""


@pytest.fixture
def elmo(saved_bytes: tiny.Saved, monkeypatch: pytest.MonkeyPatch) -> Elmo:
    """With windows so small that a short text has many."""
    monkeypatch.setattr(engine, "WINDOW_POSITIONS", WINDOW)
    return Elmo.open(saved_bytes.folder, device="cpu")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus.txt", num_sentences=150)


def bytes_of(out: Path) -> dict[str, bytes]:
    """Of a file, or of all files of a folder."""
    files = sorted(out.rglob("*")) if out.is_dir() else [out]
    return {file.name if out.is_dir() else "": file.read_bytes() for file in files}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stopped_after(elmo: Elmo, num_blocks: int, texts: Any, out: Path, **options: Any) -> None:
    """Run until so many blocks are there, and then no further."""

    class StoppedError(Exception):
        pass

    write = Parts.write

    def write_some(parts: Parts, *arguments: Any, **keywords: Any) -> None:
        if len(parts.blocks) == num_blocks:
            raise StoppedError
        write(parts, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(Parts, "write", write_some)
        elmo.embed_to(texts, out, **options)


# -- a stop --------------------------------------------------------------------------------------

_KILLED_RUN = """
import os, signal, sys
from pathlib import Path

import torch

from lowtide import files
from lowtide.embeddings import Elmo, engine, parts
from lowtide.embeddings.outputs import hdf5, memory_map

engine.WINDOW_POSITIONS = {window}
torch.set_num_threads({threads})  # as the process that goes on

def kill_in(owner, name, call, after=False):
    before, calls = getattr(owner, name), [0]
    def patched(*args, **kwargs):
        calls[0] += 1
        if calls[0] == call and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = before(*args, **kwargs)
        if calls[0] == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, patched)

kill_in({where})
elmo = Elmo.open(Path({model!r}), device="cpu")
elmo.embed_to(Path({corpus!r}), {out!r}, shard={shard!r})
"""

_MOMENTS = {
    "before the first block": ("parts.Parts, 'write', 1", "h5"),
    "within a block": ("memory_map.FolderWriter, 'write', 70", "mmap"),
    "before a block appears": ("files, '_replace_folder', 3", "npz"),
    "after a block has appeared": ("files, '_replace_folder', 4, True", "safetensors"),
    "while the blocks are put together": ("hdf5._Writer, 'write', 90", "h5"),
    "before the parts are removed": ("parts.Parts, '_remove', 1", "npz"),
}
"""What a process is about to do when it is killed, and the format that it writes."""


def killed(where: str, model: Path, corpus: Path, out: Path, *, shard: str | None = None) -> None:
    names = {"where": where, "model": str(model), "corpus": str(corpus), "out": str(out), "shard": shard}
    script = _KILLED_RUN.format(window=WINDOW, threads=torch.get_num_threads(), **names)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
@pytest.mark.parametrize("moment", _MOMENTS)
def test_a_file_whose_writing_was_killed_is_gone_on_with_to_the_same_bytes(
    moment: str, elmo: Elmo, saved_bytes: tiny.Saved, corpus: Path, tmp_path: Path
) -> None:
    where, ending = _MOMENTS[moment]
    out, expected = tmp_path / f"v.{ending}", tmp_path / f"expected.{ending}"
    elmo.embed_to(corpus, expected)
    killed(where, saved_bytes.folder, corpus, out)
    assert elmo.embed_to(corpus, out, resume=True) == 165
    assert bytes_of(out) == bytes_of(expected)
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    assert [name for name in names_in(tmp_path) if "v." in name] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
def test_of_two_processes_that_share_a_file_one_is_killed_and_runs_again(
    elmo: Elmo, saved_bytes: tiny.Saved, corpus: Path, tmp_path: Path
) -> None:
    out, expected = tmp_path / "v.h5", tmp_path / "expected.h5"
    elmo.embed_to(corpus, expected)
    killed("parts.Parts, 'write', 3", saved_bytes.folder, corpus, out, shard="2/2")
    assert elmo.embed_to(corpus, out, shard="1/2") is None and not out.exists()
    assert elmo.embed_to(corpus, out, shard="2/2") == 165
    assert bytes_of(out) == bytes_of(expected)


@pytest.mark.parametrize("num_blocks", [1, 4])
@pytest.mark.parametrize("ending", FORMATS)
def test_what_was_stopped_is_gone_on_with_to_the_same_bytes(
    ending: str, num_blocks: int, elmo: Elmo, corpus: Path, tmp_path: Path
) -> None:
    out, expected = tmp_path / f"v.{ending}", tmp_path / f"expected.{ending}"
    elmo.embed_to(corpus, expected, layers="all")
    stopped_after(elmo, num_blocks, corpus, out, layers="all")
    assert not out.exists()
    elmo.embed_to(corpus, out, layers="all", resume=True)
    assert bytes_of(out) == bytes_of(expected)
    assert not parts_folder(out).exists()


def test_a_block_that_is_there_is_not_computed_again(
    elmo: Elmo, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_after(elmo, 4, corpus, tmp_path / "v.h5")
    embedded: list[int] = []
    embed = Engine.embed_window

    def counting(self: Engine, window: Any, reduction: Any) -> Iterator[Any]:
        embedded.append(len(window))
        return embed(self, window, reduction)

    num_blocks = len(list(windows(elmo._engine, _sentences(elmo, corpus), is_carried=False)))
    monkeypatch.setattr(Engine, "embed_window", counting)
    monkeypatch.setattr("lowtide.embeddings.embedding_files.tokens_per_second", lambda *_: None)
    elmo.embed_to(corpus, tmp_path / "v.h5", resume=True)
    assert len(embedded) == num_blocks - 4


def test_what_was_begun_is_not_written_over_without_a_word(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    stopped_after(elmo, 2, corpus, tmp_path / "v.h5")
    with pytest.raises(InputError, match=r"go on with --resume, or remove .*v\.h5\.parts"):
        elmo.embed_to(corpus, tmp_path / "v.h5")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"layers": "top"}, r"layers mix -> top"),
        ({"pool": "max"}, r"pool None -> max"),
        ({"store": "float16"}, r"float32 .* -> float16"),
        ({"is_tokenized": True}, r"tokenizer"),
    ],
)
def test_what_was_begun_with_something_else_is_not_gone_on_with(
    options: dict[str, Any], names: str, elmo: Elmo, corpus: Path, tmp_path: Path
) -> None:
    stopped_after(elmo, 2, corpus, tmp_path / "v.h5")
    with pytest.raises(InputError, match=f"was begun with something else: .*{names}"):
        elmo.embed_to(corpus, tmp_path / "v.h5", resume=True, **options)
    assert elmo.embed_to(corpus, tmp_path / "v.h5", resume=True) == 165


def test_another_model_does_not_go_on(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    stopped_after(elmo, 2, corpus, tmp_path / "v.h5")
    other = Elmo.open(tiny.save(tmp_path / "other", seed=5).folder, device="cpu")
    with pytest.raises(InputError, match="was begun with something else: model "):
        other.embed_to(corpus, tmp_path / "v.h5", resume=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("goes", "went", 1), "00000000 was made from other sentences"),
        (lambda text: text + "the tide\n", r"was begun with something else: text.bytes \d+ -> \d+"),
    ],
)
def test_a_text_that_has_changed_is_not_gone_on_with(
    change: Callable[[str], str], says: str, elmo: Elmo, corpus: Path, tmp_path: Path
) -> None:
    stopped_after(elmo, 2, corpus, tmp_path / "v.h5")
    corpus.write_text(change(corpus.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(InputError, match=says):
        elmo.embed_to(corpus, tmp_path / "v.h5", resume=True)
    assert len(list(parts_folder(tmp_path / "v.h5").glob("0*"))) == 2  # nothing was computed in vain


def test_an_iterable_that_ends_sooner_than_before_is_not_gone_on_with(elmo: Elmo, tmp_path: Path) -> None:
    sentences = [["the", "tide"]] * 400
    stopped_after(elmo, 5, iter(sentences), tmp_path / "v.h5")
    with pytest.raises(InputError, match="was made from other sentences"):
        elmo.embed_to(iter(sentences[:100]), tmp_path / "v.h5", resume=True)


def test_a_file_that_is_whole_is_not_gone_on_with(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    elmo.embed_to(corpus, tmp_path / "v.h5")
    with pytest.raises(InputError, match=r"v\.h5 is whole: there is nothing to resume"):
        elmo.embed_to(corpus, tmp_path / "v.h5", resume=True)


def test_to_go_on_with_nothing_is_to_begin(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    assert elmo.embed_to(corpus, tmp_path / "v.h5", resume=True) == 165
    assert elmo.embed_to(["the tide"], tmp_path / "w.h5", resume=True) == 1


def _without(path: Path) -> None:
    path.unlink()


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_without, _cut_off, _flipped])
@pytest.mark.parametrize("file", ["vectors/vectors.npy", "vectors/tokens.utf8", "block.json"])
def test_a_damaged_block_is_named_and_computed_again_when_it_is_removed(
    file: str, damage: Callable[[Path], None], elmo: Elmo, corpus: Path, tmp_path: Path
) -> None:
    out, expected = tmp_path / "v.h5", tmp_path / "expected.h5"
    elmo.embed_to(corpus, expected)
    stopped_after(elmo, 3, corpus, out)
    block = parts_folder(out) / "00000001"
    damage(block / file)
    with pytest.raises(InputError, match=rf"{block} is damaged: remove this folder"):
        elmo.embed_to(corpus, out, resume=True)
    assert not out.exists()
    shutil.rmtree(block)
    elmo.embed_to(corpus, out, resume=True)
    assert bytes_of(out) == bytes_of(expected)


def test_a_folder_of_something_else_is_left_as_it_is(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "v.h5.parts").mkdir()
    (tmp_path / "v.h5.parts" / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"v\.h5\.parts is not empty"):
        elmo.embed_to(corpus, tmp_path / "v.h5", resume=True)
    assert names_in(tmp_path / "v.h5.parts") in (["thesis.tex"], [".lock", ".shard-1-of-1.lock", "thesis.tex"])


def test_what_fails_before_a_block_is_there_leaves_nothing(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    stopped_after(elmo, 0, corpus, tmp_path / "v.h5")
    assert names_in(tmp_path) == ["corpus.txt"]


def test_a_short_text_has_no_parts(elmo: Elmo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parts, "reserved", None)
    assert elmo.embed_to(["the tide", "", "goes out"], tmp_path / "v.h5") == 3
    assert names_in(tmp_path) == ["v.h5"]


def test_warm_state_is_not_gone_on_with(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    for options in ({"resume": True}, {"shard": "1/2"}):
        with pytest.raises(InputError, match="with --stateful"):
            elmo.embed_to(corpus, tmp_path / "v.h5", stateful=2, **options)


# -- shards --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("order", [[1, 2, 3], [3, 1, 2]])
def test_shards_in_any_order_make_the_same_bytes(
    order: list[int], ending: str, elmo: Elmo, corpus: Path, tmp_path: Path
) -> None:
    out, expected = tmp_path / f"v.{ending}", tmp_path / f"expected.{ending}"
    elmo.embed_to(corpus, expected)
    assert [elmo.embed_to(corpus, out, shard=f"{number}/3") for number in order] == [None, None, 165]
    assert bytes_of(out) == bytes_of(expected)
    assert not parts_folder(out).exists()


def test_shards_on_machines_without_a_common_disk_are_copied_together(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        assert elmo.embed_to(corpus, tmp_path / str(number) / "v.h5", shard=f"{number}/2") is None
    shutil.copytree(tmp_path / "1" / "v.h5.parts", tmp_path / "2" / "v.h5.parts", dirs_exist_ok=True)
    assert elmo.embed_to(corpus, tmp_path / "2" / "v.h5", resume=True) == 165
    elmo.embed_to(corpus, tmp_path / "expected.h5")
    assert bytes_of(tmp_path / "2" / "v.h5") == bytes_of(tmp_path / "expected.h5")


def test_a_shard_that_is_not_the_last_says_what_is_missing(
    elmo: Elmo, corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    elmo.embed_to(corpus, tmp_path / "v.h5", shard="2/3")
    assert re.search(
        r"shard       2 of 3 has ended; \d+ of \d+ blocks are not there yet, those of: 1/3, 3/3", caplog.text
    )


@pytest.mark.parametrize("ending", FORMATS)
def test_a_short_text_may_be_shared_too(ending: str, elmo: Elmo, tmp_path: Path) -> None:
    texts, out, expected = ["the tide", "", "goes out"], tmp_path / f"v.{ending}", tmp_path / f"expected.{ending}"
    assert elmo.embed_to(texts, out, shard="2/2") is None
    assert elmo.embed_to(texts, out, shard="1/2") == 3
    elmo.embed_to(texts, expected)
    assert bytes_of(out) == bytes_of(expected)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", ""])
def test_a_shard_that_is_none_is_refused(shard: str, elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the shard"):
        elmo.embed_to(corpus, tmp_path / "v.h5", shard=shard)


@given(block=st.integers(0, 10**6), count=st.integers(1, 50))
def test_every_block_is_of_one_shard(block: int, count: int) -> None:
    shards = [Shard(number, count) for number in range(1, count + 1)]
    assert [shard.number for shard in shards if shard.has(block)] == [shards[0].of_block(block)]


def test_a_share_is_of_one_process_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "v.h5"
    with Parts(out, Shard(1, 2)).reserved({}, goes_on=True):
        with (
            pytest.raises(InputError, match=r"another process writes the same part of .*v\.h5"),
            Parts(out, Shard(1, 2)).reserved({}, goes_on=True),
        ):
            pass
        with Parts(out, Shard(2, 2)).reserved({}, goes_on=True):
            pass
    assert names_in(tmp_path) == []


def test_whoever_ends_while_another_works_leaves_the_end_to_it(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.h5"
    stopped_after(elmo, 2, corpus, out, shard="1/2")
    manifest = _manifest(out)
    with Parts(out, Shard(1, 2)).reserved(manifest, goes_on=True):
        assert elmo.embed_to(corpus, out, resume=True) is None  # it has computed all blocks
        assert not out.exists()
    assert elmo.embed_to(corpus, out, shard="1/2") == 165


def _manifest(out: Path) -> Any:
    return json.loads((parts_folder(out) / "manifest.json").read_text(encoding="utf-8"))


# -- what goes in --------------------------------------------------------------------------------


def _sentences(elmo: Elmo, corpus: Path) -> list[NumberedSentence]:
    lines = corpus.read_text(encoding="utf-8").splitlines()
    return [NumberedSentence(str(n), elmo.tokenizer.split(line), None, True, "", n) for n, line in enumerate(lines)]


@pytest.mark.parametrize("ending", FORMATS)
def test_odd_lines_keep_their_place_and_their_count(ending: str, elmo: Elmo, tmp_path: Path) -> None:
    lines = ODD * 8
    text, out = tmp_path / "odd.txt", tmp_path / f"v.{ending}"
    text.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert elmo.embed_to(text, out) == len(lines)
    expected = elmo.embed([elmo.tokenizer.split(line) for line in lines])
    with open_embeddings(out) as found:
        assert len(found) == len(lines)
        for number, line in enumerate(lines):
            tolerance = 1e-2 if ending == "mmap" else 1e-6  # which is float16
            np.testing.assert_allclose(found[number], expected[number], rtol=0, atol=tolerance)
            if ending != "npz":
                assert found.tokens(number) == elmo.tokenizer.split(line)


def test_a_text_without_a_sentence_is_a_file_without_one(elmo: Elmo, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    assert elmo.embed_to(tmp_path / "empty.txt", tmp_path / "v.npz") == 0
    assert elmo.embed_to([], tmp_path / "w.npz", shard="1/1") == 0
    for name in ("v.npz", "w.npz"):
        with np.load(tmp_path / name) as arrays:
            assert arrays.files == []
    assert names_in(tmp_path) == ["empty.txt", "v.npz", "w.npz"]


def test_an_iterable_of_texts_and_tokens_is_numbered_as_it_comes(elmo: Elmo, tmp_path: Path) -> None:
    sentences: list[str | list[str]] = ["The tide goes out.", ["潮水", "退了"], "", []]
    assert elmo.embed_to((sentence for sentence in sentences * 40), tmp_path / "v.h5") == 160
    with h5py.File(tmp_path / "v.h5") as file:
        for number, vectors in enumerate(elmo.embed(sentences * 40)):
            np.testing.assert_allclose(file[str(number)][...], vectors, rtol=0, atol=1e-6)


def test_files_are_a_path_or_a_list_of_paths(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    assert elmo.embed_to(str(corpus), tmp_path / "v.npz") == 165
    assert elmo.embed_to([corpus], tmp_path / "v.npz") == 165
    with pytest.raises(InputError, match="for files give a list of Path"):
        elmo.embed_to([str(corpus)], tmp_path / "v.npz")
    with pytest.raises(InputError, match="found int"):
        elmo.embed_to(7, tmp_path / "v.npz")  # type: ignore[arg-type]  # it has to be refused


def test_what_is_no_sentence_is_refused(elmo: Elmo, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found int, expected a sentence"):
        elmo.embed_to([["tide"], 7], tmp_path / "v.h5")
    assert names_in(tmp_path) == []


def test_lines_are_called_by_what_stands_before_a_tab(elmo: Elmo, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("b\tThe tide\n7\t\na\tgoes\tout\n", encoding="utf-8")
    elmo.embed_to(tmp_path / "t.tsv", tmp_path / "v.npz", keys="id")
    with np.load(tmp_path / "v.npz") as arrays:
        assert {key: len(arrays[key]) for key in arrays.files} == {"b": 2, "7": 0, "a": 2}


def test_pairs_of_an_iterable_are_an_id_and_a_sentence(elmo: Elmo, tmp_path: Path) -> None:
    elmo.embed_to({"b": "The tide", "a": ["goes"]}.items(), tmp_path / "v.npz", keys="id")
    with np.load(tmp_path / "v.npz") as arrays:
        assert {key: len(arrays[key]) for key in arrays.files} == {"b": 2, "a": 1}
    with pytest.raises(InputError, match="sentence 0 has no id"):
        elmo.embed_to(["The tide"], tmp_path / "v.npz", keys="id")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\tx\nno tab\n", r"t\.tsv:2 has no id: with --keys id a line is an id, a tab and a text"),
        ("a\tx\n\ty\n", r"t\.tsv:2 has no id"),
        ("a\tx\n" * 60 + "b\ty\n", r"t\.tsv:2: a stands twice"),
        ("".join(f"{n}\tx y z\n" for n in range(200)) + "17\ty\n", r"t\.tsv:201: 17 stands twice"),
    ],
)
def test_an_id_that_is_missing_or_stands_twice_is_refused_with_its_line(
    text: str, says: str, elmo: Elmo, tmp_path: Path
) -> None:
    (tmp_path / "t.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        elmo.embed_to(tmp_path / "t.tsv", tmp_path / "v.h5", keys="id")
    assert not (tmp_path / "v.h5").exists()


def test_an_id_that_cannot_be_a_key_is_refused_before_any_work(elmo: Elmo, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tThe tide\na/b\tgoes\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.tsv:2: a/b cannot be a key of an HDF5 file"):
        elmo.embed_to(tmp_path / "t.tsv", tmp_path / "v.h5", keys="id")
    assert elmo.embed_to(tmp_path / "t.tsv", tmp_path / "v.npz", keys="id") == 2


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=40),
    size=st.integers(1, 40),
    is_carried=st.booleans(),
)
def test_windows_hold_every_sentence_once_and_whole_documents(
    lengths: list[tuple[int, bool]], size: int, is_carried: bool
) -> None:
    sentences = [
        NumberedSentence(str(n), ["w"] * length, None, starts or n == 0, "", n)
        for n, (length, starts) in enumerate(lengths)
    ]
    cutting = Engine.__new__(Engine)
    cutting.window_positions = size
    found = list(windows(cutting, sentences, is_carried=is_carried))
    assert [window.number for window in found] == list(range(len(found)))
    assert [sentence for window in found for sentence in window.sentences] == sentences
    for window in found:
        assert [tokens for document in window.documents for tokens in document] == [s.tokens for s in window.sentences]
        assert window.sentences[0].starts_document or not is_carried
    num_documents = sum(sentence.starts_document or not is_carried for sentence in sentences)
    assert sum(len(window.documents) for window in found) == num_documents


# -- what comes out ------------------------------------------------------------------------------


@pytest.mark.parametrize(("pool", "of"), [("mean", np.mean), ("max", np.max)])
@pytest.mark.parametrize("layers", ["mix", "all"])
def test_a_sentence_is_pooled_and_an_empty_one_is_zeros(
    layers: str, pool: str, of: Callable[..., Any], elmo: Elmo, tmp_path: Path
) -> None:
    lines = ["the tide goes out", "", "the bank"] * 30
    (tmp_path / "t.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    elmo.embed_to(tmp_path / "t.txt", tmp_path / "v.h5", layers=layers, pool=pool)
    with h5py.File(tmp_path / "v.h5") as file:
        found = [file[str(number)][...] for number in range(90)]
    tokens = elmo.embed_layers(lines) if layers == "all" else elmo.embed(lines)
    for vectors, line, of_tokens in zip(found, lines, tokens, strict=True):
        assert vectors.shape == ((3, 10) if layers == "all" else (10,))
        expected = of(of_tokens, axis=-2) if line else np.zeros(vectors.shape)
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "store", "dtype"),
    [("v.h5", None, "float32"), ("v.h5", "float16", "float16"), ("v.mmap", None, "float16")],
)
def test_numbers_are_stored_in_the_type_that_was_chosen(
    name: str, store: Any, dtype: str, elmo: Elmo, corpus: Path, tmp_path: Path
) -> None:
    elmo.embed_to(corpus, tmp_path / name, store=store)
    path = tmp_path / name
    found = np.load(path / "vectors.npy").dtype if path.is_dir() else h5py.File(path)["0"].dtype
    assert found == dtype


@pytest.mark.parametrize("is_tokenized", [True, False])
def test_tokens_have_their_places_in_the_line(is_tokenized: bool, elmo: Elmo, tmp_path: Path) -> None:
    lines = ["  The tide, out. ", "", "e\u0301te\u0301 👩‍👩‍👧 a"] * 20
    (tmp_path / "t.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    elmo.embed_to(tmp_path / "t.txt", tmp_path / "v.h5", is_tokenized=is_tokenized)
    with h5py.File(tmp_path / "v.h5") as file:
        for number, line in enumerate(lines):
            spans = file[str(number)].attrs["offsets"]
            tokens = line.split() if is_tokenized else [line[t.start : t.end] for t in elmo.tokenizer.tokenize(line)]
            assert [line[start:end] for start, end in spans] == tokens


def test_an_unknown_type_is_refused(elmo: Elmo, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot store 'float64'"):
        elmo.embed_to(corpus, tmp_path / "v.h5", store="float64")  # type: ignore[arg-type]  # it has to be refused


# -- what is told --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["corpus.txt", "corpus.txt.gz"])
def test_what_will_be_written_is_told_before(
    name: str, elmo: Elmo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    elmo._engine.window_positions = 1500
    corpus = write_corpus(tmp_path / "corpus.txt", num_sentences=1000)
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(corpus.read_bytes()))
    elmo.embed_to(tmp_path / name, tmp_path / "v.h5", layers="all", store="float16", is_tokenized=True)
    told = re.search(r"writes      about ([\d,]+) sentences, ([\d,]+) tokens: (\d+\.\d) kB, (.*)", caplog.text)
    assert told is not None, caplog.text
    num_tokens = len(corpus.read_text(encoding="utf-8").split())
    assert int(told[1].replace(",", "")) == pytest.approx(1100, rel=0.15)
    assert int(told[2].replace(",", "")) == pytest.approx(num_tokens, rel=0.15)
    assert told[4] == "float16 (3, tokens, 10)"
    assert float(told[3]) == pytest.approx(num_tokens * 60 / 1000, rel=0.15)


def test_of_a_stream_only_what_a_token_takes_is_told(
    elmo: Elmo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    elmo.embed_to((["the", "tide"] for _ in range(100)), tmp_path / "v.h5")
    assert "writes      40 bytes a token, float32 (tokens, 10)" in caplog.text


def test_nothing_is_told_of_what_is_there_at_once(elmo: Elmo, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    elmo.embed_to(["the tide"], tmp_path / "v.h5")
    assert caplog.text == ""


def test_a_disk_without_room_is_noticed_before_any_work(
    elmo: Elmo, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=50_000)
    monkeypatch.setattr("lowtide.embeddings.file_forecast.shutil.disk_usage", lambda _: usage)
    with pytest.raises(WriteError, match=r"has 50\.0 kB free, and about \d+\.\d kB are needed"):
        elmo.embed_to(corpus, tmp_path / "v.h5")
    assert names_in(tmp_path) == ["corpus.txt"]


# -- the command ---------------------------------------------------------------------------------


def test_ctrl_c_prints_the_line_that_goes_on(
    elmo: Elmo, saved_bytes: tiny.Saved, corpus: Path, tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["embed", str(saved_bytes.folder), str(corpus), "--out", str(tmp_path / "v.h5"), "--layers", "all"]
    write = Parts.write

    def press(parts: Parts, *arguments: Any, **options: Any) -> None:
        write(parts, *arguments, **options)
        if len(parts.blocks) == 3:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", press)
        ran = run(*command)
    assert ran.code == 130
    line = f"stopped. Go on with:  lowtide {' '.join(command)} --resume"
    assert ran.err.splitlines()[-1] == line
    ran = run(*line.partition("  lowtide ")[2].split())
    assert ran.code == 0 and "going on    3 blocks are there already" in ran.err, ran.err
    assert ran.err.endswith("v.h5: 165 sentences\n")


def test_only_the_last_shard_of_a_command_has_written_the_file(
    elmo: Elmo, saved_bytes: tiny.Saved, corpus: Path, tmp_path: Path, run: Command
) -> None:
    command = ["embed", str(saved_bytes.folder), str(corpus), "--out", str(tmp_path / "v.h5"), "--shard"]
    first, last = run(*command, "1/2"), run(*command, "2/2")
    assert (first.code, last.code) == (0, 0)
    assert "165 sentences" not in first.err and last.err.endswith("v.h5: 165 sentences\n")


def test_a_refusal_of_the_command_is_one_line(
    elmo: Elmo, saved_bytes: tiny.Saved, corpus: Path, tmp_path: Path, run: Command
) -> None:
    stopped_after(elmo, 2, corpus, tmp_path / "v.h5")
    ran = run("embed", saved_bytes.folder, corpus, "--out", tmp_path / "v.h5")
    assert ran.code == 2 and "--resume" in ran.err and "Traceback" not in ran.err


def test_a_disk_that_is_full_at_the_end_keeps_the_blocks(
    elmo: Elmo, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(LowtideError, match=r"cannot write .*: No space left"):
        patch.setattr(hdf5._Writer, "write", refuse)
        elmo.embed_to(corpus, tmp_path / "v.h5")
    assert names_in(tmp_path) == ["corpus.txt", "v.h5.parts"]
    assert elmo.embed_to(corpus, tmp_path / "v.h5", resume=True) == 165
