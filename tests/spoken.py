"""Every text that a person may come to read, found by reading the source; the keys of the tables of messages.

What is said is the first argument of `say`, and what `progress` shows. What is translated are errors, warnings and
lines of the log, and parts of these: what a local variable or a function of this package puts into their blanks.
"""

from __future__ import annotations

import ast
import itertools
import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lowtide
from lowtide import errors

_SPOKEN = {name for name, kind in vars(errors).items() if isinstance(kind, type)} | {"missing_extra"}
"""Whose first argument is a message, or the part of one."""
_PARTS_OF_PARTS = {"describe"}
"""Functions whose texts reach a message by a way that cannot be seen here."""
_NO_LANGUAGE = {"format_seconds", "format_bytes", "versions"}
"""Functions that give numbers, signs and names."""
_LEFT = {"{0}", "a {0} of {1}"}
"""What is a whole message somewhere else; and names of Python, which a path would be taken for."""

Scope = dict[str, list[ast.expr]]
"""What a function, and the module around it, assigns to a name."""


@dataclass
class Spoken:
    """Texts with their blanks, each with the file and line that speaks it."""

    said: dict[str, str] = field(default_factory=dict)
    translated: dict[str, str] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    """All strings of the source."""


def spoken() -> Spoken:
    """Read the whole package."""
    source = Path(lowtide.__file__).parent
    modules = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(source.rglob("*.py"))}
    reader = _Reader(modules.values())
    found = Spoken()
    for path, module in modules.items():
        for node, scope in _nodes(module, {}):
            where = f"{path.relative_to(source)}:{getattr(node, 'lineno', 0)}"
            found.constants |= set(_constant(node))
            for text in reader.said(node, scope):
                found.said.setdefault(text, where)
            for text in reader.translated(node, scope):
                found.translated.setdefault(text, where)
    for text in _LEFT & found.translated.keys():
        del found.translated[text]
    return found


def _nodes(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.AST, Scope]]:
    """All nodes, each with what the names around it stand for."""
    if isinstance(node, (ast.Module, ast.FunctionDef)):
        scope = {**scope, **_assigned(node)}
    yield node, scope
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child, scope)


def _assigned(body: ast.AST) -> Scope:
    scope: Scope = {}
    for node in _statements(body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            scope.setdefault(node.targets[0].id, []).append(node.value)
    return scope


def _statements(body: ast.AST) -> Iterator[ast.AST]:
    """All that stands in it, the functions in it left out."""
    for node in ast.iter_child_nodes(body):
        if not isinstance(node, ast.FunctionDef):
            yield node
            yield from _statements(node)


class _Reader:
    def __init__(self, modules: Iterable[ast.Module]) -> None:
        nodes = itertools.chain.from_iterable(map(ast.walk, modules))
        self._functions = {
            node.name: node
            for node in nodes
            if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name) and node.returns.id == "str"
        }

    def said(self, node: ast.AST, scope: Scope) -> Iterator[str]:
        """What is looked up as it stands."""
        if isinstance(node, ast.Call) and _called(node) in ("say", "progress"):
            units = [keyword.value for keyword in node.keywords if keyword.arg == "unit"]
            for message in [*node.args[:1], *units]:
                yield from (text.format() for text in self._texts(message, scope))

    def translated(self, node: ast.AST, scope: Scope) -> Iterator[str]:
        """Whole messages, and the parts that go into their blanks."""
        if isinstance(node, ast.FunctionDef) and node.name in _PARTS_OF_PARTS:
            yield from self._texts_within(node)
        if not isinstance(node, ast.Call):
            return
        name, is_log = _called(node), _is_log(node)
        notes = [keyword.value for keyword in node.keywords if name == "advance" and keyword.arg == "note"]
        messages = node.args[:1] if name in _SPOKEN or name == "warn" or is_log else notes
        for message in messages:
            for text in self._texts(message, scope):
                yield _numbered(_without_percents(text) if is_log else text)
            blanks = [part.value for part in ast.walk(message) if isinstance(part, ast.FormattedValue)]
            for blank in [*blanks, *(node.args[1:] if is_log else [])]:
                yield from self._parts(blank, scope)

    def _texts(self, node: ast.expr, scope: Scope) -> list[str]:
        """All that an expression may come to, blanks without numbers."""
        if isinstance(node, ast.IfExp):
            return [text for end in _ends(node) for text in self._texts(end, scope)]
        if isinstance(node, ast.Name):
            return [text for value in scope.get(node.id, []) for text in self._texts(value, {})]
        if isinstance(node, ast.Call) and _called(node) in self._functions:
            returned = [n.value for n in ast.walk(self._functions[_called(node)]) if isinstance(n, ast.Return)]
            return [text for value in returned if value for text in self._texts(value, {})]
        if isinstance(node, ast.JoinedStr):
            pieces = [self._pieces(piece, scope) for piece in node.values]
            return ["".join(chosen) for chosen in itertools.product(*pieces)]
        return [text.replace("{", "{{").replace("}", "}}") for text in _constant(node)]

    def _pieces(self, node: ast.expr, scope: Scope) -> list[str]:
        if not isinstance(node, ast.FormattedValue):
            return self._texts(node, {})
        choices = self._choices(node.value, scope)
        number_format = ast.unparse(node.format_spec)[2:-1] if node.format_spec else ""
        return choices or [_blank("", "r" if node.conversion == ord("r") else "", number_format)]

    def _choices(self, node: ast.expr, scope: Scope) -> list[str]:
        """The words for a blank, if they are all written out: each makes a message of its own."""
        if isinstance(node, ast.IfExp):
            return self._texts(node, {})
        values = scope.get(node.id, []) if isinstance(node, ast.Name) else []
        ends = [end for value in values for end in _ends(value)]
        texts = [text for end in ends for text in _constant(end)]
        return texts if len(texts) == len(ends) and all(map(_has_words, texts)) else []

    def _parts(self, node: ast.expr, scope: Scope) -> Iterator[str]:
        if isinstance(node, ast.Name) and not self._choices(node, scope):
            yield from filter(_has_words, map(_numbered, self._texts(node, scope)))
        elif _called(node) in self._functions and _called(node) not in _NO_LANGUAGE:
            yield from self._texts_within(self._functions[_called(node)])

    def _texts_within(self, function: ast.FunctionDef) -> Iterator[str]:
        statements = function.body[1:] if ast.get_docstring(function) else function.body
        nodes = [node for statement in statements for node in ast.walk(statement)]
        inside = {id(piece) for node in nodes if isinstance(node, ast.JoinedStr) for piece in ast.walk(node)}
        for node in nodes:
            if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and id(node) not in inside):
                yield from filter(_has_words, map(_numbered, self._texts(node, {})))


def _ends(node: ast.expr) -> list[ast.expr]:
    return _ends(node.body) + _ends(node.orelse) if isinstance(node, ast.IfExp) else [node]


def _called(node: ast.AST) -> str:
    """The name of the function, method or class, if this calls one."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _is_log(node: ast.Call) -> bool:
    function = node.func
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "log"


def _constant(node: ast.AST) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _has_words(text: str) -> bool:
    """Whether there is something to translate; a single word in a blank is taken for a name."""
    return re.search("[A-Za-z]{2}", text) is not None and " " in text.strip()


def _without_percents(text: str) -> str:
    """``%s`` to ``{}``, ``%5.1f`` to ``{:5.1f}``."""
    blanks = re.sub(r"%(\d*(?:\.\d+)?[sdfg])", r"{:\1}", text).replace("{:s}", "{}")
    return blanks.replace("%%", "%")


def _numbered(text: str) -> str:
    """Blanks with their numbers: ``{} of {:,}`` to ``{0} of {1:,}``."""
    pieces: list[str] = []
    numbers = itertools.count()
    for literal, name, number_format, conversion in string.Formatter().parse(text):
        pieces.append(literal.replace("{", "{{").replace("}", "}}"))
        if name is not None:
            pieces.append(_blank(str(next(numbers)), conversion, number_format))
    return "".join(pieces)


def _blank(name: str, conversion: str | None, number_format: str | None) -> str:
    return "{" + name + (f"!{conversion}" if conversion else "") + (f":{number_format}" if number_format else "") + "}"
