"""TorchScript files: read as text and numbers before torch sees them, since they are programs.

A TorchScript file holds source code, and torch runs it. The files that kdlnet writes hold one
function that calls a few operations on tensors, none of which reaches beyond them. Whatever else a
file holds, it is refused; and torch is given a copy made of what was checked, so that the two
cannot read one archive in two ways.
"""

from __future__ import annotations

import ast
import io
import pickletools
import re
import zipfile
from collections.abc import Mapping

HEADER = "extra/kdlnet.json"
"""The entry with kdlnet's header. It comes first: by it the kind of file is known."""

_ROOT = "archive/"
_CODE = re.compile(r"code/__torch__/[\w/]+\.py")
_OTHERS = re.compile(
    r"extra/kdlnet\.json|data\.pkl|constants\.pkl|constants/\d+|version|byteorder|\.data/\w+"
)
# No quote, no comment, no backslash: two readers cannot take such a text apart differently.
_TEXT = re.compile(rb"[\w .,:()\[\]=>\n-]+", re.ASCII)
_OPERATIONS = re.compile(
    r"int|ops\.prim\.NumToTensor|torch\.(_convolution|add|amax|avg_pool2d|cat|clamp|clamp_min|div"
    r"|flatten|floor_divide|log|matmul|max_pool2d|mul|permute|relu_|reshape|size|slice|softmax"
    r"|square|squeeze|stack|sub|sum|to|unflatten|unsqueeze|upsample_nearest2d)"
)
_SYNTAX = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Assign, ast.Return),
    *(ast.Call, ast.keyword, ast.Name, ast.Attribute, ast.Subscript, ast.List, ast.Tuple),
    *(ast.Constant, ast.UnaryOp, ast.USub, ast.Load, ast.Store),
)
_FUNCTIONS = ["forward"]
# Steps of a pickle that name a class or something to call.
_NAMING = re.compile("GLOBAL|STACK_GLOBAL|INST|OBJ|NEWOBJ_EX|EXT[124]|PERSID")
_NUMBERS = re.compile(
    r"torch (Float|Half|Double|Long)Storage|torch\._utils _rebuild_tensor_v2"
    r"|collections OrderedDict|__torch__\.[\w.]+ _(Points|Maps)"
)


def is_torchscript(head: bytes) -> bool:
    """Whether a file with these first bytes is one that :func:`pack` made."""
    return head[:4] == b"PK\x03\x04" and head[30:].startswith((_ROOT + HEADER).encode())


def pack(entries: Mapping[str, bytes]) -> bytes:
    """An archive as torch reads it, the header first; nothing in it is compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries, key=lambda name: (name != HEADER, name)):
            archive.writestr(zipfile.ZipInfo(_ROOT + name), entries[name])
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, bytes]:
    """The entries of an archive by name.

    Raises ValueError or zipfile's errors for a damaged one, and for one that could unpack to more
    bytes than it has.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        plain = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        if not plain or sum(entry.file_size for entry in entries) > len(content):
            raise ValueError("its archive is damaged")
        return {entry.filename.removeprefix(_ROOT): archive.read(entry) for entry in entries}


def foreign_part(entries: Mapping[str, bytes]) -> str | None:
    """What of a file kdlnet did not write, in words; None where all of it may be run."""
    codes = [name for name in entries if _CODE.fullmatch(name)]
    others = [name for name in entries if name not in codes and not _OTHERS.fullmatch(name)]
    if others or len(codes) != 1:
        return repr((others or codes or ["no code"])[0])
    for name in ("data.pkl", "constants.pkl"):
        for operation, value, _ in pickletools.genops(entries[name]):
            if _NAMING.fullmatch(operation.name) and not _NUMBERS.fullmatch(str(value)):
                return f"{value!r} in {name}"
    return _foreign_code(entries[codes[0]])


def _foreign_code(text: bytes) -> str | None:
    if not _TEXT.fullmatch(text):
        return "a text that is none of its operations"
    tree = ast.parse(text)
    functions = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    if functions != _FUNCTIONS:
        return f"the functions {functions}"
    for node in ast.walk(tree):
        if not isinstance(node, _SYNTAX) or getattr(node, "decorator_list", None):
            return f"a {type(node).__name__}"
        if isinstance(node, ast.Call) and not _OPERATIONS.fullmatch(ast.unparse(node.func)):
            return f"a call of {ast.unparse(node.func)}"
    return None
