"""Routes of the risk rules' thresholds."""

from api.command_routes import CommandRoute
from ledger_core.risk_rules import RiskRuleSet, SetRiskRule

COMMANDS = (
    CommandRoute(
        path="/v1/risk-rules",
        command=SetRiskRule,
        event=RiskRuleSet,
        summary="Set the thresholds of a risk rule, from now on",
        example={"rule": "large_movement", "parameters": {"amount": 15000}},
    ),
)
