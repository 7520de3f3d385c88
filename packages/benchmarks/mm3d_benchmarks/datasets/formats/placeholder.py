"""Files that are not what their name says: pointers, web pages and archives in place of a download."""

from __future__ import annotations

from pathlib import Path

HEAD = 512  # bytes that tell
SERVER = "a server's error message, not the file itself; download it again"
SIGNS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with: git lfs pull"),
    (b"/annex/objects/", "a git-annex pointer, not the file itself; fetch it with: git annex get"),
    (b"<!doctype html", "a web page, not the file itself; the download needs a login or another address"),
    (b"<html", "a web page, not the file itself; the download needs a login or another address"),
    (b"<!-- saved from url", "a web page, not the file itself; the download needs a login or another address"),
    (b'{"error"', SERVER),
    (b'{"message"', SERVER),
    (b"404: not found", SERVER),
    (b"404 not found", SERVER),
    (b"access denied", SERVER),
    (b"%pdf-", "a PDF document; download the file itself"),
    (b"\x1f\x8b", "packed with gzip; unpack it with: gunzip"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"rar!", "a RAR archive; unpack it first"),
    (b"bzh", "packed with bzip2; unpack it with: bunzip2"),
    (b"\xfd7zxz", "packed with xz; unpack it with: unxz"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it with: unzstd"),
)
ZIP = b"pk\x03\x04"
HEADLESS = (".bin",)  # plain numbers from the first byte on, zeros among them
TAR = 257  # where the sign of a TAR stands
ZIPPED = (".npz", ".pth", ".pt")  # suffixes of formats that are archives themselves


def what_it_is(path: Path) -> str:
    """What stands in place of the file, and what to do; empty where nothing of the kind does."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    except OSError:
        return ""
    if head.startswith(ZIP) and path.suffix.lower() not in ZIPPED:
        return "a ZIP archive; unpack it first"
    if head.startswith(b"<?xml") and b"<error" in head:
        return SERVER
    if head[TAR : TAR + 5] == b"ustar":
        return "a TAR archive; unpack it with: tar -xf"
    if head and not head.strip(b"\0") and path.suffix.lower() not in HEADLESS:
        return "nothing but zeros at its beginning; the copy or the download broke off"
    return next((what for sign, what in SIGNS if head.startswith(sign)), "")
