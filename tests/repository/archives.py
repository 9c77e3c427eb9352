"""Zips and tars made in memory, good and evil."""

import gzip
import io
import json
import stat
import tarfile
import warnings
import zipfile
from typing import Any

FILES = {"handler.py": b"def handle(data, context): ...\n", "weights.pt": bytes(range(256)) * 40}


def manifest(name: str = "echo", version: str = "1.0", **model: Any) -> bytes:
    model = {"modelName": name, "handler": "handler.py", "modelVersion": version} | model
    return json.dumps({"createdOn": "", "runtime": "python", "model": model, "archiverVersion": "0"}).encode()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Names as they are given, also those that zipfile itself would tame."""
    return zipped_members(*files.items(), method=method)


def zipped_members(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, content in files:
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.compress_type = method
            info.external_attr = (
                mode or (stat.S_IFDIR if name.endswith("/") else stat.S_IFREG) | 0o644
            ) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    return tarred_members(*files.items(), form=form)


def tarred_members(*files: tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=form, compresslevel=6) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tar_of(type_: bytes, name: str = "evil", linkname: str = "") -> bytes:
    """A tar with one member of an unusual type, and a file that would go through it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = type_, linkname
        archive.addfile(info)
        through = tarfile.TarInfo(f"{name}/owned")
        archive.addfile(through, io.BytesIO(b""))
    return buffer.getvalue()


def raw_tar(*blocks: tuple[tarfile.TarInfo, bytes], end: bool = True) -> bytes:
    """Headers and contents exactly as given, gzipped."""
    plain = b"".join(
        info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512) for info, content in blocks
    )
    return gzip.compress(plain + (bytes(1024) if end else b""))


def header(name: str, size: int, type_: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, type_
    return info


def pax(**records: str) -> bytes:
    made = b""
    for key, value in records.items():
        body = f" {key}={value}\n".encode()
        length = len(body)
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        made += str(length).encode() + body
    return made
