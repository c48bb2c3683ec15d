"""Folders and zips: what is found in them, and what is never read."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import published
import tiny
from lowtide.errors import LowtideError, MissingPathError, ModelError
from lowtide.weights.sources import Files, Zip, read_object, read_text
from published import WORDS, nlpl_files, opened, write_pair, write_zip

COMPRESSIONS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """Of a model in the NLPL repository."""
    return nlpl_files(write_pair(tmp_path_factory.mktemp("pair"), words=WORDS))


@pytest.fixture(scope="module")
def checksum(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the same model, read from its folder."""
    return opened(write_pair(tmp_path_factory.mktemp("pair"))).checksum


def under(folder: str, files: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(folder + name, content) for name, content in files]


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        opened(path)
    assert str(path) in str(error.value)
    return str(error.value)


# -- zips as they are published ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compression", "inside"),
    [
        ("stored", ""),
        ("stored", "171/"),
        ("deflated", ""),
        ("deflated", "models/171/"),
        ("bzip2", "模型/"),
        ("lzma", ""),
    ],
)
def test_a_zip_is_read_in_place(
    compression: str, inside: str, files: list[tuple[str, bytes]], checksum: str, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "171.zip", under(inside, files), COMPRESSIONS[compression])
    elmo = opened(path)
    assert elmo.checksum == checksum and elmo.knows("退了") and not elmo.knows("moon")
    assert "Wikipedia dump of 2018" in elmo.stored.card and elmo.stored.path == path
    assert list(tmp_path.iterdir()) == [path]


def test_a_zip_without_its_vocabulary_is_read(files: list[tuple[str, bytes]], checksum: str, tmp_path: Path) -> None:
    kept = [(name, content) for name, content in files if name != "vocab.txt"]
    assert opened(write_zip(tmp_path / "171.zip", kept)).checksum == checksum


def test_a_zip_gives_the_vectors_of_the_reference(files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    expected = published.expected_layers(published.published(), published.SENTENCES)
    found = opened(write_zip(tmp_path / "171.zip", files)).embed_layers(published.SENTENCES)
    published.assert_agree(found, expected)


def test_a_zip_of_a_model_of_words_is_read(tmp_path: Path) -> None:
    model = published.published(published.WORD_CONFIG)
    written = nlpl_files(write_pair(tmp_path / "pair", model, words=WORDS))
    sentences = [["the", "moon", "退了"]]
    found = opened(write_zip(tmp_path / "171.zip", written)).embed_layers(sentences)
    published.assert_agree(found, published.expected_layers(model, sentences, WORDS))


@pytest.mark.parametrize(
    "others",
    [
        ["171/notes/of/somebody.txt"],
        ["171/", "171/notes/"],
        ["__MACOSX/171/._options.json", "__MACOSX/171/._model.hdf5", "__MACOSX/._171"],
        [".DS_Store", "171/.DS_Store"],
        ["./171/x.txt", "171/a..b", "171/..."],
    ],
)
def test_what_else_lies_in_a_zip_does_no_harm(
    others: list[str], files: list[tuple[str, bytes]], checksum: str, tmp_path: Path
) -> None:
    strangers = [(name, b"" if name.endswith("/") else b"x") for name in others]
    path = write_zip(tmp_path / "171.zip", [*strangers, *under("171/", files)])
    assert opened(path).checksum == checksum


def test_what_a_file_manager_leaves_beside_the_model_does_no_harm(
    files: list[tuple[str, bytes]], checksum: str, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "171.zip", [*files, ("__MACOSX/._options.json", b"x"), ("._model.hdf5", b"x")])
    assert opened(path).checksum == checksum


# -- zips that nobody means well with ------------------------------------------------------------

LEADING_OUT = [
    "../options.json",
    "a/../../evil",
    "a/..",
    "..",
    "/etc/passwd",
    "//server/share",
    "\\abs",
    "\\\\server\\share",
    "..\\evil",
    "a\\..\\evil",
    "C:/x",
    "C:\\x",
]


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_name_that_leads_out_of_the_zip_is_refused(name: str, files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    said = refusal(write_zip(tmp_path / "171.zip", [*files, (name, b"x")]))
    assert "leads out" in said
    assert [path.name for path in tmp_path.iterdir()] == ["171.zip"]


def test_a_link_is_refused(files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "171.zip", [(name, content) for name, content in files if name != "vocab.txt"])
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("vocab.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "vocab.txt is a link" in refusal(path)


@pytest.mark.parametrize("name", ["options.json", "./options.json", "model.hdf5", "meta.json"])
def test_a_name_that_stands_twice_is_refused(name: str, files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    said = refusal(write_zip(tmp_path / "171.zip", [*files, (name, b"{}")]))
    assert f"{name.removeprefix('./')} stands in the zip twice" in said


@pytest.mark.parametrize("name", ["model.hdf5", "vocab.txt", "meta.json"])
def test_a_file_that_swells_is_refused_before_it_is_unpacked(
    name: str, files: list[tuple[str, bytes]], tmp_path: Path
) -> None:
    others = [(other, content) for other, content in files if other != name]
    said = refusal(write_zip(tmp_path / "171.zip", [*others, (name, bytes(8_000_000))]))
    assert f"{name} would swell" in said and "8,000,000" in said


def test_a_file_that_hides_how_it_swells_is_refused(files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    others = [(name, content) for name, content in files if name != "model.hdf5"]
    path = write_zip(tmp_path / "171.zip", [*others, ("model.hdf5", bytes(8_000_000))])
    patch(path, "model.hdf5", PACKED_SIZE, struct.pack("<I", 100_000))  # "packed" is what it says, not what it has
    assert "model.hdf5 is said to reach beyond the end" in refusal(path)


def test_a_file_that_is_larger_than_the_zip_says_is_refused(files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "171.zip", files)
    patch(path, "model.hdf5", SIZE, struct.pack("<I", 1000))
    assert "model.hdf5" in refusal(path)


def test_an_encrypted_zip_is_refused(files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "171.zip", files)
    for name, _ in files:
        patch(path, name, FLAGS, b"\1\0")
    said = refusal(path)
    assert "encrypted" in said and said.count("damaged") <= 1


def test_a_compression_that_nobody_knows_is_refused(files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "171.zip", files)
    patch(path, "options.json", METHOD, struct.pack("<H", 97))
    assert "options.json cannot be unpacked" in refusal(path)


FLAGS, METHOD, PACKED_SIZE, SIZE = 8, 10, 20, 24
"""Where they stand in an entry of a zip's directory."""


def patch(path: Path, name: str, offset: int, value: bytes) -> None:
    """Change what the directory of a zip says of a file; flags and method stand before the file, too."""
    content = bytearray(path.read_bytes())
    entry = next(
        at
        for at in _all(content, b"PK\1\2")
        if content[at + 46 : at + 46 + struct.unpack_from("<H", content, at + 28)[0]] == name.encode()
    )
    content[entry + offset : entry + offset + len(value)] = value
    [local] = struct.unpack_from("<I", content, entry + 42)
    if offset in (FLAGS, METHOD):
        content[local + offset - 2 : local + offset - 2 + len(value)] = value
    path.write_bytes(content)


def _all(content: bytearray, mark: bytes) -> list[int]:
    places, at = [], content.find(mark)
    while at >= 0:
        places.append(at)
        at = content.find(mark, at + 1)
    return places


# -- zips that are damaged -----------------------------------------------------------------------


def test_a_zip_that_was_cut_off_anywhere_is_refused(files: list[tuple[str, bytes]], tmp_path: Path) -> None:
    path = write_zip(tmp_path / "171.zip", files)
    whole = path.read_bytes()
    for kept in [*range(0, 60), *range(60, len(whole), 401), *range(len(whole) - 60, len(whole))]:
        path.write_bytes(whole[:kept])
        refusal(path)


def test_a_zip_in_which_bits_have_changed_is_refused_or_the_same(
    files: list[tuple[str, bytes]], checksum: str, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "171.zip", files)
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(80):
        damaged = bytearray(whole)
        damaged[generator.integers(len(whole))] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        try:
            assert opened(path).checksum == checksum
        except LowtideError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip", b"PK\5\6" + bytes(18)])
def test_a_zip_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "171.zip").write_bytes(content)
    refusal(tmp_path / "171.zip")


def test_a_zip_that_holds_no_model_says_what_it_holds(tmp_path: Path) -> None:
    said = refusal(write_zip(tmp_path / "171.zip", [("model.txt", b"3 2\n"), ("README", b"")]))
    assert "README, model.txt" in said


def test_a_packed_folder_of_ours_is_to_be_unpacked(saved_bytes: tiny.Saved, tmp_path: Path) -> None:
    files = [(path.name, path.read_bytes()) for path in saved_bytes.folder.iterdir()]
    assert "unpack it" in refusal(write_zip(tmp_path / "ours.zip", files))


# -- the parts -----------------------------------------------------------------------------------


def test_names_are_those_of_files_alone_sorted(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "c").mkdir()
    source = Files.in_folder(tmp_path)
    assert (
        source.names == ["a", "b"] and source.file("b") == tmp_path / "b" and source.shown("b") == str(tmp_path / "b")
    )
    with source.open("b") as file:
        assert file.read() == b"2"


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    source = Files(tmp_path, {"a": tmp_path / "gone"})
    with pytest.raises(MissingPathError, match="gone"):
        source.open("a")


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(LowtideError, match="Permission denied"):
        opened(tmp_path)


def test_a_packed_file_lies_nowhere_and_can_be_read_twice(tmp_path: Path) -> None:
    source = Zip(write_zip(tmp_path / "x.zip", [("a/b.txt", b"tide")]))
    assert source.names == ["b.txt"] and source.file("b.txt") is None
    for _ in range(2):
        with source.open("b.txt") as file:
            assert file.seek(1) == 1 and file.read() == b"ide"


def test_a_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("mañana".encode("latin-1"))
    with pytest.raises(ModelError, match=r"a\.txt is not UTF-8"):
        read_text(Files.in_folder(tmp_path), "a.txt")


def test_a_text_beyond_all_measure_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowtide.weights.sources.MAX_TEXT", 10)
    (tmp_path / "a.txt").write_bytes(b"x" * 11)
    with pytest.raises(ModelError, match=r"a\.txt has more than 10 bytes"):
        read_text(Files.in_folder(tmp_path), "a.txt")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1, 2]",
        '"options"',
        "7",
        "null",
        "NaN",
        "\ufeff{}",
        "[" * 100_000,
        '{"lstm": ' * 100_000,
        '{"lstm": ' + "9" * 5000 + "}",
        "{'lstm': 1}",
    ],
    ids=range(12),
)
def test_a_text_that_is_no_object_is_refused_wherever_it_lies(text: str, tmp_path: Path) -> None:
    (tmp_path / "options.json").write_text(text, encoding="utf-8")
    packed = Zip(write_zip(tmp_path / "x.zip", [("options.json", text.encode())]))
    for source in (Files(tmp_path, {"options.json": tmp_path / "options.json"}), packed):
        with pytest.raises(ModelError) as error:
            read_object(source, "options.json")
        assert source.shown("options.json") in str(error.value) and len(str(error.value)) < 1000


def test_an_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(json.dumps(published.META), encoding="utf-8")
    assert read_object(Files.in_folder(tmp_path), "meta.json") == published.META


def test_a_text_that_is_not_utf_8_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "options.json").write_bytes(b'{"\xff": 1}')
    with pytest.raises(ModelError) as error:
        read_object(Files.in_folder(tmp_path), "options.json")
    assert str(error.value).count("options.json") == 1
