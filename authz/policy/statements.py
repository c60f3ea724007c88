"""The text of a policy file in, its statements and their positions out.

Cedar's messages carry no positions, so they are found here: a policy ends at a semicolon, which occurs nowhere else
but in strings and comments. What a statement means is Cedar's to say; this only says where it stands.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass

MAX_NESTING = 100
MAX_WORDS = 500

_TOKEN = re.compile(r'//[^\n\r]*|"(?:\\.|[^"\\])*"|\w+|::|[=!<>]=|&&|\|\||\S')
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_LITERAL = re.compile(r'["\d,]')


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy's text, and the offset of each token's end in it. Comments are no tokens."""

    text: str
    offset: int  # of its first token in the file
    token_starts: tuple[int, ...]
    token_ends: tuple[int, ...]

    def offset_of_failure(self, fails: Callable[[str], bool]) -> int:
        """The offset, in the file, of the token at which a text that begins like this one first fails.

        A parser that reads from left to right fails at the same token whatever follows, so halving finds it.
        """
        first = bisect_left(self.token_ends, 1, key=lambda end: int(fails(self.text[:end])))
        return self.offset + self.token_starts[min(first, len(self.token_starts) - 1)]

    def excess(self) -> str:
        """Why the statement must not be given to Cedar, or nothing: its parser recurses, and crashes the process."""
        depth = deepest = words = 0
        for start, end in zip(self.token_starts, self.token_ends, strict=True):
            token = self.text[start:end]
            depth += (token in _OPENING) - (token in _CLOSING)
            deepest = max(deepest, depth)
            words += not _LITERAL.match(token)
        if deepest > MAX_NESTING:
            return f"brackets are nested more than {MAX_NESTING} deep"
        if words > MAX_WORDS:
            return f"it has more than {MAX_WORDS} words and signs, literals and commas not counted"
        return ""


def split(text: str) -> list[Statement]:
    """The statements in their order. What follows the last semicolon, comments aside, is a statement too."""
    statements: list[Statement] = []
    tokens: list[re.Match[str]] = []
    for token in _TOKEN.finditer(text):
        if not token[0].startswith("//"):
            tokens.append(token)
        if token[0] == ";":
            statements.append(_statement(text, tokens))
            tokens = []
    return [*statements, _statement(text, tokens)] if tokens else statements


def _statement(text: str, tokens: list[re.Match[str]]) -> Statement:
    offset = tokens[0].start()
    starts = tuple(token.start() - offset for token in tokens)
    ends = tuple(token.end() - offset for token in tokens)
    return Statement(text[offset : tokens[-1].end()], offset, starts, ends)


@dataclass(frozen=True, slots=True)
class Lines:
    """Turns offsets into lines and columns, both from 1."""

    starts: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> "Lines":
        """The lines of a text."""
        return cls((0, *(newline.end() for newline in re.finditer("\n", text))))

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of the character at `offset`."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1
