#!/usr/bin/env python3
"""Reads a store from docs/FORMAT.md alone: checks every digest of every backup and lists the members.

    read_store.py STORE             one line of JSON for each member, as the index has it
    read_store.py --blake3 < FILE   the BLAKE3 of standard input

Needs Python 3.8 and the command `zstd`. Written from the page and not from the Rust code, so that
the page is known to be enough. The names in brackets are the page's sections.
"""

import array
import json
import os
import re
import subprocess
import sys
import tempfile

MAX_FRAME = 8 << 20
MAX_STORED = MAX_FRAME + (1 << 20)
MAX_LINE = 2 << 20
PRELUDE = bytes([0x5C, 0x2A, 0x4D, 0x18, 40, 0, 0, 0])
REFERENCE = bytes([0x5E, 0x2A, 0x4D, 0x18, 40, 0, 0, 0])
SKIPPABLE = bytes([0x5B, 0x2A, 0x4D, 0x18, 32, 0, 0, 0])
HEX = re.compile(r"[0-9a-f]{64}\Z")
ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}\Z")


class Damaged(Exception):
    pass


class TooNew(Exception):
    pass


def check(holds, what):
    if not holds:
        raise Damaged(what)


# BLAKE3: many chunks at once, each 32-bit word in a 64-bit lane of one long integer.

IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
MIXED = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
QUARTERS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
            (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
START, END, PARENT, ROOT = 1, 2, 4, 8


def lanes(words):
    return int.from_bytes(array.array("Q", words).tobytes(), sys.byteorder)


def compress(n, chain, block, counters, length, flags):
    ones = lanes([1] * n)
    mask = ones * 0xFFFFFFFF
    v = chain + [ones * word for word in IV[:4]]
    v += [counters & mask, counters >> 32 & mask, ones * length, ones * flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(QUARTERS):
            for word, first, second in ((block[2 * i], 16, 12), (block[2 * i + 1], 8, 7)):
                v[a] = v[a] + v[b] + word & mask
                x = v[d] ^ v[a]
                v[d] = (x >> first | x << 32 - first) & mask
                v[c] = v[c] + v[d] & mask
                x = v[b] ^ v[c]
                v[b] = (x >> second | x << 32 - second) & mask
        block = [block[i] for i in MIXED]
    return [v[i] ^ v[i + 8] for i in range(8)]


def chunks(data, first, n, root):
    """The chaining values of n chunks of the same length, as n times eight words."""
    size = len(data) // n
    blocks = max(1, (size + 63) // 64)
    padded = data if size == 64 * blocks else data + bytes(64 * blocks - size)
    words = array.array("I", padded)
    if sys.byteorder == "big":
        words.byteswap()
    one = lanes([1] * n)
    chain = [one * word for word in IV]
    counters = lanes(range(first, first + n))
    for i in range(blocks):
        last = i == blocks - 1
        flags = (START if i == 0 else 0) | (END | root if last else 0)
        block = [lanes(words[16 * i + j::16 * blocks]) for j in range(16)]
        chain = compress(n, chain, block, counters, size - 64 * i if last else 64, flags)
    return split(n, chain)


def split(n, chain):
    columns = [array.array("Q", word.to_bytes(8 * n, sys.byteorder)) for word in chain]
    return list(zip(*columns))


def blake3(data):
    data = bytes(data)
    whole = max(len(data) - 1, 0) // 1024
    root = ROOT if whole == 0 else 0
    nodes = []
    for first in range(0, whole, 1024):
        n = min(1024, whole - first)
        nodes += chunks(data[1024 * first:1024 * (first + n)], first, n, 0)
    nodes += chunks(data[1024 * whole:], whole, 1, root)
    while len(nodes) > 1:
        n, odd = len(nodes) // 2, nodes[len(nodes) // 2 * 2:]
        pairs = [left + right for left, right in zip(nodes[0::2], nodes[1::2])]
        block = [lanes(words) for words in zip(*pairs)]
        chain = [lanes([1] * n) * word for word in IV]
        root = ROOT if len(nodes) == 2 else 0
        nodes = split(n, compress(n, chain, block, 0, 64, PARENT | root)) + odd
    return b"".join(word.to_bytes(4, "little") for word in nodes[0])


# [Documents]

def read_document(place, format_):
    with open(place, "rb") as file:
        text = file.read()
    lines = text.split(b"\n")
    digests = [line for line in lines if line.startswith(b'  "digest": "')]
    check(len(digests) == 1 and lines[-1] == b"", f"{place}: is no document")
    rest = b"\n".join(line for line in lines if line is not digests[0])
    document = json.loads(text, object_pairs_hook=no_twins)
    digest = blake3(rest).hex()
    check(document["digest"] == digest, f"{place}: its digest is another")
    if document.get("format") != format_:
        raise TooNew(f"{place}: has the format {document.get('format')!r}")
    if document.get("requires"):
        raise TooNew(f"{place}: needs {document['requires']!r}")
    return document


def no_twins(pairs):
    members = dict(pairs)
    check(len(members) == len(pairs), "a member stands twice")
    return members


# [Frames]

def read_stored(place, stored, name):
    """The content of a stored form; to zstd its trailer is one more frame, of no content."""
    check(stored[-40:-32] == SKIPPABLE, f"{place}: has no trailer")
    check(stored[-32:] == blake3(stored[:-40] + name), f"{place}: its trailer does not fit")
    with tempfile.TemporaryFile() as file:
        file.write(stored)
        file.seek(0)
        zstd = subprocess.Popen(["zstd", "-dc"], stdin=file, stdout=subprocess.PIPE)
        content = zstd.stdout.read(MAX_FRAME + 1)
        zstd.stdout.close()
        check(zstd.wait() == 0 and len(content) <= MAX_FRAME, f"{place}: does not decompress")
    check(blake3(content) == name, f"{place}: its content has another digest")
    return content


def read_frame(store, line):
    place = os.path.join(store, "frames", line)
    with open(place, "rb") as file:
        return read_stored(place, file.read(MAX_STORED), bytes.fromhex(line[3:]))


def read_list(place, archive):
    with open(place, "rb") as file:
        text = file.read()
    check(blake3(text).hex() == archive["frames_digest"], f"{place}: its digest is another")
    check(text.endswith(b"\n"), f"{place}: does not end")
    lines = text.decode("ascii").split("\n")[:-1]
    check(len(lines) == archive["frames"], f"{place}: has another number of lines")
    for line in lines:
        check(HEX.match(line[3:]) and line[:3] == line[3:5] + "/", f"{place}: {line!r}")
    return lines


# [Pieces]

def read_pieces(place, length):
    """What the preludes in a file say, and the stored forms of those that are no references."""
    pieces = []
    with open(place, "rb") as file:
        while length > 0:
            prelude = file.read(48)
            check(len(prelude) == 48, f"{place}: has no prelude")
            number, name = int.from_bytes(prelude[8:16], "little"), prelude[16:]
            if prelude[:8] == REFERENCE:
                pieces.append((number, name, None))
                length -= 48
                continue
            check(prelude[:8] == PRELUDE, f"{place}: has no prelude")
            check(40 < number <= MAX_STORED, f"{place}: has a piece of {number} bytes")
            stored = file.read(number)
            check(len(stored) == number, f"{place}: ends in a piece")
            pieces.append((number, name, stored))
            length -= 48 + number
    return pieces


# [Index]

def read_index(store, place, archive):
    pieces = read_pieces(place, os.path.getsize(place))
    check(pieces, f"{place}: has no block")
    sealed = b""
    for number, name, stored in pieces:
        sealed += blake3(name + number.to_bytes(8, "little")) if stored is None else name
    check(blake3(sealed).hex() == archive["index_digest"], f"{place}: its digest is another")
    lines, bases = [], []
    for number, name, stored in pieces:
        if stored is None:
            block = read_frame(store, f"{name.hex()[:2]}/{name.hex()}")
        else:
            block = read_stored(place, stored, name)
        check(block.endswith(b"\n"), f"{place}: has a block that does not end")
        found = block.split(b"\n")[:-1]
        lines += found
        bases += [number if stored is None else 0] * len(found)
    bases.pop(0)
    header = lines.pop(0)
    if header != b'{"format":"lava-backup-index/1"}':
        raise TooNew(f"{place}: begins with {header[:80]!r}")
    check(len(lines) == archive["entries"], f"{place}: has another number of entries")
    last, ended = None, set()
    for line, base in zip(lines, bases):
        check(len(line) < MAX_LINE, f"{place}: has a line that is too long")
        entry = json.loads(line, object_pairs_hook=no_twins)
        entry["frame"] += base
        path = unescape(entry["path"]).split(b"/")
        check(len(path) > 1 and not {b"", b".", b".."} & set(path), f"{place}: {entry['path']}")
        check(b"\0" not in b"/".join(path), f"{place}: {entry['path']}")
        if last is not None and last[0][0] == path[0]:
            check(last[0] < path, f"{place}: {entry['path']} is out of order")
        elif last is not None:
            ended.add(last[0][0])
        check(path[0] not in ended, f"{place}: {entry['path']} is of a section that has ended")
        where = (entry["frame"], entry["offset"])
        check(last is None or last[1] < where, f"{place}: {entry['path']} lies before the one above")
        kinds = "file", "dir", "symlink", "fifo", "hardlink"
        check(entry["type"] in kinds, f"{place}: {entry['path']}")
        check(entry["class"] in ("plain", "secret", "in-flight"), f"{place}: {entry['path']}")
        check(("blake3" in entry) == (entry["type"] == "file"), f"{place}: {entry['path']}")
        check(("link" in entry) == (entry["type"] == "symlink"), f"{place}: {entry['path']}")
        check(("target" in entry) == (entry["type"] == "hardlink"), f"{place}: {entry['path']}")
        check(entry["type"] == "file" or entry["size"] == 0, f"{place}: {entry['path']}")
        check(0 <= entry["mode"] <= 0o7777, f"{place}: {entry['path']}")
        check(0 <= entry["mtime"][1] <= 999999999, f"{place}: {entry['path']}")
        last = path, where
        yield entry


def escape(raw):
    """[Paths]: percent signs, controls (Unicode Cc) and bytes that are no UTF-8, as %XX."""
    text = raw.decode("utf-8", "surrogateescape")
    plain = lambda c: not (c == "%" or c < " " or "\x7f" <= c <= "\x9f" or "\udc80" <= c <= "\udcff")
    percent = lambda c: "".join(f"%{byte:02X}" for byte in c.encode("utf-8", "surrogateescape"))
    return "".join(c if plain(c) else percent(c) for c in text)


def unescape(text):
    byte = lambda match: bytes.fromhex(match.group(1).decode())
    raw = re.sub(rb"%([0-9A-F]{2})", byte, text.encode())
    check(escape(raw) == text, f"{text!r} is not escaped as it should be")
    return raw


# [Tar stream]

def header_differs(blocks, entry):
    """What the headers of one member say otherwise than its entry."""
    length = octal(blocks[124:136])
    after = 512 + length + -length % 512
    header, map_blocks = blocks[after:after + 512], blocks[after + 512:]
    if blocks[156:157] != b"x" or len(header) != 512:
        return "shape"
    if blocks[512 + length:after].strip(b"\0"):
        return "padding"
    for block in (blocks[:512], header):
        summed = block[:148] + b" " * 8 + block[156:]
        if octal(block[148:156]) != sum(summed) or block[257:265] != b"ustar\x0000":
            return "checksum"
    kind = {"file": b"0", "hardlink": b"1", "symlink": b"2", "dir": b"5", "fifo": b"6"}[entry["type"]]
    path = unescape(entry["path"]) + (b"/" if entry["type"] == "dir" else b"")
    link = unescape(entry.get("link", entry.get("target", "")))
    size = len(map_blocks) + stored_size(entry)
    records = {}
    field = lambda key, at, end: records.get(key, header[at:end].partition(b"\0")[0])
    number = lambda key, at, end: int(records[key]) if key in records else octal(header[at:end])
    rest, order = blocks[512:512 + length], []
    while rest:
        length = int(rest[:rest.index(b" ")])
        key, _, value = rest[rest.index(b" ") + 1:length - 1].partition(b"=")
        order.append(key)
        records[key], rest = value, rest[length:]
    expected = further_records(entry)
    said = {
        "type": (header[156:157], kind),
        "path": (field(b"path", 0, 100), path),
        "link": (field(b"linkpath", 157, 257), link),
        "size": (number(b"size", 124, 136), size),
        "mode": (octal(header[100:108]), entry["mode"]),
        "uid": (number(b"uid", 108, 116), entry["uid"]),
        "gid": (number(b"gid", 116, 124), entry["gid"]),
        "user": (field(b"uname", 265, 297), entry["user"].encode()),
        "group": (field(b"gname", 297, 329), entry["group"].encode()),
        "extents": (map_blocks, extents_map(entry)),
        "records": ([(key, records[key]) for key in order if key not in IN_HEADER], expected),
    }
    return ", ".join(what for what, (tar, index) in said.items() if tar != index)


IN_HEADER = {b"path", b"linkpath", b"size", b"uid", b"gid", b"uname", b"gname"}


def further_records(entry):
    """The records of what no field of the header holds, in their order."""
    seconds, nanoseconds = entry["mtime"]
    if seconds < 0 and nanoseconds:
        minus = "-" if seconds == -1 else ""
        seconds, nanoseconds = f"{minus}{seconds + 1}", 1000000000 - nanoseconds
    records = [(b"mtime", f"{seconds}.{nanoseconds:09}".encode())]
    if entry["class"] != "plain":
        records.append((b"comment", b"lava-backup:" + entry["class"].encode()))
    attributes = entry.get("attributes", {})
    for key, list_ in ((b"access", "acl"), (b"default", "default-acl")):
        if list_ in attributes:
            records.append((b"SCHILY.acl." + key, attributes[list_].encode()))
    xattrs = attributes.get("xattrs", {}).items()
    for name, value in sorted((unescape(name), unescape(value)) for name, value in xattrs):
        name = name.replace(b"%", b"%25").replace(b"=", b"%3D")
        records.append((b"SCHILY.xattr." + name, value))
    if "extents" in entry:
        records += [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"),
                    (b"GNU.sparse.name", unescape(entry["path"])),
                    (b"GNU.sparse.realsize", str(entry["size"]).encode())]
    return records


def stored_size(entry):
    """The bytes of content: of a sparse file, of its extents."""
    return sum(length for _, length in entry["extents"]) if "extents" in entry else entry["size"]


def extents_map(entry):
    """The map of a sparse file, with an empty extent where a hole ends it."""
    if "extents" not in entry:
        return b""
    extents = list(entry["extents"])
    if sum(extents[-1]) < entry["size"]:
        extents.append([entry["size"], 0])
    numbers = [len(extents)] + [number for extent in extents for number in extent]
    text = "".join(f"{number}\n" for number in numbers).encode()
    return text + bytes(-len(text) % 512)


def octal(field):
    return int(field.rstrip(b"\0 ") or b"0", 8)


def read_backup(store, name):
    place = os.path.join(store, "backups", name)
    seal = read_document(os.path.join(place, "backup.json"), "lava-backup/1")
    check(seal["id"] == name, f"{place}: is the seal of {seal['id']}")
    check(seal["outcome"] in ("complete", "degraded"), f"{place}: {seal['outcome']!r}")
    degrades = any(problem["degrades"] for problem in seal["problems"])
    check(degrades == (seal["outcome"] == "degraded"), f"{place}: outcome and problems differ")
    archive = seal["archive"]
    frames = [read_frame(store, line) for line in read_list(os.path.join(place, "frames"), archive)]
    starts = [0]
    for frame in frames:
        check(frame, f"{place}: has an empty frame")
        starts.append(starts[-1] + len(frame))
    check(starts[-1] == archive["bytes"], f"{place}: has another number of bytes")
    stream, position, sections = b"".join(frames), 0, {}
    for entry in read_index(store, os.path.join(place, "index.zst"), archive):
        check(entry["frame"] < len(frames), f"{entry['path']}: lies beyond the frames")
        check(entry["offset"] <= len(frames[entry["frame"]]), f"{entry['path']}: lies beyond its frame")
        begin = starts[entry["frame"]] + entry["offset"]
        differs = header_differs(stream[position:begin], entry)
        check(not differs, f"{entry['path']}: header and index differ: {differs}")
        stored = stored_size(entry)
        content = stream[begin:begin + stored]
        if entry["type"] == "file":
            check(blake3(content).hex() == entry["blake3"], f"{entry['path']}: its content differs")
        position = begin - -stored // 512 * 512
        check(not stream[begin + stored:position].strip(b"\0"), f"{entry['path']}: padding")
        section = unescape(entry["path"]).split(b"/")[0].decode("utf-8", "replace")
        section = sections.setdefault(section, [0, 0])
        section[0] += 1
        section[1] += entry["size"]
        print(json.dumps(dict(entry, backup=name), sort_keys=True, ensure_ascii=False))
    check(stream[position:] == bytes(1024), f"{place}: the stream does not end where the index does")
    said = {name: [s["entries"], s["bytes"]] for name, s in seal["sections"].items()}
    check(said == sections, f"{place}: its sections hold {sections}")
    evidence = os.path.join(place, "evidence")
    for record in sorted(os.listdir(evidence)) if os.path.isdir(evidence) else []:
        read = read_document(os.path.join(evidence, record), "lava-backup-evidence/1")
        same = read["backup"] == name and read["seal"] == seal["digest"]
        check(same, f"{evidence}/{record}: is of another backup")


def main(arguments):
    sys.stdout.reconfigure(encoding="utf-8")
    if arguments == ["--blake3"]:
        print(blake3(sys.stdin.buffer.read()).hex())
        return
    (store,) = arguments
    read_document(os.path.join(store, "store.json"), "lava-backup-store/1")
    for name in sorted(os.listdir(os.path.join(store, "backups"))):
        if ID.match(name) and os.path.exists(os.path.join(store, "backups", name, "backup.json")):
            read_backup(store, name)


if __name__ == "__main__":
    main(sys.argv[1:])
