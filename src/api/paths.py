"""Which of some routes a path is of, found by one look: without the framework's own routing."""

import re
from collections.abc import Callable, Sequence

_PARAMETER = re.compile(r"\\\{[a-z_]+\\\}")


def finder(templates: Sequence[str]) -> Callable[[bytes], str | None]:
    """A function that says which of the templates a path is of, as it was sent; ``None``: of none.

    A path that is written out in a template is that one's, whatever a parameter could stand for.
    """
    plain = {template.encode(): template for template in templates if "{" not in template}
    others = [template for template in templates if "{" in template]
    either = "|".join(f"({_PARAMETER.sub('[^/]+', re.escape(template))})" for template in others)
    pattern = re.compile(either.encode())

    def find(path: bytes) -> str | None:
        """The template."""
        known = plain.get(path)
        if known is not None or not others:
            return known
        matched = pattern.fullmatch(path)
        return (
            None if matched is None or matched.lastindex is None else others[matched.lastindex - 1]
        )

    return find
