"""A small cache of bytes on disk: compiled object code, kept between processes.

What it holds is executed, so the folder must belong to this user and be closed to everybody else.
An entry starts with a checksum over its key and its bytes: a truncated, damaged or renamed entry is
a miss and is removed. Writing is a rename, so readers never see half an entry. A folder that cannot
be used (read-only home, full disk, foreign owner) costs the cache and nothing else: no method
raises `OSError`.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

FORMAT = b"gradloom object 1\n"
DEFAULT_LIMIT = 512 << 20
_HEADER = len(FORMAT) + hashlib.sha256().digest_size
_KEY = re.compile(r"[0-9A-Za-z_.-]{1,120}")
_SUFFIX = ".entry"


def default_directory() -> Path:
    """`GRADLOOM_CACHE_DIR`, else gradloom's folder in the platform's place for user caches."""
    chosen = os.environ.get("GRADLOOM_CACHE_DIR")
    if chosen:
        return Path(chosen)
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        return (
            Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
            / "gradloom"
            / "cache"
        )
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "gradloom"
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else home / ".cache") / "gradloom"


class DiskCache:
    """Bytes by key in one private folder, at most `limit` of them: the longest unused go first."""

    def __init__(
        self, directory: str | os.PathLike[str] | None = None, limit: int = DEFAULT_LIMIT
    ) -> None:
        # A folder of our own below the one named: a user may name a shared one, and we must neither
        # close that to others nor clear it.
        self.directory = Path(directory or default_directory()) / "objects"
        self.limit = limit
        self._lock = threading.Lock()
        self._usable: bool | None = None
        self._size: int | None = None  # estimate of the bytes held; None: not counted yet

    def get(self, key: str) -> bytes | None:
        """The bytes stored under `key`; None when there are none or they are damaged."""
        if not self._open():
            return None
        path = self._path(key)
        try:
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            with open(os.open(path, flags), "rb") as file:
                content = file.read()
        except OSError:
            return None
        data = content[_HEADER:]
        if content[:_HEADER] != _header(key, data):
            _remove(path)
            return None
        with suppress(OSError):  # removed meanwhile, or read only: the entry itself is read already
            os.utime(path)  # the time of last use: what eviction goes by
        return data

    def put(self, key: str, data: bytes) -> None:
        """Store `data` under `key`; quietly does nothing where that is impossible."""
        if not self._open():
            return
        path = self._path(key)
        try:
            handle, temporary = tempfile.mkstemp(dir=self.directory, suffix=".tmp")
        except OSError:
            return
        try:
            with open(handle, "wb") as file:
                file.write(_header(key, data))
                file.write(data)
            os.replace(temporary, path)
        except OSError:
            _remove(temporary)
            return
        with self._lock:
            if self._size is not None:
                self._size += _HEADER + len(data)
            if self._size is None or self._size > self.limit:
                self._size = self._evict()

    def clear(self) -> None:
        """Remove every entry (and what a killed process left half written)."""
        with self._lock:
            for _, _, path in self._entries((_SUFFIX, ".tmp")):
                _remove(path)
            self._size = None

    def free_lock(self) -> None:
        """In the child of a fork, where no thread is that held it."""
        self._lock = threading.Lock()

    def _path(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            key = hashlib.sha256(key.encode()).hexdigest()
        return os.path.join(self.directory, key + _SUFFIX)

    def _open(self) -> bool:
        """Make the folder at the first use, and refuse one that others can write to."""
        if self._usable is None:
            with self._lock:
                if self._usable is None:
                    self._usable = _make_private(self.directory)
        return self._usable

    def _entries(self, suffixes: tuple[str, ...]) -> list[tuple[float, int, str]]:
        """(time of last use, bytes, path) of the files in the folder."""
        entries: list[tuple[float, int, str]] = []
        with suppress(OSError), os.scandir(self.directory) as found:  # no folder holds no entries
            for item in found:
                if item.name.endswith(suffixes):
                    with suppress(OSError):  # another process removed it first
                        status = item.stat(follow_symlinks=False)
                        entries.append((status.st_mtime, status.st_size, item.path))
        return entries

    def _evict(self) -> int:
        """Remove the longest unused entries, to nine tenths of the limit; the bytes then held."""
        entries = sorted(self._entries((_SUFFIX,)))
        size = sum(entry[1] for entry in entries)
        if size <= self.limit:
            return size
        for _, length, path in entries:
            if size <= self.limit * 9 // 10:
                break
            _remove(path)
            size -= length
        return size


def _header(key: str, data: bytes) -> bytes:
    checksum = hashlib.sha256(len(key).to_bytes(8, "little") + key.encode())
    checksum.update(data)
    return FORMAT + checksum.digest()


def _remove(path: str | os.PathLike[str]) -> None:
    with suppress(OSError):  # gone already, or not ours to remove: a cache may keep what it has
        os.unlink(path)


def _make_private(directory: Path) -> bool:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.lstat(directory)
        if hasattr(os, "getuid"):
            if status.st_uid != os.getuid() or directory.is_symlink():
                return False
            if status.st_mode & 0o077:
                os.chmod(directory, 0o700)
        return True
    except (OSError, ValueError):
        return False


_default: DiskCache | None = None
_default_lock = threading.Lock()


def default_cache() -> DiskCache:
    """The process's cache, in `default_directory()` as it was at the first call."""
    global _default
    with _default_lock:
        if _default is None:
            _default = DiskCache()
        return _default


def _free_locks() -> None:
    """In the child of a fork: who held them is not there."""
    global _default_lock
    _default_lock = threading.Lock()
    if _default is not None:
        _default.free_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks)


_IMPORT = re.compile(r"^from \.(\w*) import (\([^)]*\)|.*)", re.MULTILINE)


def reached(*modules: str) -> list[Path]:
    """The files of this room that `modules` import, directly or not: what code made by them
    depends on."""
    folder = Path(__file__).parent
    pending, seen = list(modules), set[str]()
    while pending:
        module = pending.pop()
        path = folder / f"{module}.py"
        if module in seen or not path.exists():
            continue
        seen.add(module)
        for origin, names in _IMPORT.findall(path.read_text()):
            pending.extend([origin] if origin else re.findall(r"\w+", names))
    return [folder / f"{module}.py" for module in sorted(seen)]
