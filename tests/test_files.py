import errno
import hashlib
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowtide.errors import InputError, MissingPathError, ModelError, WriteError
from lowtide.files import (
    explained,
    folder_size,
    read_json,
    remove,
    sha256,
    write_json,
    write_text,
    written_alone,
    written_whole,
)

claim = settings(derandomize=True, deadline=None)


class _Stop(Exception):
    """What a test stops a writer with."""


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_folder(path: Path, *names: str) -> None:
    with written_whole(path) as beside:
        for name in names:
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_text(name, encoding="utf-8")


# -- files ---------------------------------------------------------------------------------------


def test_a_folder_that_has_no_name_is_not_written_over() -> None:
    for path in (Path(), Path("/")):
        with pytest.raises(WriteError, match="Is a directory"), written_alone(path):
            raise AssertionError("nothing is written")


def test_a_file_is_written(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "潮水退了\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "潮水退了\n"


def test_writing_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "new")
    assert names_in(tmp_path) == ["a.txt"]


def test_a_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "new"


def test_the_old_file_stands_while_the_new_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with written_whole(path) as beside:
        beside.write_text("half of the n", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("stop", [_Stop, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, stop: type[BaseException]) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(stop), written_whole(tmp_path / "a.txt") as beside:
        beside.write_text("half of the n", encoding="utf-8")
        raise stop
    assert names_in(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"


def test_a_failure_before_the_first_byte_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(_Stop), written_whole(tmp_path / "a.txt"):
        raise _Stop
    assert names_in(tmp_path) == []


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    program = (
        "import os, sys; from pathlib import Path; from lowtide.files import written_whole\n"
        "with written_whole(Path(sys.argv[1])) as beside:\n"
        "    beside.write_text('half of the n'); os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert path.read_text(encoding="utf-8") == "old"


def test_what_a_killed_process_left_does_not_get_into_the_new_folder(tmp_path: Path) -> None:
    with written_whole(tmp_path / "model") as beside:
        beside.mkdir()
    stale = beside  # the name is the same as long as the process number is
    stale.mkdir()
    (stale / "left").write_text("", encoding="utf-8")
    write_folder(tmp_path / "model", "a.txt")
    assert names_in(tmp_path / "model") == ["a.txt"]


def test_parents_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "new")
    assert (tmp_path / "a" / "b" / "c.txt").is_file()


def test_a_parent_that_is_a_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(WriteError, match=r"cannot write .*file/a\.txt".replace("/", "[/\\\\]+")):
        write_text(tmp_path / "file" / "a.txt", "new")


def test_a_folder_where_a_file_is_to_stand_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(WriteError, match="cannot write"):
        write_text(tmp_path / "a.txt", "new")
    assert names_in(tmp_path) == ["a.txt"]


def test_a_folder_without_rights_is_a_write_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(WriteError, match="Permission denied"):
        write_text(tmp_path / "a.txt", "new")


def test_a_file_that_cannot_grow_is_a_write_error_and_the_old_one_stays(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no limits of file sizes")
    write_text(tmp_path / "a.txt", "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(WriteError, match="cannot write"):
            write_text(tmp_path / "a.txt", "new" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names_in(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize(
    ("number", "content"), [(errno.ENOSPC, "old"), (errno.EIO, "old"), (errno.EINVAL, "new"), (errno.EBADF, "new")]
)
def test_a_file_takes_its_place_unless_the_system_says_that_bytes_were_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, content: str
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, "refused")

    write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, "fsync", refuse)
    with suppress(WriteError):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == content


@pytest.fixture
def full_device(tmp_path: Path) -> Path:
    """A link, so that no mistake can replace the device itself."""
    if not Path("/dev/full").is_char_device():
        pytest.skip("this system has no /dev/full")
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    return link


def test_a_full_device_is_a_write_error(full_device: Path) -> None:
    with pytest.raises(WriteError, match="No space left"):
        write_text(full_device, "new")


def test_a_device_is_written_to_and_not_replaced(full_device: Path) -> None:
    with pytest.raises(WriteError):
        write_text(full_device, "new")
    assert stat.S_ISCHR(full_device.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="links want rights there")
def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "a.txt", tmp_path / "link.txt"
    write_text(target, "old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new"


def test_a_line_feed_stays_a_line_feed_on_every_system(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == b"a\nb\n"


# -- alone ---------------------------------------------------------------------------------------


def test_what_a_killed_process_left_beside_a_file_is_removed_by_the_next_one(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from lowtide.files import written_alone\n"
        "with written_alone(Path(sys.argv[1])) as beside:\n"
        "    beside.write_text('half of the n'); os._exit(1)"
    )
    path = tmp_path / "a[1].txt"
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert names_in(tmp_path) != []
    for name in (".a1.txt.7.part", ".a[1].txt.b.7.part"):
        write_text(tmp_path / name, "of another file")
    with written_alone(path) as beside:
        beside.write_text("new", encoding="utf-8")
    assert names_in(tmp_path) == [".a1.txt.7.part", ".a[1].txt.b.7.part", "a[1].txt"]
    assert path.read_text(encoding="utf-8") == "new"


def test_two_processes_do_not_write_one_file_together(tmp_path: Path) -> None:
    with written_alone(tmp_path / "a.txt") as beside:
        beside.write_text("first", encoding="utf-8")
        with (
            pytest.raises(InputError, match=r"another process writes .*a\.txt: wait for it"),
            written_alone(tmp_path / "a.txt"),
        ):
            pass
    assert (names_in(tmp_path), (tmp_path / "a.txt").read_text(encoding="utf-8")) == (["a.txt"], "first")


def test_a_device_is_written_to_alone_without_a_lock(full_device: Path) -> None:
    with written_alone(full_device) as beside:
        assert beside == full_device
    assert names_in(full_device.parent) == ["full"]


# -- folders -------------------------------------------------------------------------------------


def test_a_folder_is_replaced_by_the_new_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", "old.txt")
    write_folder(tmp_path / "model", "new.txt")
    assert names_in(tmp_path / "model") == ["new.txt"]


def test_a_replaced_folder_leaves_nothing_beside(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", "old.txt")
    write_folder(tmp_path / "model", "new.txt")
    assert names_in(tmp_path) == ["model"]


def test_a_folder_may_hold_folders(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", "a.txt", "tokenizer/b.txt")
    assert (tmp_path / "model" / "tokenizer" / "b.txt").is_file()


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    write_folder(tmp_path / "model", "old.txt")
    with pytest.raises(_Stop), written_whole(tmp_path / "model") as beside:
        beside.mkdir()
        (beside / "new.txt").write_text("", encoding="utf-8")
        raise _Stop
    assert names_in(tmp_path) == ["model"]
    assert names_in(tmp_path / "model") == ["old.txt"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "model", "old.txt")
    replace = Path.replace

    def refuse_new(self: Path, target: Path) -> Path:
        if (self / "new.txt").exists():
            raise PermissionError(13, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse_new)
    with pytest.raises(WriteError):
        write_folder(tmp_path / "model", "new.txt")
    assert names_in(tmp_path / "model") == ["old.txt"]


def test_a_folder_does_not_replace_a_file(tmp_path: Path) -> None:
    write_text(tmp_path / "model", "a file that somebody wrote")
    with pytest.raises(WriteError):
        write_folder(tmp_path / "model", "new.txt")
    assert (tmp_path / "model").read_text(encoding="utf-8") == "a file that somebody wrote"


# -- the rest ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [WriteError, MissingPathError])
def test_an_error_of_ours_is_not_explained_again(tmp_path: Path, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"^what it was$"), explained(tmp_path):
        raise kind("what it was")


def test_an_error_that_is_not_of_the_system_passes(tmp_path: Path) -> None:
    with pytest.raises(_Stop), explained(tmp_path):
        raise _Stop


def test_a_file_is_removed(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "")
    remove(tmp_path / "a.txt")
    assert names_in(tmp_path) == []


def test_a_folder_is_removed_with_all_in_it(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "")
    remove(tmp_path / "a")
    assert names_in(tmp_path) == []


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove(tmp_path / "nothing")


@pytest.mark.skipif(sys.platform == "win32", reason="links want rights there")
def test_removing_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    remove(tmp_path / "link")
    assert names_in(tmp_path) == ["a"]
    assert names_in(tmp_path / "a") == ["b.txt"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=10,
)


@settings(claim, max_examples=30)
@given(json_values)
def test_json_reads_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_can_be_read_by_people(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"word": "潮水"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "word": "潮水"\n}\n'


@pytest.mark.parametrize("name", ["nothing.json", "file/nothing.json"])
def test_json_that_is_not_there_is_a_missing_path(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(MissingPathError, match="is not there"):
        read_json(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1} b', b"\xff\xfe{}", b"\x00\x01"])
def test_json_that_is_damaged_is_a_model_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.json is not JSON"):
        read_json(tmp_path / "config.json")


def test_sha256_is_the_checksum_of_the_bytes(tmp_path: Path) -> None:
    content = os.urandom(100_000)
    (tmp_path / "a.bin").write_bytes(content)
    assert sha256(tmp_path / "a.bin") == hashlib.sha256(content).hexdigest()


def test_the_size_of_a_folder_counts_the_files_in_its_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "12345")
    write_text(tmp_path / "b" / "c.txt", "123")
    assert folder_size(tmp_path) == 8
