"""What the keys of a pickle's dicts cost to hash and compare, found out before any of them is made.

A tuple of twice itself, forty times over, is a hundred bytes of pickle and 2⁴⁰ steps to hash; whole numbers of one
hash make a dict quadratic, and deep tuples overflow C's stack. None of it can be interrupted. So the pickle machine is
followed here with a number for each value instead of the value: the parts that its hash looks at.
"""

from __future__ import annotations

import pickletools

from .limits import MAX_KEY_PARTS

_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE", "FROZENSET"}
# These leave the object itself, even where they do nothing to one of another kind.
_IN_PLACE = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD", "READONLY_BUFFER"}
_MARK = -1
_PUTS = {"MEMOIZE", "BINPUT", "LONG_BINPUT"}
_GETS = {"BINGET", "LONG_BINGET"}
# Which of the values that an operation takes become keys.
_KEYS = {
    "SETITEM": slice(1, 2),
    "SETITEMS": slice(1, None, 2),
    "DICT": slice(0, None, 2),
    "ADDITEMS": slice(1, None),
    "FROZENSET": slice(0, None),
}
# Of each operation: how many values it takes from below its mark, whether it takes all above one, and what it leaves:
# of what is no tuple but has a hash, long whole numbers alone can be made to have the same.
_EFFECTS = {
    code.name: (
        [*code.stack_before, pickletools.markobject].index(pickletools.markobject),
        pickletools.markobject in code.stack_before,
        [1 if code.name == "LONG1" else 0] * len(code.stack_after),
    )
    for code in pickletools.opcodes
}


class KeyParts:
    """Follows a pickle, operation by operation, and counts the parts of its keys."""

    def __init__(self) -> None:
        self.count = 0
        self._stack: list[int] = []
        self._memo: dict[int, int] = {}

    def step(self, code: pickletools.OpcodeInfo, argument: object) -> None:
        """Follow one operation.

        Raises:
            ValueError: it takes what is not there.
        """
        name, stack = code.name, self._stack
        if name in _PUTS:
            self._memo[len(self._memo) if name == "MEMOIZE" else _number(argument)] = self._top()
        elif name in _GETS:
            if _number(argument) not in self._memo:
                raise ValueError(f"nothing was kept at {argument}")
            stack.append(self._memo[_number(argument)])
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "DUP":
            stack.append(self._top())
        elif name == "POP" and stack and stack[-1] == _MARK:
            stack.pop()
        else:
            self._take_and_push(name)

    def _take_and_push(self, name: str) -> None:
        stack = self._stack
        count, to_mark, left = _EFFECTS[name]
        if not count and not to_mark and name not in _TUPLES:
            stack += left
            return
        taken = self._take(name, count, to_mark)
        if name in _KEYS:
            self.count += sum(taken[_KEYS[name]])
        if name in _TUPLES:
            stack.append(min(1 + sum(max(1, part) for part in taken), MAX_KEY_PARTS + 1))
        elif name in _IN_PLACE:
            stack.append(taken[0])
        else:
            stack += left

    def _take(self, name: str, count: int, to_mark: bool) -> list[int]:
        """Take an operation's values from the stack: those below its mark, then those above it."""
        stack = self._stack
        above: list[int] = []
        if to_mark:
            mark = next((place for place in reversed(range(len(stack))) if stack[place] == _MARK), None)
            if mark is None:
                raise ValueError(f"{name} without a mark")
            above = stack[mark + 1 :]
            del stack[mark:]
        first = len(stack) - count
        below = stack[max(first, 0) :]
        if first < 0 or _MARK in below:
            raise ValueError(f"{name} takes more than there is")
        del stack[first:]
        return below + above

    def _top(self) -> int:
        if not self._stack or self._stack[-1] == _MARK:
            raise ValueError("a value is used before there is one")
        return self._stack[-1]


def _number(argument: object) -> int:
    assert isinstance(argument, int)
    return argument
