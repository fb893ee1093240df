"""Hypothesis strategies: what may be wrong with a file, and what somebody may put into a text to do harm."""

from __future__ import annotations

import gzip
import hashlib
import re
import struct

from hypothesis import strategies as st

from regcore.io.seal import DIGEST_DIGITS, LENGTH_DIGITS, MAGIC

# numbers at which counts overflow
EDGES = (
    0,
    1,
    -1,
    2,
    7,
    127,
    128,
    255,
    256,
    2**15 - 1,
    2**15,
    2**16,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32 - 1,
    2**63 - 1,
)
FLOATS = (0.0, -1.0, 1e-45, 1e38, -3.4e38, float("inf"), float("-inf"), float("nan"))
CANARY = "PWNED"
WORD = re.compile(r'[^\s,:{}\[\]"]+')
HARMFUL = (
    f"=cmd|'/C touch {CANARY}'!A0",
    '=HYPERLINK("http://x.invalid")',
    "+1+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"; touch {CANARY} #",
    f"| touch {CANARY}",
    f"&& touch {CANARY}",
    f"' ; touch {CANARY} ; '",
    f'" ; touch {CANARY} ; "',
    f"\n touch {CANARY}\n",
    "$HOME",
    "~",
    "*",
    "?",
    "{key}",
    "{",
    "}",
    "{0}",
    "%s%n",
    "\x00",
    "\x1b[2J",
    "\u202egnp.exe",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\x",
    "C:\\x",
    "a/b",
    "sub-../../x",
    "con",
    ".",
    "-rf",
    "--help",
    "~root",
    "file:///etc/passwd",
    "s3://bucket/x",
    "<script>document.title='PWNED'</script>",
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "</script><script>alert(1)</script>",
    "</style><svg onload=alert(1)>",
    "<!--",
    "-->",
    "]]>",
    "&lt;",
    "javascript:alert(1)",
    "{{ 7*7 }}",
    "{% include '/etc/passwd' %}",
    "${7*7}",
    "#{7*7}",
    "\ud800",
    "\ufeff",
    "é",
    "名前",
    "a" * 300,
    "b/" * 50000,
    "𝒳" * 80,
)
YAML_HARM = (
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    f"!!python/object/new:os.system [touch {CANARY}]",
    f"!!python/object/apply:subprocess.check_output [[touch, {CANARY}]]",
    "!!python/name:os.system",
    "!!python/module:os",
    f'!!python/object/apply:eval [\'open("{CANARY}","w")\']',
    "!!binary '====='",
    "!!timestamp 2001-99-99",
    "!!int 0x",
    "!!int '9_" + "9" * 5000 + "'",
    "!!float .inf",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "&a [*a]",
    "*nowhere",
    "? [a, b]\n: c",
    "&a {x: &b [1,1,1,1,1,1,1,1,1]}",
    "<<: *x",
    "%YAML 9.9",
    "---\n---",
    "[" * 2000,
    "{a: " * 2000,
    "\x00",
    "!unknown x",
    ".nan",
    "1e999",
    "0o777",
    "2020-01-01",
    "~",
    "yes",
    "1:30:00",
)


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Content after one to four accidents."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        kind = draw(
            st.sampled_from(
                ("flip", "flip", "truncate", "edge", "float", "insert", "remove", "repeat", "zero")
            )
        )
        if kind == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "truncate":
            del data[at:]
        elif kind == "edge":
            number, size = draw(st.sampled_from(EDGES)), draw(st.sampled_from((2, 4, 8)))
            data[at : at + size] = (number % 2 ** (8 * size)).to_bytes(
                size, draw(st.sampled_from(("little", "big")))
            )
        elif kind == "float":
            data[at : at + 4] = struct.pack("<f", draw(st.sampled_from(FLOATS)))
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=40))
        elif kind == "remove":
            del data[at : at + draw(st.integers(1, 64))]
        elif kind == "repeat":
            end = at + draw(st.integers(1, 200))
            data[at:at] = data[at:end] * draw(st.integers(1, 20))
        else:
            data[at : at + draw(st.integers(1, 64))] = bytes(draw(st.integers(1, 64)))
    return bytes(data)


# offset and code of the fields of a NIfTI-1 header that a reader believes
NIFTI_FIELDS = {
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "6f"),
    "srow": (280, "12f"),
    "magic": (344, "4B"),
}


@st.composite
def lying_nifti(draw, content: bytes) -> bytes:
    """A NIfTI-1 file whose header says something else: terabytes, no voxels, NaN..."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        offset, code = NIFTI_FIELDS[draw(st.sampled_from(sorted(NIFTI_FIELDS)))]
        values = list(struct.unpack_from(f"<{code}", data, offset))
        at = draw(st.integers(0, len(values) - 1))
        size = {"h": 2, "i": 4, "B": 1, "f": 4}[code[-1]]
        if code[-1] == "f":
            values[at] = draw(st.sampled_from(FLOATS) | st.floats(width=32))
        else:
            bits = 8 * size
            number = draw(st.sampled_from(EDGES) | st.integers(0, 2**bits - 1)) % 2**bits
            signed = code[-1] != "B" and number >= 2 ** (bits - 1)
            values[at] = number - 2**bits if signed else number
        struct.pack_into(f"<{code}", data, offset, *values)
    return bytes(data)


@st.composite
def resealed(draw, content: bytes) -> bytes:
    """A transform of ours with a lying index or damaged content, and a seal that is right all the same."""
    length = int(content[-len(MAGIC) - LENGTH_DIGITS : -len(MAGIC)])
    start = len(content) - len(MAGIC) - LENGTH_DIGITS - DIGEST_DIGITS - length
    body, index = content[:start], content[start : start + length]
    if draw(st.booleans()):
        body = draw(damaged(body))
    else:
        numbers = re.findall(rb"-?\d+", index)
        old = draw(st.sampled_from(numbers))
        new = draw(st.sampled_from((*map(str, EDGES), "null", '"a"', "[]", "1.5", "1e400", "NaN")))
        index = draw(st.sampled_from((index.replace(old, new.encode()), draw(damaged(index)))))
    digest = hashlib.sha256(body + index).hexdigest().encode()
    return body + index + digest + b"%0*d" % (LENGTH_DIGITS, len(index)) + MAGIC


@st.composite
def bomb(draw, content: bytes) -> bytes:
    """A packed image that unpacks to megabytes of nothing, announced by its header or not."""
    data = bytearray(content)
    megabytes = draw(st.integers(1, 96))
    if draw(st.booleans()):
        side = draw(st.integers(1, 32767))
        struct.pack_into(
            "<8h", data, 40, 3, side, draw(st.integers(1, 32767)), draw(st.integers(1, 64)), 1, 1, 1, 1
        )
    block = gzip.compress(bytes(2**20), 1)
    # gzip members one after another unpack to one stream
    return gzip.compress(bytes(data), 1) + block * megabytes


@st.composite
def hostile_text(draw, content: bytes) -> bytes:
    """A text file with something harmful in place of one of its words, or damaged."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(content))
    text = content.decode()
    for _ in range(draw(st.integers(1, 3))):
        words = sorted(set(WORD.findall(text))) or [text]
        word = draw(st.sampled_from(words))
        new = draw(
            st.sampled_from(HARMFUL) | st.text(max_size=20) | st.integers().map(str) | st.floats().map(repr)
        )
        text = text.replace(word, new, draw(st.sampled_from((1, -1))))
        if not text.strip():
            break
    return text.encode("utf-8", "surrogatepass")


@st.composite
def hostile_yaml(draw, content: bytes) -> bytes:
    """A configuration with a tag that would run code, a value of another kind, or damage."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(content))
    lines = content.decode().splitlines()
    at = draw(st.integers(0, len(lines) - 1))
    key, colon, _ = lines[at].partition(": ")
    value = draw(st.sampled_from(YAML_HARM) | st.sampled_from(HARMFUL) | st.text(max_size=20))
    lines[at] = f"{key}{colon}{value}" if colon else value
    if draw(st.booleans()):
        lines.insert(0, "a0: &a0 [1, 1]")
        lines[1:1] = [
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, draw(st.integers(2, 30)))
        ]
    return "\n".join(lines).encode("utf-8", "surrogatepass")
