#!/usr/bin/env bash
# Guess:   a zstd frame that was cut off (an upload that broke, a full disk) is an error when it is read, as it is
#          with gzip and lz4: "ended before the end-of-stream marker".
# Happens: python-zstandard's streaming readers (`stream_reader`, `zstandard.open`, `copy_stream`, `read_to_iter`) give
#          what could be decoded and then report a normal end of file, also when the frame names its size and has
#          a checksum. Only the one-shot `decompress` raises; a `decompressobj` tells by `eof` staying False.
# Seen:    zstandard 0.25.0, lz4 4.4.5, Python 3.11.
# Hurts:   readers of compressed logs, exports and message batches: half of the data passes for all of it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check zstandard==0.25.0 lz4==4.4.5
cd "$work"
"$work/venv/bin/python" - <<'PY'
import gzip
import io
import random

import lz4.frame
import zstandard

print("zstandard", zstandard.__version__)
data = random.Random(1).randbytes(600_000)


def half(packed):
    return packed[: len(packed) // 2]


def outcome(read):
    try:
        return len(read())
    except (EOFError, zstandard.ZstdError) as error:
        return type(error).__name__


cut = half(zstandard.ZstdCompressor(write_checksum=True, write_content_size=True).compress(data))
plain = zstandard.ZstdDecompressor()
copied = io.BytesIO()
found = {
    "stream_reader": outcome(plain.stream_reader(io.BytesIO(cut)).read),
    "zstandard.open": outcome(zstandard.open(io.BytesIO(cut), "rb").read),
    "copy_stream": outcome(lambda: range(plain.copy_stream(io.BytesIO(cut), copied)[1])),
    "read_to_iter": outcome(lambda: b"".join(plain.read_to_iter(io.BytesIO(cut)))),
    "decompress": outcome(lambda: plain.decompress(cut)),
    "gzip": outcome(lambda: gzip.decompress(half(gzip.compress(data)))),
    "lz4": outcome(lz4.frame.open(io.BytesIO(half(lz4.frame.compress(data))), "rb").read),
}
for name, result in found.items():
    print(f"{name}, half of a file of {len(data)} bytes: {result}")
for name in ("stream_reader", "zstandard.open", "copy_stream", "read_to_iter"):
    assert isinstance(found[name], int) and 0 < found[name] < len(data), (name, found[name])
assert [found[name] for name in ("decompress", "gzip", "lz4")] == ["ZstdError", "EOFError", "EOFError"], found
unpacking = plain.decompressobj()
unpacking.decompress(cut)
assert unpacking.eof is False
print("as described: streaming readers end without an error in the middle of a frame")
PY
