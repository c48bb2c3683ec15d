"""Damage tiny models of every format, by bytes and by structure, and see that each is loaded or refused in a sentence.

As a program it goes on for minutes, on Linux, in processes of their own with limits of time and memory::

    python tests/weights/fuzzing.py --minutes 30 --seed 0 [--kind zip] [--finds FOLDER]

A find is any other exception than `LowtideError`, any warning, a message that is long, of several lines or cannot be
printed, a case that takes seconds or a gigabyte, a crash, and a pickle that ran code. The tests take the functions.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import pickle
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import h5py
import numpy as np
import torch

import many_langs
import published
import tiny
from lowtide.embeddings import load
from lowtide.errors import LowtideError
from lowtide.weights import native
from weights import tensor_bundle_writer

SECONDS, GIGABYTE = 5, 1 << 30
"""What a case may cost at most, in time of the processor and in memory."""
LETTERS = 1500
"""How long a message may be."""
MEANT = "the model's text was cut by"
"""How the one warning begins that a model may cause."""
MEANT_OF_CHARACTERS = "is a list of words, and this model reads characters"
"""What a model may say whose text a damaged file has cut into characters."""
_SILENCE = 60
"""Seconds after which a process that finishes no case is stopped."""
MARKER = "a-pickle-ran-code"
"""The folder that appears if one does."""

Way = Callable[[random.Random, bytes], bytes]
"""Of damage: gives a file of which something is wrong, mostly."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """A good model, and how its files are damaged."""

    name: str
    files: Mapping[str, bytes]
    ways: Mapping[str, Sequence[Way]]
    """By the file that they damage."""
    opened: str = ""
    """The file that is loaded; the folder, if it is empty."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A damaged model."""

    sample: Sample
    file: str
    content: bytes


@dataclasses.dataclass(frozen=True)
class Find:
    """A case that went wrong."""

    case: Case
    what: str


# -- damage of bytes -----------------------------------------------------------------------------


def _flip(rng: random.Random, data: bytearray, at: int) -> None:
    data[at] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, at: int) -> None:
    data[at] = rng.choice((0, 255, 127, 128, rng.randrange(256)))


def _cut(rng: random.Random, data: bytearray, at: int) -> None:
    del data[at : at + rng.choice((1, 2, 4, 8, rng.randrange(1, 200), len(data)))]


def _insert(rng: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = rng.choice((b"\0", b"\n", b"\xff" * 8, rng.randbytes(rng.randrange(1, 40))))


def _repeat(rng: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = data[at : at + rng.randrange(1, 100)] * rng.choice((1, 2, 20))


def _number(rng: random.Random, data: bytearray, at: int) -> None:
    size, code = rng.choice(((2, "<H"), (4, "<I"), (8, "<Q")))
    if at + size > len(data):
        return
    (old,) = struct.unpack_from(code, data, at)
    largest = (1 << 8 * size) - 1
    new = rng.choice((old + 1, old - 1, 0, 1, largest, largest >> 1, (largest >> 1) + 1, old * 2, old << 8, old >> 1))
    struct.pack_into(code, data, at, new & largest)


_IN_PLACE = (_flip, _set, _number)
_DAMAGES = (*_IN_PLACE, _cut, _insert, _repeat)


def in_bytes(*places: range, others: Sequence[bytes] = (), keeps_length: bool = False) -> Way:
    """Damage of bytes at some places, or anywhere; now and then the end of another file of the kind."""

    def way(rng: random.Random, data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            at = rng.choice(rng.choice(places)) if places else rng.randrange(len(data) or 1)
            if at >= len(damaged):
                continue
            if others and rng.random() < 0.1:
                other = rng.choice(others)
                damaged[at:] = other[at if rng.random() < 0.5 else rng.randrange(len(other)) :]
            else:
                rng.choice(_IN_PLACE if keeps_length else _DAMAGES)(rng, damaged, at)
        return bytes(damaged)

    return way


def truncated(rng: random.Random, data: bytes) -> bytes:
    """Half copied."""
    return data[: rng.randrange(len(data))]


# -- damage of texts -----------------------------------------------------------------------------

_FIELDS = (
    "", " ", "\0", "\t", "\r", "\u2028", "\x85", "\ufeff", "\ud800", "-1", "+1", "1_0", "٣", "007", "1e3", "9" * 30,
    "9" * 5000, "0", "<S>", "<bos>", "<pad>", "<oov>", "\\", "\\ud800", "\\n", "\\u12", "x" * 3000, "e\u0301", "🌊",
)  # fmt: skip  # a value a line would take pages


def in_lines(rng: random.Random, data: bytes) -> bytes:
    """Lines that are missing, doubled, moved or changed in a field."""
    lines = data.decode("utf-8", "surrogatepass").split("\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        fields = re.split("([\t ])", lines[at])
        fields[rng.randrange(len(fields))] = rng.choice(_FIELDS)
        match rng.randrange(7):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(other, lines[at])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines.insert(at, rng.choice(_FIELDS))
            case 4:
                lines[at] += rng.choice(_FIELDS)
            case _:
                lines[at] = "".join(fields)
    return rng.choice(("\n", "\n", "\n", "\r\n", "\r")).join(lines).encode("utf-8", "surrogatepass")


# -- damage of JSON ------------------------------------------------------------------------------

_RAW = {
    "@deep": "[" * 100_000 + "]" * 100_000,
    "@deeper": '{"a":' * 900 + "1" + "}" * 900,
    "@nested": "[" * 400 + "]" * 400,
    "@long": "1" + "0" * 6000,
    "@huge": "1e999",
    "@surrogate": '"\\ud800"',
    "@none": "",
}
"""Values that no tool writes, and how they stand in the file."""
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 255, 65536, 1 << 20, 1 << 24, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 53,
    1 << 63, (1 << 64) - 1, 10**30, -(10**30),
    0.5, -0.0, 1e-320, 1e300, float("nan"), float("inf"), float("-inf"), "", "x", "0",
    "relu", "tanh", "elmo", "lstm", "cnn", "false", "\0", "../../etc/passwd", "x" * 5000, [], {}, [[]], [1], [[1, 2]],
    [[0, 0]], [[1, 1 << 40]], [None], {"": 1}, {"dim": 4}, [[1, 2, 3]], [[1, 3]] * 2000, *_RAW,
)  # fmt: skip  # a value a line would take pages


def in_structure(rng: random.Random, data: bytes) -> bytes:
    """JSON of which a value is another, or a key is missing, renamed or doubled."""
    tree: Any = {"": json.loads(data)}
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(tree))
        (inside, key), (inside_2, key_2) = rng.choice(places), rng.choice(places)
        match rng.randrange(8):
            case 0 if inside is not tree:
                del inside[key]
            case 1 if isinstance(inside, dict):
                inside[f"{key}@twice"] = rng.choice((_copied(inside[key]), _copied(rng.choice(_VALUES))))
            case 2 if isinstance(inside, dict):
                inside[f"{key}{rng.choice(_FIELDS)}"] = inside.pop(key)
            case 3:
                inside[key] = _copied(inside_2[key_2])
            case 4:
                inside[key] = rng.choice(([inside[key]], {"a": inside[key]}, str(inside[key])))
            case _:
                inside[key] = _copied(rng.choice(_VALUES))
        if "" not in tree:
            break
    text = json.dumps(next(iter(tree.values())), ensure_ascii=rng.random() < 0.5)
    text = text.replace('@twice"', '"')
    for name, raw in _RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text.encode("utf-8", "surrogatepass")


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree))
    for key in list(keys)[:50]:
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


# -- kinds ---------------------------------------------------------------------------------------


def _files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def _checkpoints(folder: Path) -> list[Sample]:
    samples = []
    for name, config, shares in (("characters", tiny.BYTES, False), ("words", published.WORD_CONFIG, True)):
        place = folder / name
        with (
            mock.patch.object(tensor_bundle_writer, "index_file", wraps=tensor_bundle_writer.index_file) as written,
            mock.patch.object(tensor_bundle_writer, "blocks", wraps=tensor_bundle_writer.blocks) as cut,
        ):
            for number in (7, 8):  # of two, the file named checkpoint chooses
                model = published.published(config, seed=number)
                published.write_checkpoint(place, model, name=f"model.ckpt-{number}", shares_softmax=shares)
        (place / "checkpoint").write_text(
            'model_checkpoint_path: "/theirs/model.ckpt-7"\nall_model_checkpoint_paths: "/theirs/model.ckpt-8"\n'
        )
        files = _files_of(place)
        index, data = "model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001"
        parts, table = written.call_args_list[0].args[0], cut.call_args_list[0].args[0]
        repaired = [_in_blocks(parts), _in_blocks(parts), _in_entries(table), _in_entries(table)]
        ways: dict[str, Sequence[Way]] = {
            index: [in_bytes(others=[files["model.ckpt-8.index"]]), truncated, *repaired],
            "checkpoint": [in_bytes(), in_lines],
            data: [truncated, in_bytes(others=[files[index]])],
        }
        samples.append(Sample(name, files, ways))
    return samples


def _in_blocks(parts: tensor_bundle_writer.Blocks) -> Way:
    """Blocks of an index that are damaged, with checksums that are right."""

    def way(rng: random.Random, data: bytes) -> bytes:
        damaged, damage = list(parts), in_bytes(others=[content for _, content in parts])
        match rng.randrange(8):
            case 0:
                return tensor_bundle_writer.index_file(parts, change=lambda index: damage(rng, index))
            case 1:
                return tensor_bundle_writer.index_file(parts, handle=lambda *_: rng.randbytes(rng.randrange(12)))
            case 2:
                damaged *= rng.randrange(3)
            case 3:
                damaged = [(damage(rng, separator or b"a"), content) for separator, content in parts]
            case _:
                at = rng.randrange(len(parts))
                damaged[at] = (parts[at][0], damage(rng, parts[at][1]))
        return tensor_bundle_writer.index_file(damaged)

    return way


def _in_entries(table: Mapping[bytes, bytes]) -> Way:
    """Entries of an index that are damaged or say something else, in blocks that are right."""
    numbers = (0, 1, 2, 5, 7, 28, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, -1)

    def way(rng: random.Random, data: bytes) -> bytes:
        changed, key = dict(table), rng.choice(list(table))
        match rng.randrange(6):
            case 0:
                changed[key] = in_bytes()(rng, changed[key])
            case 1:
                shape = [rng.choice(numbers) for _ in range(rng.choice((0, 1, 2, 2, 4, 70)))]
                kind = rng.choice((1, 1, 1, 2, 7, 9, 14, 99, -1))
                size = rng.choice((4 * int(np.prod(shape or [1])) & (1 << 64) - 1 if len(shape) < 3 else 4, *numbers))
                shard, offset = rng.choice((0, 0, *numbers)), rng.choice((0, 0, *numbers))
                changed[key] = tensor_bundle_writer.entry(kind, shape, shard, offset, size)
            case 2:
                changed[b""] = tensor_bundle_writer.header(
                    rng.choice(numbers), endianness=rng.choice((0, 1, 2)), min_consumer=rng.choice(numbers)
                )
            case 3:
                changed[in_bytes()(rng, key or b"a")] = changed.pop(key)
            case 4:
                del changed[key]
            case _:
                changed[key] += in_bytes()(rng, changed[rng.choice(list(table))])
        size = rng.choice((64, 4096))
        return tensor_bundle_writer.index_file(tensor_bundle_writer.blocks(dict(sorted(changed.items())), size))

    return way


def _zips(folder: Path) -> list[Sample]:
    pair = published.nlpl_files(published.write_pair(folder / "pair", words=published.WORDS), inside="171/")
    many_langs.write(folder / "many", is_new=True)
    many = [(f"136/{name}", content) for name, content in _files_of(folder / "many").items()]
    made = {}
    for name, files in (("pair", pair), ("many", many)):
        for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            path = published.write_zip(folder / f"{name}-{compression}.zip", files, compression)
            made[path.stem] = path.read_bytes()
    return [
        Sample(name, {"model.zip": data}, {"model.zip": _ways_of_zip(data, list(made.values()))}, "model.zip")
        for name, data in made.items()
    ]


def _ways_of_zip(data: bytes, others: Sequence[bytes]) -> list[Way]:
    directory = range(data.index(b"PK\1\2"), len(data))
    headers = [range(found.start(), found.start() + 50) for found in re.finditer(b"PK\3\4", data)]
    end = range(data.rindex(b"PK\5\6"), len(data))
    anywhere, in_places = in_bytes(others=others), map(in_bytes, (directory, end))
    return [anywhere, truncated, *in_places, in_bytes(*headers), _in_a_member(anywhere)]


def _in_a_member(damage: Way) -> Way:
    """A zip of which one file is damaged and packed again, or has another name."""

    def way(rng: random.Random, data: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [(member.filename, archive.read(member)) for member in archive.infolist()]
        at = rng.randrange(len(files))
        name, content = files[at]
        if rng.random() < 0.7:
            content = damage(rng, content) if content else b"\0"
        else:
            name = rng.choice((name + rng.choice(_FIELDS), f"../{name}", f"/{name}", name.upper(), name.split("/")[-1]))
            name = name.encode("utf-8", "replace").decode()[:60_000] or "x"
        files[at] = (name, content)
        rng.shuffle(files)
        packed = io.BytesIO()
        with warnings.catch_warnings(), zipfile.ZipFile(packed, "w", rng.choice((0, 8))) as archive:
            warnings.simplefilter("ignore")  # of a doubled name
            for name, content in files:
                archive.writestr(zipfile.ZipInfo(name), content)
        return packed.getvalue()

    return way


def _texts(folder: Path) -> list[Sample]:
    in_text = [in_bytes(), in_lines, in_lines, truncated]
    many_langs.write(folder / "many")
    published.write_pair(folder / "words", published.published(published.WORD_CONFIG), words=published.WORDS)
    published.write_pair(folder / "characters", words=published.WORDS)
    published.write_checkpoint(folder / "checkpoint", published.published(published.WORD_CONFIG))
    tiny.save(folder / "bytes")
    tiny.save(folder / "symbols", is_alphabet=True)
    stored = load(folder / "many", device="cpu").stored
    native.save_model(folder / "letters", stored.config, stored.words, stored.bilm, None, stored.letters)
    names = {
        "many": ("char.dic", "word.dic"),
        "words": ("vocab.txt",),
        "characters": ("vocab.txt",),
        "checkpoint": ("vocab-2016-09-10.txt",),
        "bytes": ("vocabulary.txt",),
        "symbols": ("vocabulary.txt",),
        "letters": ("letters.txt", "vocabulary.txt"),
    }
    return [_sample(folder / name, dict.fromkeys(damaged, in_text)) for name, damaged in names.items()]


def _jsons(folder: Path) -> list[Sample]:
    in_json = [in_bytes(), in_structure, in_structure, in_structure, truncated]
    samples = _texts(folder)
    recipes = {"plain": many_langs.Recipe(name="lstm"), "of words": many_langs.Recipe(char_dim=0)}
    for name, recipe in recipes.items():
        many_langs.write(folder / name, recipe)
        samples.append(_sample(folder / name, {}))
    published.write_pair(folder / "nlpl")
    (folder / "nlpl" / "meta.json").write_text(json.dumps(published.META), encoding="utf-8")
    samples.append(_sample(folder / "nlpl", {}))
    return [
        dataclasses.replace(sample, ways={name: in_json for name in sample.files if name.endswith(".json")})
        for sample in samples
    ]


def _sample(folder: Path, ways: Mapping[str, Sequence[Way]]) -> Sample:
    return Sample(folder.name, _files_of(folder), ways)


def _hdf5s(folder: Path) -> list[Sample]:
    published.write_pair(folder / "plain")
    published.write_pair(folder / "words", published.published(published.WORD_CONFIG), words=published.WORDS)
    model = published.published()
    for name, how in (("newest", {}), ("chunked", {"chunks": True, "compression": "gzip", "shuffle": True})):
        published.write_pair(folder / name)
        with h5py.File(folder / name / "weights.hdf5", "w", libver="latest" if name == "newest" else None) as file:
            for key, array in model.arrays.items():
                file.create_dataset(key, data=array.astype(np.float32), **how)
            file.attrs["made"] = "by a test"
    files = {name: _files_of(folder / name) for name in ("plain", "words", "newest", "chunked")}
    everything = [content["weights.hdf5"] for content in files.values()]
    samples = []
    for name, content in files.items():
        heads = _heads(folder / name / "weights.hdf5")
        in_heads = in_bytes(*heads, keeps_length=True)
        ways = [in_heads, in_heads, in_heads, in_heads, in_bytes(*heads, others=everything), _cut_at_64, in_bytes()]
        samples.append(Sample(name, content, {"weights.hdf5": ways}))
        packed = folder / f"{name}.zip"
        published.write_zip(packed, content.items(), zipfile.ZIP_STORED)
        in_packed: dict[str, Sequence[Way]] = {"model.zip": [_in_a_member(in_bytes())]}
        samples.append(Sample(f"{name}, packed", {"model.zip": packed.read_bytes()}, in_packed, "model.zip"))
    return samples


def _cut_at_64(rng: random.Random, data: bytes) -> bytes:
    return data[: 64 * rng.randrange(len(data) // 64 + 1)]


def _heads(path: Path) -> list[range]:
    """The bytes of an HDF5 file that are no numbers."""
    pieces: list[tuple[int, int]] = []

    def visit(_: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.chunks is None and item.id.get_offset() is not None:
            pieces.append((item.id.get_offset(), item.id.get_offset() + item.nbytes))
        elif isinstance(item, h5py.Dataset) and item.chunks is not None:
            chunks = (item.id.get_chunk_info(number) for number in range(item.id.get_num_chunks()))
            pieces.extend((chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks)

    with h5py.File(path) as file:
        file.visititems(visit)
    begins, ends = zip(*sorted(pieces), strict=True)
    between = zip((0, *ends), (*begins, path.stat().st_size), strict=True)
    return [range(start, end) for start, end in between if start < end]


def _pickles(folder: Path) -> list[Sample]:
    samples = []
    recipes = {"elmo": many_langs.Recipe(), "plain": many_langs.Recipe(name="lstm")}
    for name, recipe in recipes.items():
        for is_new in (False, True):
            place = folder / f"{name} {is_new}"
            many_langs.write(place, recipe, is_new=is_new)
            files, names = _files_of(place), ("token_embedder.pkl", "encoder.pkl")
            ways: dict[str, Sequence[Way]] = {}
            for file, tensors in zip(names, many_langs.random_tensors(recipe), strict=True):
                sizes = [tensor.nbytes + 8 for tensor in tensors.values()]
                files[file] = files[file] if is_new else _without_addresses(files[file], sizes)
                in_pickle = in_bytes(range(max(1, len(files[file]) - sum(sizes))), keeps_length=True)
                hostile: list[Way] = [_in_names, _in_names, _with_code]
                if is_new:
                    hostile = [_in_a_member(way) for way in (*hostile, in_bytes())]
                others = [files[name] for name in names]
                ways[file] = [in_bytes(others=others), truncated, in_pickle, in_pickle, *hostile]
            samples.append(Sample(place.name, files, ways))
    return samples


def _without_addresses(data: bytes, sizes: Sequence[int]) -> bytes:
    """A pickle of the old format that is the same in every process: its storages are named after where they lay."""
    end = len(data) - sum(sizes)
    last = data.rindex(b"\x80\x02]", 0, end)  # the pickle that lists the names; their numbers follow in that order
    found = re.findall(rb"X.\0\0\0(\d{9,})", data[:last])
    size_of, numbers, position = dict(zip(dict.fromkeys(found), sizes, strict=True)), {}, end
    for name in sorted(size_of):
        numbers[name] = data[position : position + size_of[name]]
        position += size_of[name]
    steady = {name: f"{place:09d}".encode() for place, name in enumerate(size_of)}
    head = re.sub(rb"X.\0\0\0(\d{9,})", lambda match: _text(steady[match[1]]), data[:last])
    names = pickle.dumps([name.decode() for name in steady.values()], protocol=2)
    return head + names + b"".join(numbers[name] for name in steady)


_GLOBALS = [
    b"os\nsystem", b"os\nmkdir", b"posix\nsystem", b"builtins\nexec", b"builtins\neval", b"torch\nload",
    b"torch\nSize", b"torch\ndevice", b"torch\nfloat32", b"torch\nint8", b"torch\nper_tensor_affine", b"torch\nTensor",
    b"torch\nstrided", b"torch._utils\n_rebuild_tensor", b"torch._utils\n_rebuild_tensor_v2",
    b"torch._utils\n_rebuild_tensor_v3", b"torch._utils\n_rebuild_parameter",
    b"torch._utils\n_rebuild_parameter_with_state", b"torch._utils\n_rebuild_qtensor",
    b"torch._utils\n_rebuild_sparse_tensor", b"torch._utils\n_rebuild_meta_tensor_no_storage",
    b"torch._utils\n_rebuild_nested_tensor", b"torch._utils\n_rebuild_wrapper_subclass",
    b"torch._utils\n_rebuild_device_tensor_from_numpy", b"torch._utils\n_rebuild_device_tensor_from_cpu_tensor",
    b"torch._tensor\n_rebuild_from_type_v2", b"torch.serialization\n_get_layout", b"_codecs\nencode",
    b"collections\nOrderedDict", b"collections\nCounter", b"builtins\nset", b"builtins\nbytearray",
    b"builtins\ncomplex", b"torch.nn.parameter\nParameter", b"torch.nn.parameter\nBuffer", b"numpy\ndtype",
    b"numpy._core.multiarray\nscalar", b"torch\nFloatStorage", b"torch\nHalfStorage", b"torch\nDoubleStorage",
    b"torch\nBoolStorage", b"torch\nQInt8Storage", b"torch\nComplexFloatStorage", b"torch\nLongStorage",
    b"torch\nBFloat16Storage", b"torch.storage\nUntypedStorage", b"torch.storage\nTypedStorage", b"torch\nByteStorage",
    b"torch.jit._pickle\nrestore_type_tag", b"\xff\xfe\n\xff", b"\n",
]  # fmt: skip  # a value a line would take pages


def _in_names(rng: random.Random, data: bytes) -> bytes:
    """A pickle that asks for other things than it did, or has its tensors elsewhere."""
    if rng.random() < 0.2:
        place = rng.choice((b"meta", b"cuda", b"cuda:99", b"mps", b"xla:0", b"", b"\xff", b"hpu", b"nowhere", b"cpu:7"))
        return data.replace(_text(b"cpu"), _text(place), rng.choice((1, -1)))
    found = [match.span(1) for match in re.finditer(rb"c((?:torch|collections)[\w.]*\n\w+)\n", data)]
    if not found:
        return in_bytes()(rng, data)
    old, new = data[slice(*rng.choice(found))], rng.choice(_GLOBALS)
    return data.replace(b"c" + old + b"\n", b"c" + new + b"\n", rng.choice((1, -1)))


def _text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def _with_code(rng: random.Random, data: bytes) -> bytes:
    """A pickle that makes a folder, if anything in it runs."""
    path, code = _text(MARKER.encode()), _text(f"__import__('os').mkdir({MARKER!r})".encode())
    run = (b"cos\nmkdir\n" + path + b"\x85R", b"cbuiltins\nexec\n" + code + b"\x85R", b"(" + path + b"ios\nmkdir\n")
    attack = rng.choice(run) + rng.choice((b"", b"0", b"."))
    places = [match.start() for match in re.finditer(rb"c(?:torch|collections)|[(}\]]|X", data)] or [0]
    at = rng.choice((*places[:40], 2, 0, rng.randrange(len(data))))
    return data[:at] + attack + data[at:]


def _safetensors(folder: Path) -> list[Sample]:
    tiny.save(folder / "bytes")
    tiny.save(folder / "symbols", is_alphabet=True)
    samples = []
    for name in ("bytes", "symbols"):
        files = _files_of(folder / name)
        others, ways = [files["model.safetensors"], files["softmax.safetensors"]], {}
        for file in ("model.safetensors", "softmax.safetensors"):
            (size,) = struct.unpack_from("<Q", files[file])
            head = [in_bytes(range(8 + size), keeps_length=True), _in_head, _in_head, _of_another_type]
            ways[file] = [in_bytes(others=others), truncated, *head]
        samples.append(Sample(name, files, ways))
    return samples


def _in_head(rng: random.Random, data: bytes) -> bytes:
    """Safetensors whose head is damaged, with its length right."""
    (size,) = struct.unpack_from("<Q", data)
    head = in_structure(rng, data[8 : 8 + size])
    return struct.pack("<Q", len(head)) + head + data[8 + size :]


def _of_another_type(rng: random.Random, data: bytes) -> bytes:
    """Safetensors with a tensor that has other numbers, or another shape, of the same bytes."""
    (size,) = struct.unpack_from("<Q", data)
    head = json.loads(data[8 : 8 + size])
    entry = head[rng.choice(sorted(head.keys() - {"__metadata__"}))]
    if rng.random() < 0.5:
        entry["dtype"] = rng.choice(("F64", "F16", "BF16", "I64", "I32", "U8", "BOOL", "F8_E4M3", "C64", "F4", "U16"))
    for _ in range(rng.randrange(3)):
        at, factor = rng.randrange(len(entry["shape"]) + 1), rng.choice((0, 1, 2, 4))
        entry["shape"].insert(at, factor)
    if rng.random() < 0.5:
        length = int(np.prod(entry["shape"]))
        entry["shape"] = [rng.choice((length, 2 * length, length // 2, length // 4, 4 * length, 1 << 63, 0))]
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


KINDS: dict[str, Callable[[Path], list[Sample]]] = {
    "checkpoint": _checkpoints,
    "zip": _zips,
    "text": _texts,
    "json": _jsons,
    "hdf5": _hdf5s,
    "pickle": _pickles,
    "safetensors": _safetensors,
}


# -- cases ---------------------------------------------------------------------------------------


def samples_of(kind: str) -> list[Sample]:
    """The good models of a kind."""
    with tempfile.TemporaryDirectory() as folder:
        return KINDS[kind](Path(folder))


def case(samples: Sequence[Sample], seed: object) -> Case:
    """Of one seed always the same."""
    rng = random.Random(str(seed))
    sample = rng.choice(samples)
    file = rng.choice(sorted(sample.ways))
    return Case(sample, file, rng.choice(sample.ways[file])(rng, sample.files[file]))


def listed(kind: str, samples: Sequence[Sample]) -> Iterator[Case]:
    """Those that are not left to chance: HDF5 files cut after every 64 bytes."""
    for sample in samples if kind == "hdf5" else ():
        if "weights.hdf5" in sample.ways:
            content = sample.files["weights.hdf5"]
            for end in range(0, len(content), 64):
                yield Case(sample, "weights.hdf5", content[:end])


def write(sample: Sample, folder: Path) -> Path:
    """Write a good model; gives what is to be loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sample.files.items():
        (folder / name).write_bytes(content)
    return folder / sample.opened


def problem(path: Path) -> str | None:
    """What is wrong with how a model is loaded or refused, and where; None: nothing."""
    told = _told_of(path)
    if Path(MARKER).exists():
        Path(MARKER).rmdir()
        return "a pickle ran code"
    return told


def _told_of(path: Path) -> str | None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            use(path)
        except LowtideError as error:
            if re.search("[\\x00-\\x1f\\x7f\\x80-\\x9f\u2028\u2029\ud800-\udfff]", str(error)):
                return f"a message that cannot be printed in a line, {_place_of(error)}: {str(error)!a:.300}"
            if len(str(error)) > LETTERS:
                return f"a message of more than {LETTERS} letters, {_place_of(error)}: {str(error)!a:.300}"
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return f"{type(error).__name__}, {_place_of(error)}: {str(error)!a:.300}"
    told = [(warning, str(warning.message)) for warning in caught]
    unmeant = [w for w, text in told if not text.startswith(MEANT) and MEANT_OF_CHARACTERS not in text]
    if unmeant:
        first = unmeant[0]
        return f"{first.category.__name__}, {Path(first.filename).name}:{first.lineno}: {str(first.message)!a:.300}"
    return None


def use(path: Path) -> None:
    """Load a model, and use it as far as it goes."""
    elmo = load(path, device="cpu")
    sentences = [["The", "tide", "潮水", ""]]
    elmo.embed(sentences)
    if elmo.stored.read_softmax is not None:
        elmo.language_model().guesses(sentences)


def _place_of(error: BaseException) -> str:
    """The innermost line of lowtide, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "lowtide" in Path(frame.filename).parts] or frames
    places = (f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in (frames[-1], ours[-1]))
    return " < ".join(dict.fromkeys(places))


class Bench:
    """Where cases are tried, one after the other; its samples are written once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[str, Path] = {}

    def path(self, sample: Sample) -> Path:
        """The good model."""
        if sample.name not in self._paths:
            self._paths[sample.name] = write(sample, self._folder / sample.name)
        return self._paths[sample.name]

    def tried(self, case: Case, guard: Callable[[Path], str | None] = problem) -> Find | None:
        """Try one."""
        path = self.path(case.sample)
        damaged = self._folder / case.sample.name / case.file
        damaged.write_bytes(case.content)
        what = guard(path)
        damaged.write_bytes(case.sample.files[case.file])
        return Find(case, what) if what else None


def finds(kind: str, folder: Path, *, seed: int, count: int) -> list[Find]:
    """Try some cases of a kind, in this process and without limits."""
    bench, samples, num_threads = Bench(folder), samples_of(kind), torch.get_num_threads()
    torch.set_num_threads(1)  # more of them wait for each other, where models are tiny
    try:
        tried = [bench.tried(case(samples, f"{seed}/{kind}/{number}")) for number in range(count)]
    finally:
        torch.set_num_threads(num_threads)
    return [find for find in tried if find is not None]


# -- for minutes ---------------------------------------------------------------------------------


class _TooSlow(BaseException):
    """A case took too much time of the processor."""


def _limited(path: Path) -> str | None:
    """`problem`, with a limit of time; what it takes of memory is limited for the process."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return problem(path)
    except _TooSlow:  # at the very end
        return "_TooSlow"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_slow(*_: object) -> None:
    raise _TooSlow


def _status(key: str) -> int:
    """Bytes, of this process."""
    found = re.search(rf"^{key}:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.M)
    assert found is not None
    return int(found[1]) << 10


def work(kind: str, seed: int, seconds: float, first: int, folder: Path, out: Path) -> None:
    """What the process of a kind does; it tells which case it tries, so that another process can go on behind it."""
    import os
    import resource

    torch.set_num_threads(1)
    torch.set_warn_always(True)
    samples, bench, until = samples_of(kind), Bench(folder / "models"), time.monotonic() + seconds
    os.chdir(folder)
    for sample in samples:
        assert (what := problem(bench.path(sample))) is None, what
    signal.signal(signal.SIGPROF, _too_slow)
    most = _status("VmSize") + GIGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    seen: Counter[str] = Counter()
    number, fixed = first, listed(kind, samples) if not first else iter(())
    while time.monotonic() < until:
        one = next(fixed, None) or case(samples, f"{seed}/{kind}/{number}")
        tell(f"{number} {one.sample.name}/{one.file}", folder)
        if find := bench.tried(one, _limited):
            seen[find.what.split(": ")[0]] += 1
            if seen[find.what.split(": ")[0]] <= 2:
                keep(find.case, f"{find.what}\nseed {seed}, kind {kind}, case {number}", out, f"{kind}-{seed}-{number}")
        number += 1
    print(json.dumps({"cases": number, "finds": seen}), flush=True)


def tell(what: str, folder: Path) -> None:
    """Say what is tried, for the other process, which reads it at any moment."""
    (folder / "case.new").write_text(what, encoding="utf-8")
    (folder / "case.new").replace(folder / "case")


def keep(case: Case, what: str, out: Path, name: str) -> None:
    """Write a find: the whole model as it was damaged, and what was wrong."""
    write(dataclasses.replace(case.sample, files={**case.sample.files, case.file: case.content}), out / name)
    (out / name / "FIND.txt").write_text(f"{what}\n{case.sample.name}: {case.file}\n", encoding="utf-8")
    print(f"{name}: {what}", flush=True)


def run(kind: str, seed: int, seconds: float, out: Path) -> None:
    """Fuzz a kind for some seconds, in processes that may crash or hang."""
    until, number = time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while (left := until - time.monotonic()) > 1:
            shutil.rmtree(folder / "models", ignore_errors=True)
            tell(f"{number} -", folder)
            arguments = [kind, str(seed), str(left), str(number), str(folder), str(out)]
            process = subprocess.Popen([sys.executable, __file__, "--work", *arguments])
            before = ""
            while True:
                try:
                    code = process.wait(_SILENCE)
                    break
                except subprocess.TimeoutExpired:
                    now = (folder / "case").read_text(encoding="utf-8")
                    if now == before:
                        process.kill()
                    before = now
            if code == 0:
                break
            told = (folder / "case").read_text(encoding="utf-8")
            number = int(told.split()[0]) + 1
            place = out / f"{kind}-{seed}-{number - 1}-crash"
            sample = folder / "models" / told.split(" ", 1)[1].split("/")[0]
            if sample.is_dir():
                shutil.copytree(sample, place, dirs_exist_ok=True)
            print(f"{place.name}: the process ended with {code} in case {told}", flush=True)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30, help="for all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="may be given several times; else all")
    parser.add_argument("--cases", type=int, help="so many of each kind, in this process and without limits")
    parser.add_argument("--finds", type=Path, default=Path("finds"), help="the folder that finds are kept in")
    chosen = parser.parse_args()
    kinds = chosen.kind or list(KINDS)
    if chosen.cases is not None:
        with tempfile.TemporaryDirectory() as folder:
            found = [finds(kind, Path(folder) / kind, seed=chosen.seed, count=chosen.cases) for kind in kinds]
        sys.exit("\n".join(find.what for of_kind in found for find in of_kind) or None)
    for kind in kinds:
        begun = time.monotonic()
        print(f"{kind} ...", flush=True)
        run(kind, chosen.seed, 60 * chosen.minutes / len(kinds), chosen.finds.resolve())
        print(f"{kind}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        kind_, seed_, seconds_, first_, folder_, out_ = sys.argv[2:]
        work(kind_, int(seed_), float(seconds_), int(first_), Path(folder_), Path(out_))
    else:
        main()
