"""From one table of nftables to another: what is told to the kernel, so that it goes on counting
what stays."""

import ipaddress
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import TypeVar

from ..firewall.verdict import Counter, Element, TalliedRule, Tally
from .table_file import Chain, Set, Statement, Table

T = TypeVar("T")
# Words of an element that can't be told from its key here.
_MORE = frozenset(["comment", "counter", "expires", "last", "limit", "quota", "timeout"])
_NUMBERS = {"icmp": "1", "tcp": "6", "udp": "17", "icmpv6": "58", "sctp": "132"}


class Changes:
    """What makes of the table `old`, which the kernel has, the table `new`; `rules` are those of
    each chain of the kernel. `name` is such as "inet lbhook"."""

    def __init__(
        self, name: str, old: Table, new: Table, rules: Mapping[str, Sequence[TalliedRule]]
    ) -> None:
        self.name, self.old, self.new, self.rules = name, old, new, rules

    def script(self) -> str | None:
        """For nft, one transaction; empty if they are the same, None if their shape differs: then
        the table has to be replaced."""
        if not self._same_shape():
            return None
        lines = [*self._made(), *self._elements(), *self._rules(), *self._gone()]
        return "".join(f"{line}\n" for line in (*self.new.defines, *lines)) if lines else ""

    def _same_shape(self) -> bool:
        old, new = self.old, self.new
        sets = ((old.sets[name], new.sets[name]) for name in old.sets.keys() & new.sets.keys())
        chains = (
            (old.chains[name], new.chains[name]) for name in old.chains.keys() & new.chains.keys()
        )
        return (
            (old.defines, _texts(old.others)) == (new.defines, _texts(new.others))
            # One chain in place of another goes on with its counts, which a new one has not.
            and (old.chains.keys() <= new.chains.keys() or new.chains.keys() <= old.chains.keys())
            and old.sets.keys().isdisjoint(new.chains.keys())
            and all(_told_apart(one, other) for one, other in sets)
            and all(one.header == other.header for one, other in chains)
            and all(
                len(self.rules.get(name, ())) == len(one.rules) for name, one in old.chains.items()
            )
        )

    def _made(self) -> Iterator[str]:
        """What is there for the first time; chains without their rules, which may be about sets."""
        for name, one in self.new.sets.items():
            if name not in self.old.sets:
                elements = f"elements = {_braced(one.elements)}" if one.elements else ""
                declared = "; ".join(filter(None, (*one.declared, elements)))
                yield f"add {one.kind} {self.name} {name} {{ {declared}; }}"
        for name, chain in self.new.chains.items():
            if name not in self.old.chains:
                header = "".join(f"{line}; " for line in chain.header)
                yield f"add chain {self.name} {name}" + (f" {{ {header}}}" if header else "")

    def _elements(self) -> Iterator[str]:
        for name, one in self.new.sets.items():
            known = self.old.sets.get(name, one)
            went, came = _difference(known, one), _difference(one, known)
            if went:
                yield f"delete element {self.name} {name} {_braced(went)}"
            if came:
                yield f"add element {self.name} {name} {_braced(came)}"

    def _rules(self) -> Iterator[str]:
        for name in self.old.chains.keys() - self.new.chains.keys():
            yield f"flush chain {self.name} {name}"
        for name, chain in self.new.chains.items():
            known = self.old.chains.get(name, Chain((), ()))
            handles = [one.handle for one in self.rules.get(name, ())]
            yield from self._chain(name, known, chain, handles)

    def _chain(self, name: str, old: Chain, new: Chain, handles: Sequence[int]) -> Iterator[str]:
        was, now = _texts(old.rules), _texts(new.rules)
        for what, first, last, begin, end in SequenceMatcher(
            None, was, now, autojunk=False
        ).get_opcodes():
            if what == "equal":
                continue
            # What follows stays: a rule that goes is no place for one that comes.
            after = f"handle {handles[last]} " if last < len(was) else ""
            verb = "insert" if after else "add"
            yield from (f"{verb} rule {self.name} {name} {after}{one}" for one in now[begin:end])
            yield from (f"delete rule {self.name} {name} handle {h}" for h in handles[first:last])

    def _gone(self) -> Iterator[str]:
        for name in self.old.chains.keys() - self.new.chains.keys():
            yield f"delete chain {self.name} {name}"
        for name in self.old.sets.keys() - self.new.sets.keys():
            yield f"delete {self.old.sets[name].kind} {self.name} {name}"


def with_counts(content: bytes, new: Table, old: Table | None, tally: Tally) -> bytes:
    """The whole file, with what the kernel has counted: by elements, by the comments of rules, and
    if it is known to have the table `old`, by rules as they are written."""
    text, parts, last = content.decode(), list[str](), 0
    for at, words in sorted([*_of_elements(new, tally), *_of_rules(new, old, tally)]):
        parts += [text[last:at], " ", words]
        last = at
    return "".join([*parts, text[last:]]).encode()


def _of_elements(new: Table, tally: Tally) -> Iterator[tuple[int, str]]:
    for name, one in new.sets.items():
        known = tally.elements.get(name, {}) if "counter" in one.declared else {}
        for element in one.elements if known else ():
            counter = known.get(_key(element))
            if counter and not _says_more(element):
                yield element.words[-1].end, f"counter {_so_far(counter)}"


def _of_rules(new: Table, old: Table | None, tally: Tally) -> Iterator[tuple[int, str]]:
    known = dict(_alone(_named(tally, old)))
    rules = [rule for chain in new.chains.values() for rule in chain.rules]
    for name, rule in _alone((rule.name or rule.text, rule) for rule in rules):
        places, counter = list(_counting(rule)), known.get(name)
        if len(places) == 1 and counter:
            yield places[0], _so_far(counter)


def _named(tally: Tally, old: Table | None) -> Iterator[tuple[str, Counter | None]]:
    """What each rule of the kernel has counted, by what it is known by."""
    for chain, rules in tally.rules.items():
        written = old.chains[chain].rules if old and chain in old.chains else ()
        texts = _texts(written) if len(written) == len(rules) else [""] * len(rules)
        for rule, text in zip(rules, texts, strict=True):
            yield rule.comment or text, rule.counter


def _alone(named: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Those that no other has the name of."""
    found = list(named)
    often = Counts(name for name, _ in found)
    yield from (one for one in found if often[one[0]] == 1)


def _counting(rule: Statement) -> Iterator[int]:
    """Where a rule begins to count at nought."""
    for word, after in zip(rule.words, (*rule.words[1:], None), strict=True):
        if word.text == "counter" and not (after and after.text in ("name", "packets")):
            yield word.end


def _so_far(counter: Counter) -> str:
    return f"packets {counter.packets} bytes {counter.bytes}"


def _key(element: Statement) -> Element:
    """As the kernel's listing has it."""
    words = (word.text for word in element.words if word.text != ".")
    return tuple(_NUMBERS.get(word) or _address(word) for word in words)


def _address(word: str) -> str:
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        return word


def _told_apart(old: Set, new: Set) -> bool:
    """Whether it takes but elements to make one of the other."""
    went, came = _difference(old, new), _difference(new, old)
    same = (old.kind, old.declared) == (new.kind, new.declared)
    # What goes must not be what stays, written in another way or merged with it.
    alone = not went or ("auto-merge" not in new.declared and _are_alone((*old.elements, *came)))
    return same and alone and not any(map(_says_more, (*went, *came)))


def _are_alone(elements: Iterable[Statement]) -> bool:
    """Whether each is known for another one than the others, however it is written."""
    keys = [tuple(map(_plain, _texts_before_colon(one))) for one in elements]
    return len({*keys}) == len(keys) and not any("" in key for key in keys)


def _texts_before_colon(element: Statement) -> Iterator[str]:
    """The words of the key; those of a map have a value behind it."""
    words = (word.text for word in element.words)
    return takewhile(lambda word: word != ":", words)


def _plain(word: str) -> str:
    """A number, an address, a network or a range in one form; empty for what nft looks up."""
    word = _NUMBERS.get(word, word)
    first, _, last = word.partition("-")
    if last:
        both = _plain(first), _plain(last)
        return "-".join(both) if all(both) else ""
    if word == "." or word.isdecimal():
        return word.lstrip("0") or "0"
    try:
        return str(ipaddress.ip_network(word))
    except ValueError:
        return ""


def _says_more(element: Statement) -> bool:
    return not _MORE.isdisjoint(word.text for word in element.words)


def _difference(one: Set, other: Set) -> Sequence[Statement]:
    """The elements of one that the other has not."""
    known = {*_texts(other.elements)}
    return [element for element in one.elements if element.text not in known]


def _braced(elements: Iterable[Statement]) -> str:
    return "{ " + ", ".join(dict.fromkeys(_texts(elements))) + " }"


def _texts(statements: Iterable[Statement]) -> list[str]:
    return [one.text for one in statements]
