"""Which of some routes a path is of, found by one look: without the framework's own routing."""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote

Address = tuple[str, Mapping[str, str]]
"""The template of a route, and what the path has in the places of its parameters, as it was sent.
"""

_PARAMETER = re.compile(r"\{[a-z_]+\}")
# What a parameter may be: no part of another segment, no query, and nothing but ASCII.
_SEGMENT = r"([^/?#\x80-\xff]+)"


def finder(templates: Sequence[str]) -> Callable[[bytes], Address | None]:
    """A function that says of which template a path is, as it was sent; ``None``: of none.

    A path that is written out in a template is that one's, whatever a parameter could stand for.
    """
    plain: dict[bytes, Address] = {
        template.encode(): (template, {}) for template in templates if "{" not in template
    }
    others = [template for template in templates if "{" in template]
    either = "|".join(
        f"({_SEGMENT.join(map(re.escape, _PARAMETER.split(template)))})" for template in others
    )
    pattern = re.compile(either.encode("latin-1"))
    # A template's group ends after those of its parameters: it is the one that was matched last.
    names: dict[int, tuple[str, Sequence[str]]] = {}
    group = 1
    for template in others:
        found = [name[1:-1] for name in _PARAMETER.findall(template)]
        names[group] = (template, found)
        group += 1 + len(found)

    def find(path: bytes) -> Address | None:
        """The template, and its parameters."""
        known = plain.get(path)
        if known is not None or not others:
            return known
        matched = pattern.fullmatch(path)
        if matched is None or matched.lastindex is None:
            return None
        template, parameters = names[matched.lastindex]
        return template, {
            name: matched[at].decode() for at, name in enumerate(parameters, matched.lastindex + 1)
        }

    return find


def path_id(segment: str) -> str:
    """The id behind a segment of the address, whatever characters it has.

    Bytes that are not UTF-8 become lone surrogates, which no id may have.
    """
    return unquote(segment, errors="surrogateescape") if "%" in segment else segment
