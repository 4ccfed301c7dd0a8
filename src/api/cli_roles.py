"""``ledger roles``: who may do what in a ledger. Roles are set as any command is: ``ledger load``.

Imports are made inside the command, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.cli_support import Common, Failed, answer, catch_up, open_runtime

if TYPE_CHECKING:
    from cyclopts import App


def register(app: App) -> None:
    """Add the command."""
    app.command(roles)


def roles(name: str | None = None, /, *, common: Common | None = None) -> None:
    """The ledger's roles, or the one called NAME: what each grants, up to which amounts."""
    from api.routes.roles import described
    from ledger_core import snapshots
    from ledger_core.access_role import KIND

    common = common or Common()
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        catch_up(runtime, ledger_id)
        with runtime.connect("ledger_reader") as connection:
            stored = snapshots.load_resident(connection, ledger_id, (KIND,))
    found = [role for role in described(state for _, state in stored) if name in {None, role.name}]
    if not found:
        msg = "There is no role of that name."
        raise Failed(msg)
    lines = []
    for role in found:
        amounts = role.amount_max
        bound = (
            "no bound"
            if amounts is None
            else ", ".join(f"{amount} {currency}" for currency, amount in sorted(amounts.items()))
            or "nothing"
        )
        lines.append(f"{role.name}  {role.status}  {role.source}  at most: {bound}")
        lines.append(f"    {' '.join(role.grants) or '-'}")
    shown = [role.model_dump(mode="json") for role in found]
    answer(common, shown, "\n".join(lines))
