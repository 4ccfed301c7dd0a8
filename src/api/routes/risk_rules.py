"""Routes of the risk rules: set their thresholds, and read how they stand, or stood."""

from typing import Annotated

from fastapi import Query

from api.command_routes import CommandRoute
from api.parameters import AsOfQuery
from api.views import Answer, ReaderOf, Reflecting, ViewRoute, moment, plain
from ledger_core.risk_rules import RiskRuleSet, RuleName, SetRiskRule
from projections.flag_queries import rule_settings


class RiskRuleAnswer(Answer):
    """A rule with all its parameters; `since_position` is the event that set it, 0 its defaults."""

    rule: RuleName
    enabled: bool
    parameters: dict[str, int]
    since_position: int


class RiskRulesAnswer(Reflecting):
    """Every rule."""

    risk_rules: list[RiskRuleAnswer]


class RiskRulesQuery(AsOfQuery):
    """As of when."""


async def list_risk_rules(
    reader: ReaderOf, query: Annotated[RiskRulesQuery, Query()]
) -> RiskRulesAnswer:
    """The risk rules with their parameters, as they stood then."""
    await reader.wait(query)
    found = await reader.run(
        lambda connection: rule_settings(
            connection, reader.ledger_id, as_of=moment(query.as_of, query.as_of_position)
        )
    )
    return RiskRulesAnswer(
        risk_rules=[RiskRuleAnswer(**plain(item)) for item in found.items],
        position=found.position,
        recorded_at=found.recorded_at,
    )


COMMANDS = (
    CommandRoute(
        path="/v1/risk-rules",
        command=SetRiskRule,
        event=RiskRuleSet,
        summary="Set the thresholds of a risk rule, from now on",
        example={"rule": "large_movement", "parameters": {"amount": 15000}},
    ),
)
VIEWS = (
    ViewRoute(
        path="/v1/risk-rules",
        operation="list_risk_rules",
        endpoint=list_risk_rules,
        summary="Risk rules and their thresholds",
    ),
)
