"""Commands that asked for what was so already: nothing changed, but the key was used.

Without an event a retry of such a command would be judged anew, and might then act: freezing an
account that was frozen, and unfrozen since. So the answer is kept like any other.
"""

from typing import Any

import msgspec


class NothingChanged(msgspec.Struct, frozen=True):
    """A command was accepted that changed nothing; ``command`` is it, without its key."""

    command: dict[str, Any]


def tags_of(event: NothingChanged) -> list[str]:
    """What the command was about, under the tags of the events that it might have led to."""
    return names_in(event.command)


def names_in(command: dict[str, Any]) -> list[str]:
    """What a command names, as tags."""
    names = (
        ("account_id", "account"),
        ("customer_id", "customer"),
        ("group_id", "group"),
        ("code", "unit"),
    )
    named = [(tag, command.get(name)) for name, tag in names]
    is_unit = command.get("type") == "register_unit"
    return [
        f"{tag}:{name}" for tag, name in named if name is not None and (is_unit or tag != "unit")
    ]
