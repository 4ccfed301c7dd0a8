"""Routes that freeze and unfreeze accounts."""

from api.command_routes import CommandRoute
from ledger_core.accounts import BlockLifted, BlockPlaced
from ledger_core.blocks import FreezeAccount, UnfreezeAccount

COMMANDS = (
    CommandRoute(
        path="/v1/accounts/{account_id}/freeze",
        command=FreezeAccount,
        event=BlockPlaced,
        path_field="account_id",
        summary="Block debits, credits or both, for a cause",
        example={"cause": "compliance", "effect": "debit"},
    ),
    CommandRoute(
        path="/v1/accounts/{account_id}/unfreeze",
        command=UnfreezeAccount,
        event=BlockLifted,
        path_field="account_id",
        summary="Lift the blocks of one cause",
        example={"cause": "compliance", "reason": "Case closed"},
    ),
)
