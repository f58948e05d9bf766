# Copyright: (c) 2026, the digitalme.backup authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import os
import pathlib
import shutil
import socket
import subprocess
import tracemalloc

import pytest
from engine import errors, finding


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """An empty directory to search, on a host whose table of mounts has nothing but the root."""
    (tmp_path / "mounts").write_text("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n", encoding="ascii")
    monkeypatch.setattr(finding, "MOUNTS", str(tmp_path / "mounts"))
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


@pytest.fixture
def mount(tmp_path, tree):
    """mount(path, type): the table of mounts says so."""

    def add(path, kind):
        escaped = str(path).replace("\\", "\\134").replace(" ", "\\040").replace("\n", "\\012")
        with open(tmp_path / "mounts", "a", encoding="utf-8") as table:
            table.write(f"99 27 0:9 / {escaped} rw,relatime shared:1 - {kind} somewhere rw\n")

    return add


@pytest.fixture
def notes():
    return finding.Notes()


@pytest.fixture
def find(tree, notes):
    """find(roots, options) -> the paths found, relative to the tree and sorted."""

    def paths(*roots, **options):
        chosen = [str(root) for root in roots] or [str(tree)]
        return sorted(os.path.relpath(found.path, tree) for found in finding.find(chosen, notes, **options))

    return paths


@pytest.fixture
def put(tree, make_db):
    """put(name) -> path: a database in the tree."""
    template = make_db(tree.parent / "template.db")

    def copy(name):
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template, path)
        return path

    return copy


# --- what is a database ----------------------------------------------------------------------------------------------


def test_find_knows_a_database_by_its_content_whatever_its_name(put, find, notes, tree):
    put("app.db")
    put("deep/er/without suffix")
    (tree / "empty.db").touch()
    (tree / "text.db").write_text("SQLite format 3, but only in words. " * 40, encoding="ascii")
    (tree / "noise.db").write_bytes(os.urandom(8192))
    (tree / "short.db").write_bytes(b"SQLite")
    assert find() == ["app.db", "deep/er/without suffix"]
    assert notes.unreadable == 0
    assert notes.files == 6


def test_find_tells_header_and_facts_of_the_open_file(put, tree, notes):
    path = put("app.db")
    (found,) = finding.find([str(tree)], notes)
    assert found.header.page_size == 4096
    assert found.facts.st_size == path.stat().st_size
    assert found.identity == (path.stat().st_dev, path.stat().st_ino)


@pytest.mark.parametrize("damage", ["page size", "cut off"])
def test_find_names_what_only_begins_like_a_database(put, find, notes, damage):
    path = put("app.db")
    raw = bytearray(path.read_bytes())
    raw[16:18] = b"\x00\x03" if damage == "page size" else raw[16:18]
    path.write_bytes(raw[: 4095 if damage == "cut off" else None])
    assert find() == []
    assert (notes.unreadable, notes.examples[0]["path"]) == (1, str(path))
    assert "damaged or cut off" in notes.examples[0]["reason"]


@pytest.mark.parametrize("name", ["two\nlines.db", "quo'te\".db", b"caf\xe9.db", " \t.db", "-rf", "über.db"])
def test_find_takes_any_name_that_a_file_can_have(put, find, name):
    put(os.fsdecode(name))
    assert find() == [os.fsdecode(name)]


def test_find_leaves_out_what_is_smaller_than_asked(put, find):
    size = put("app.db").stat().st_size
    assert find(min_bytes=size) == ["app.db"]
    assert find(min_bytes=size + 1) == []


# --- what is touched -------------------------------------------------------------------------------------------------


def test_find_opens_nothing_but_directories_and_regular_files(put, find, tree, monkeypatch):
    put("app.db")
    os.mkfifo(tree / "fifo.db")
    (tree / "link.db").symlink_to(tree / "app.db")
    (tree / "device.db").symlink_to("/dev/zero")
    (tree / "turn").symlink_to(tree)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tree / "socket.db"))
    opened, real = [], os.open
    monkeypatch.setattr(
        finding.os, "open", lambda name, *rest, **more: (opened.append(name), real(name, *rest, **more))[1]
    )
    assert find() == ["app.db"]
    assert opened == [str(tree), "app.db"]


def test_file_that_became_a_link_is_not_followed(put, find, notes, tree, monkeypatch):
    path = put("app.db")
    elsewhere = put("../elsewhere.db")
    real = finding._open

    def open_late(name, flags, directory=None):
        if name == "app.db":
            path.unlink()
            path.symlink_to(elsewhere)
        return real(name, flags, directory)

    monkeypatch.setattr(finding, "_open", open_late)
    assert find() == []
    assert notes.unreadable == 0


@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_vanishes_during_the_search_is_no_problem(put, find, notes, tree, monkeypatch, what):
    put("gone/app.db")
    put("kept.db")
    real = finding._open

    def open_late(name, flags, directory=None):
        if what == "file" and name == "app.db":
            (tree / "gone" / "app.db").unlink()
        if what == "directory" and str(name).endswith("gone"):
            shutil.rmtree(tree / "gone")
        return real(name, flags, directory)

    monkeypatch.setattr(finding, "_open", open_late)
    assert find() == ["kept.db"]
    assert notes.unreadable == 0


def test_search_leaves_the_time_of_the_last_access_alone(put, find):
    path = put("app.db")
    os.utime(path, (1_000_000_000, 1_700_000_000))
    assert find() == ["app.db"]
    assert path.stat().st_atime == 1_000_000_000


def test_descriptors_are_closed_also_when_the_search_is_given_up(put, tree, notes):
    for number in range(5):
        put(f"{number}/app.db")
    before = len(os.listdir("/proc/self/fd"))
    search = finding.find([str(tree)], notes)
    next(search)
    search.close()
    assert len(list(finding.find([str(tree)], finding.Notes()))) == 5
    assert len(os.listdir("/proc/self/fd")) == before


# --- what cannot be read ---------------------------------------------------------------------------------------------


def _look(place):
    notes = finding.Notes()
    found = sorted(os.path.basename(one.path) for one in finding.find([str(place)], notes))
    return [found, notes.unreadable, sorted((row["path"], row["reason"]) for row in notes.examples)]


def test_what_cannot_be_read_is_counted_and_the_rest_is_found(open_place, make_db, as_nobody):
    # Not his own, so that he may not ask for O_NOATIME: it is read without.
    os.chmod(make_db(open_place / "open.db"), 0o644)
    os.chmod(make_db(open_place / "secret.db"), 0o600)
    (open_place / "closed").mkdir(mode=0o700)
    found, count, examples = as_nobody(lambda: _look(open_place))
    assert (found, count) == (["open.db"], 2)
    assert examples == [[str(open_place / name), "Permission denied"] for name in ("closed", "secret.db")]


def test_disk_error_while_reading_is_counted_with_its_reason(put, find, notes, monkeypatch):
    put("app.db")
    monkeypatch.setattr(finding.os, "read", lambda *_args: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    assert find() == []
    assert (notes.unreadable, notes.examples[0]["reason"]) == (1, "Input/output error")


def test_disk_error_while_listing_a_directory_is_counted_and_the_rest_is_found(put, find, notes, tree, monkeypatch):
    put("app.db")
    put("bad/other.db")
    inode, real = (tree / "bad").stat().st_ino, os.scandir

    def listed(descriptor):
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(5, "Input/output error")
        return real(descriptor)

    monkeypatch.setattr(finding.os, "scandir", listed)
    monkeypatch.setattr(finding.os, "supports_fd", {listed})
    assert find() == ["app.db"]
    assert notes.examples == [{"path": str(tree / "bad"), "reason": "Input/output error"}]


def test_examples_of_the_unreadable_are_a_few(notes):
    for number in range(3 * finding.EXAMPLES):
        notes.failed(f"/{number}", PermissionError(13, "Permission denied"))
    assert (notes.unreadable, len(notes.examples)) == (3 * finding.EXAMPLES, finding.EXAMPLES)


# --- size ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dig(tree):
    """dig(levels) -> descriptor of the lowest of so many directories; they are taken away at the end."""
    opened = []

    def make(levels):
        descriptor = os.open(tree, os.O_RDONLY)
        for _level in range(levels):
            os.mkdir("d", dir_fd=descriptor)
            lower = os.open("d", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = lower
        opened.append(descriptor)
        return descriptor

    yield make
    for descriptor in opened:
        os.close(descriptor)
    subprocess.run(["rm", "-rf", str(tree)], check=True)


def test_tree_deeper_than_any_stack_is_searched(dig, put, find, tree):
    lowest = dig(1300)
    os.link(put("app.db"), "app.db", dst_dir_fd=lowest)
    assert len(find()) == 2


def test_tree_deeper_than_any_path_is_counted_and_the_rest_is_found(dig, put, find, notes):
    put("app.db")
    dig(2200)
    assert find() == ["app.db"]
    assert (notes.unreadable, notes.examples[0]["reason"]) == (1, "File name too long")


def test_memory_does_not_grow_with_the_number_of_files(put, find, tree):
    put("app.db")
    for number in range(4000):
        (tree / f"{number:06d}").touch()
    find(tree / "app.db")  # What is loaded once does not count.
    tracemalloc.start()
    try:
        assert find() == ["app.db"]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000


# --- roots -----------------------------------------------------------------------------------------------------------


def test_roots_given_twice_nested_or_by_a_link_are_searched_once(put, find, notes, tree):
    put("a/b/app.db")
    put("a/other.db")
    (tree / "link").symlink_to(tree / "a")
    assert find(tree, tree / "a", tree / "link", tree / "a" / "b", tree) == ["a/b/app.db", "a/other.db"]
    assert [row["path"] for row in notes.roots] == [str(tree), str(tree / "a"), str(tree / "a" / "b")]
    assert notes.files == 2


def test_root_may_be_a_file(put, find, notes, tree):
    assert find(put("app.db")) == ["app.db"]
    assert find(tree.parent / "mounts") == []
    assert notes.unreadable == 0


def test_root_that_cannot_be_searched_says_why_and_the_others_are(put, find, notes, tree):
    put("app.db")
    os.mkfifo(tree.parent / "fifo")
    assert find(tree / "missing", tree.parent / "fifo", tree) == ["app.db"]
    problems = ["No such file or directory", "it is neither a directory nor a regular file", None]
    assert [row["problem"] for row in notes.roots] == problems


def test_filesystem_root_gives_paths_with_one_slash(notes, monkeypatch):
    monkeypatch.setattr(finding, "_to_enter", lambda path, _rules, _notes: seen.append(path))
    seen = []
    assert list(finding.find(["/"], notes, min_bytes=1 << 60)) == []
    assert seen and all(path.startswith("/") and not path.startswith("//") for path in seen)


@pytest.mark.parametrize(
    "roots, cause",
    [([], "no directory to search"), (["srv"], "absolute"), (["/srv", "./x"], "absolute"), (["/a\0b"], "NUL")],
)
def test_roots_that_are_of_no_use_are_refused(notes, roots, cause):
    with pytest.raises(errors.UsageError, match=cause):
        list(finding.find(roots, notes))


def test_system_without_descriptors_of_directories_is_refused(notes, tree, monkeypatch):
    monkeypatch.setattr(finding.os, "supports_fd", set())
    with pytest.raises(errors.UsageError, match="POSIX"):
        list(finding.find([str(tree)], notes))


# --- what is left out ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern, kept",
    [
        ("app.db", ["cache/old/x.db", "keep.db"]),
        ("*.db", []),
        ("old", ["app.db", "cache/app.db", "keep.db"]),
        ("TREE/cache", ["app.db", "keep.db"]),
        ("TREE/cache/", ["app.db", "keep.db"]),
        ("*/cache/*", ["app.db", "keep.db"]),
        ("*/old/x.db", ["app.db", "cache/app.db", "keep.db"]),
        ("[ak]*.db", ["cache/old/x.db"]),
        ("APP.db", ["app.db", "cache/app.db", "cache/old/x.db", "keep.db"]),
    ],
)
def test_excludes_are_names_or_whole_paths(put, find, tree, pattern, kept):
    for name in ("app.db", "keep.db", "cache/app.db", "cache/old/x.db"):
        put(name)
    assert find(excludes=[pattern.replace("TREE", str(tree))]) == kept


def test_several_excludes_hold_together(put, find, tree):
    for name in ("a.db", "b.db", "c/d.db", "e/f.db"):
        put(name)
    assert find(excludes=["a.*", "*/c", str(tree / "e" / "*")]) == ["b.db"]


@pytest.mark.parametrize("pattern", ["", "/", "cache/old", "./cache"])
def test_pattern_that_matches_nothing_is_refused(find, pattern):
    with pytest.raises(errors.UsageError, match="matches nothing"):
        find(excludes=[pattern])


def test_layers_of_containers_are_left_out_and_their_volumes_are_searched(put, find, tree):
    for name in (
        "docker/overlay2/1f/diff/app.db",
        "docker/volumes/shop/_data/docker.db",
        "containers/storage/overlay/1f/diff/app.db",
        "containers/storage/overlay-containers/1f/userdata/app.db",
        "containers/storage/volumes/shop/_data/podman.db",
        "containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs/app.db",
        "home/.snapshots/1/snapshot/app.db",
    ):
        put(name)
    assert find() == ["containers/storage/volumes/shop/_data/podman.db", "docker/volumes/shop/_data/docker.db"]
    assert find(tree / "docker" / "overlay2") == ["docker/overlay2/1f/diff/app.db"]


@pytest.mark.parametrize("kind", ["nfs4", "fuse.sshfs", "overlay", "autofs", "proc", "squashfs"])
def test_networks_and_filesystems_without_files_are_not_touched(put, find, notes, mount, tree, monkeypatch, kind):
    put("app.db")
    put("mnt/with blank/other.db")
    mount(tree / "mnt" / "with blank", kind)
    opened, real = [], finding._open

    def noted(name, *rest):
        opened.append(name)
        return real(name, *rest)

    monkeypatch.setattr(finding, "_open", noted)
    assert find() == ["app.db"]
    assert notes.skipped == [{"path": str(tree / "mnt" / "with blank"), "type": kind}]
    assert not any("blank" in str(name) for name in opened)


def test_local_filesystems_are_entered_and_the_last_mount_counts(put, find, notes, mount, tree):
    put("disk/app.db")
    put("automatic/app.db")
    put("covered/app.db")
    mount(tree / "disk", "xfs")
    mount(tree / "automatic", "autofs")
    mount(tree / "automatic", "ext4")
    mount(tree / "covered", "ext4")
    mount(tree / "covered", "nfs")
    assert find() == ["automatic/app.db", "disk/app.db"]
    assert notes.skipped == [{"path": str(tree / "covered"), "type": "nfs"}]


def test_root_on_a_network_is_searched_and_one_of_the_kernel_is_not(put, find, notes, mount, tree):
    put("net/below/app.db")
    put("kernel/below/app.db")
    mount(tree / "net", "nfs4")
    mount(tree / "kernel", "sysfs")
    assert find(tree / "net" / "below", tree / "kernel" / "below") == ["net/below/app.db"]
    assert "filesystem of the kernel (sysfs)" in notes.roots[1]["problem"]


def test_host_without_a_table_of_mounts_is_searched(put, find, monkeypatch):
    put("app.db")
    monkeypatch.setattr(finding, "MOUNTS", "/nowhere")
    assert find() == ["app.db"]


def test_table_of_mounts_of_this_host_is_read():
    found = finding.mounts()
    assert found["/proc"] == "proc" and "/" in found


def test_same_filesystem_does_not_enter_another_one(put, find, tree, monkeypatch):
    put("app.db")
    put("other/app.db")
    inode, real = (tree / "other").stat().st_ino, os.fstat

    class Elsewhere:
        def __init__(self, facts):
            self.st_mode, self.st_dev = facts.st_mode, facts.st_dev + 1

    def fstat(descriptor):
        facts = real(descriptor)
        return Elsewhere(facts) if facts.st_ino == inode else facts

    monkeypatch.setattr(finding.os, "fstat", fstat)
    assert find() == ["app.db", "other/app.db"]
    assert find(same_filesystem=True) == ["app.db"]
    assert find(tree / "other", same_filesystem=True) == ["other/app.db"]


def test_patterns_that_always_hold_are_documented():
    module = pathlib.Path(finding.__file__).parents[2] / "modules" / "sqlite_discover.py"
    text = module.read_text(encoding="utf-8")
    assert [pattern for pattern in finding.EXCLUDES if f"C({pattern})" not in text] == []
