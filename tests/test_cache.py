# pyright: basic
"""The disk cache: what goes in comes out, and nothing that happens to the folder is an error."""

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from gradloom.runtime import cache
from gradloom.runtime.cache import DiskCache

from .processes import run


def entry(store: DiskCache) -> Path:
    (found,) = store.directory.glob("*.entry")
    return found


def test_what_is_put_is_got(tmp_path: Path) -> None:
    store = DiskCache(tmp_path)
    assert store.get("key") is None
    store.put("key", b"object code")
    store.put("empty", b"")
    assert store.get("key") == b"object code"
    assert store.get("empty") == b""
    assert DiskCache(tmp_path).get("key") == b"object code"
    store.put("key", b"newer")
    assert store.get("key") == b"newer"


def test_any_text_is_a_key(tmp_path: Path) -> None:
    store = DiskCache(tmp_path)
    keys = ["../../escape", "a/b", "", "x" * 5000, "übung", "nul\0"]
    for number, key in enumerate(keys):
        store.put(key, bytes([number]))
    assert [store.get(key) for key in keys] == [bytes([n]) for n in range(len(keys))]
    assert all(path.parent == store.directory for path in tmp_path.rglob("*.entry"))


@pytest.mark.parametrize("damage", ["flip", "truncate", "header", "grow", "nothing", "rename"])
def test_a_damaged_entry_is_a_miss_and_goes(tmp_path: Path, damage: str) -> None:
    store = DiskCache(tmp_path)
    store.put("key", b"object code " * 100)
    path = entry(store)
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "header":
        path.write_bytes(b"X" + content[1:])
    elif damage == "grow":
        path.write_bytes(content + b"\0")
    elif damage == "nothing":
        path.write_bytes(b"")
    else:
        path.rename(path.with_name("other.entry"))
    key = "other" if damage == "rename" else "key"
    assert store.get(key) is None
    assert not list(store.directory.glob("*.entry"))
    store.put(key, b"again")
    assert store.get(key) == b"again"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_folder_is_private(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir(mode=0o777)
    (tmp_path / "objects").chmod(0o777)
    store = DiskCache(tmp_path)
    store.put("key", b"data")
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry(store).stat().st_mode) & 0o077 == 0
    fresh = DiskCache(tmp_path / "new")
    fresh.put("key", b"data")
    assert stat.S_IMODE(fresh.directory.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links and owners")
def test_links_and_foreign_folders_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "objects").symlink_to(elsewhere)
    store = DiskCache(tmp_path / "linked")
    store.put("key", b"data")
    assert store.get("key") is None and not list(elsewhere.iterdir())

    foreign = DiskCache(tmp_path / "foreign")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    foreign.put("key", b"data")
    assert foreign.get("key") is None


def test_an_impossible_folder_costs_only_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = DiskCache(tmp_path / "file" / "below")
    store.put("key", b"data")
    assert store.get("key") is None
    store.clear()


def test_a_folder_that_vanishes_costs_only_the_cache(tmp_path: Path) -> None:
    store = DiskCache(tmp_path)
    store.put("key", b"data")
    entry(store).unlink()
    store.directory.rmdir()
    assert store.get("key") is None
    store.put("key", b"data")
    store.clear()


def test_it_is_bounded_and_the_longest_unused_goes_first(tmp_path: Path) -> None:
    store = DiskCache(tmp_path, limit=10_000)
    for number in range(8):
        store.put(f"k{number}", bytes(1000))
        os.utime(store._path(f"k{number}"), (1000 + number, 1000 + number))
    assert store.get("k0") is not None  # now the youngest
    store.put("k8", bytes(1000))
    store.put("k9", bytes(1000))
    held = sum(path.stat().st_size for path in store.directory.iterdir())
    assert held <= 10_000
    assert store.get("k1") is None
    assert store.get("k0") is not None and store.get("k9") is not None


def test_clear_leaves_what_is_not_ours(tmp_path: Path) -> None:
    store = DiskCache(tmp_path)
    (tmp_path / "precious.entry").write_text("not ours")
    store.put("key", b"data")
    store.clear()
    assert store.get("key") is None
    assert not list(store.directory.iterdir())
    assert (tmp_path / "precious.entry").exists()


def test_readers_never_see_half_an_entry(tmp_path: Path) -> None:
    values = [bytes([n]) * 200_000 for n in range(4)]
    seen: set[bytes | None] = set()
    DiskCache(tmp_path).put("key", values[0])

    def write() -> None:
        store = DiskCache(tmp_path)
        for n in range(40):
            store.put("key", values[n % 4])

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    reader = DiskCache(tmp_path)
    while any(writer.is_alive() for writer in writers):
        seen.add(reader.get("key"))
    assert seen <= set(values)
    assert not list(reader.directory.glob("*.tmp"))


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADLOOM_CACHE_DIR", str(tmp_path / "own"))
    assert cache.default_directory() == tmp_path / "own"
    monkeypatch.delenv("GRADLOOM_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.default_directory() == tmp_path / "xdg" / "gradloom"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the standard
    assert cache.default_directory() == tmp_path / ".cache" / "gradloom"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.default_directory() == tmp_path / "Library" / "Caches" / "gradloom"


def test_a_fork_while_a_thread_is_in_the_cache(tmp_path: Path) -> None:
    """As the thread is that makes the launcher while passes run."""
    code = """
        import os, signal, threading
        from gradloom.runtime.cache import default_cache
        cache = default_cache()
        inside, out = threading.Event(), threading.Event()
        evict = cache._evict

        def slow():
            inside.set()
            out.wait(20)
            return evict()

        cache._evict = slow
        thread = threading.Thread(target=cache.put, args=("a", b"1"))
        thread.start()
        inside.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            cache._evict = evict
            cache.put("b", b"2")
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        out.set()
        thread.join()
        print(status, cache.get("a"), cache.get("b"))
    """
    assert run(code, GRADLOOM_CACHE_DIR=str(tmp_path)).split() == ["0", "b'1'", "b'2'"]
