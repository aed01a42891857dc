"""Arrays and plain values as a few bytes, and back exactly as they were."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_MAGIC: Final = b"TRZ1"
_LEVEL: Final = 1  # whole numbers that are stored as steps compress well even so


def pack(plain: Mapping[str, Any], arrays: Mapping[str, NDArray] | None = None) -> bytes:
    """Plain JSON values and named arrays. Rows of whole numbers are kept as the steps between them."""
    parts, heads = [], []
    for name, array in (arrays or {}).items():
        stepped = array.ndim == 1 and array.dtype == np.int64 and array.size > 1
        body = np.diff(array, prepend=np.int64(0)) if stepped else np.ascontiguousarray(array)
        heads.append([name, array.dtype.str, list(array.shape), stepped])
        parts.append(body.tobytes())
    head = json.dumps({"plain": plain, "arrays": heads}, ensure_ascii=False, allow_nan=False).encode()
    return _MAGIC + zlib.compress(b"".join([len(head).to_bytes(8, "little"), head, *parts]), _LEVEL)


def unpack(packed: bytes | memoryview) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """What was packed. ValueError: these bytes are none of ours."""
    given = bytes(packed)
    if given[:4] != _MAGIC:
        raise ValueError("these bytes were not packed here")
    raw = zlib.decompress(given[4:])
    at = 8 + int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:at])
    arrays: dict[str, NDArray] = {}
    for name, kind, shape, stepped in head["arrays"]:
        dtype = np.dtype(kind)
        size = int(np.prod(shape)) * dtype.itemsize
        body = np.frombuffer(raw, dtype, count=int(np.prod(shape)), offset=at).reshape(shape)
        arrays[name] = np.cumsum(body, dtype=np.int64) if stepped else body.copy()
        at += size
    return head["plain"], arrays


def squeezed(text: str) -> bytes:
    return zlib.compress(text.encode(), 1)


def text_of(stored: bytes | memoryview) -> str:
    return zlib.decompress(bytes(stored)).decode()
