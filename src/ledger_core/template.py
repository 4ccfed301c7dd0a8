"""What a posting template is: parameters, lines, versions; and the proof that it balances.

Part of what entries are made from, like the period and the groups: who defines and uses templates
is in ``templates``. A definition that passes ``require_definition`` can be used with any figures
that keep its amounts from falling below zero, and debits equal credits for all of them.
"""

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from ledger_core.errors import ValidationFailed
from ledger_core.fields import require_id, require_text
from ledger_core.journal import POSTINGS_MIN, Side
from ledger_core.template_amounts import (
    Amount,
    NamedAmount,
    ParameterAmount,
    Symbols,
    Terms,
    require_form,
    within,
)

KIND = "template"

# A form that people fill in; beyond that it is a program.
PARAMETERS_MAX = 50
NAMED_MAX = 20
LINES_MAX = 100

# In addresses, and before the "@" of name@version.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_NAME_RULE = "1 to 100 letters, digits and . _ : - of ASCII, the first a letter or digit"
_PARAMETER = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PARAMETER_RULE = "1 to 40 small letters, digits and _ of ASCII, the first a letter"

ParameterKind = Literal["account", "amount"]
TemplateStatus = Literal["active", "retired"]


class Parameter(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """What a caller gives when the template is used: an account or an amount, under a name."""

    name: str
    kind: ParameterKind
    description: str | None = None


class TemplateLine(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """One leg: an amount on one side of an account that is named here, or by a parameter."""

    side: Side
    amount: Amount
    account_id: str | None = None
    account_parameter: str | None = None


class TemplateDefined(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version of a posting template was defined, 1 the first; it is never changed.

    ``amounts`` are those that it works out once under a name.
    """

    name: str
    version: int
    parameters: tuple[Parameter, ...]
    postings: tuple[TemplateLine, ...]
    amounts: dict[str, Amount] = {}
    description: str | None = None


class TemplateRetired(msgspec.Struct, frozen=True, omit_defaults=True):
    """No version of the template is used any more, until it is defined anew."""

    template: str
    reason: str | None = None


TemplateEvent = TemplateDefined | TemplateRetired


class Template(msgspec.Struct, frozen=True):
    """A template with all its versions; the first is number 1."""

    versions: tuple[TemplateDefined, ...]
    status: TemplateStatus
    position: int
    last_position: int

    @property
    def account_ids(self) -> tuple[str, ...]:
        """The accounts that any version names itself, each once."""
        lines = (line for version in self.versions for line in version.postings)
        return tuple(
            dict.fromkeys(line.account_id for line in lines if line.account_id is not None)
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """What the template is listed by: those accounts."""
        return tuple(f"account:{account_id}" for account_id in self.account_ids)


def ids(event: TemplateEvent, _position: int) -> tuple[str, ...]:
    """The name of the template."""
    return (event.name if isinstance(event, TemplateDefined) else event.template,)


def tags_of(event: TemplateDefined) -> list[str]:
    """The accounts that the definition names."""
    named = (line.account_id for line in event.postings if line.account_id is not None)
    return ["account:" + account_id for account_id in dict.fromkeys(named)]


def evolve(
    template: Template | None, event: TemplateEvent, position: int, _recorded_at: datetime
) -> Template:
    """The template after an event."""
    versions = () if template is None else template.versions
    begun = position if template is None else template.position
    match event:
        case TemplateDefined():
            return Template((*versions, event), "active", begun, position)
        case TemplateRetired():
            return Template(versions, "retired", begun, position)


def require_name(name: str, *, field: str) -> None:
    """A template's name, which stands in addresses and before an ``@``.

    Raises:
        ValidationFailed: another form.
    """
    if _NAME.fullmatch(name) is None:
        raise ValidationFailed(field, _NAME_RULE)


def require_parameters(names: Iterable[str], *, field: str) -> None:
    """Names of parameters or amounts.

    Raises:
        ValidationFailed: another form.
    """
    if not all(_PARAMETER.fullmatch(name) for name in names):
        raise ValidationFailed(field, f"names of {_PARAMETER_RULE}")


def declared(version: TemplateDefined, kind: ParameterKind) -> set[str]:
    """The names of the parameters of a kind."""
    return {parameter.name for parameter in version.parameters if parameter.kind == kind}


def require_definition(version: TemplateDefined) -> None:
    """The template can be used, and balances whatever figures it is used with.

    Raises:
        ValidationFailed: a malformed field, a parameter that is not declared or not used, or
            postings that do not balance.
    """
    require_name(version.name, field="name")
    require_text(version.description, field="description")
    _require_declarations(version)
    _require_lines(version)
    amounts = [(f"amounts.{name}", amount) for name, amount in version.amounts.items()]
    amounts += [
        (f"postings[{index}].amount", line.amount) for index, line in enumerate(version.postings)
    ]
    for field, amount in amounts:
        require_form(amount, field=field)
    _require_known(version, amounts)
    _require_no_circle(version.amounts)
    _require_all_used(version, [amount for _, amount in amounts])
    _require_balanced(version)


def _require_declarations(version: TemplateDefined) -> None:
    """Parameters and named amounts have names, and not too many.

    Raises:
        ValidationFailed: another form, or one name twice.
    """
    if len(version.parameters) > PARAMETERS_MAX:
        raise ValidationFailed("parameters", f"at most {PARAMETERS_MAX} parameters")
    seen: set[str] = set()
    for index, parameter in enumerate(version.parameters):
        field = f"parameters[{index}]"
        if _PARAMETER.fullmatch(parameter.name) is None:
            raise ValidationFailed(f"{field}.name", _PARAMETER_RULE)
        if parameter.name in seen:
            raise ValidationFailed(f"{field}.name", "another name than the others")
        require_text(parameter.description, field=f"{field}.description")
        seen.add(parameter.name)
    if len(version.amounts) > NAMED_MAX:
        raise ValidationFailed("amounts", f"at most {NAMED_MAX} amounts")
    require_parameters(version.amounts, field="amounts")


def _require_lines(version: TemplateDefined) -> None:
    """Every line names one account, by its id or by a parameter.

    Raises:
        ValidationFailed: too few or too many lines, or one that does not.
    """
    if not POSTINGS_MIN <= len(version.postings) <= LINES_MAX:
        raise ValidationFailed("postings", f"{POSTINGS_MIN} to {LINES_MAX} postings")
    accounts = declared(version, "account")
    for index, line in enumerate(version.postings):
        field = f"postings[{index}]"
        if (line.account_id is None) == (line.account_parameter is None):
            raise ValidationFailed(field, "one of account_id and account_parameter")
        if line.account_id is not None:
            require_id(line.account_id, field=f"{field}.account_id")
        elif line.account_parameter not in accounts:
            raise ValidationFailed(f"{field}.account_parameter", "a declared account")


def _require_known(version: TemplateDefined, amounts: Iterable[tuple[str, Amount]]) -> None:
    """Every amount that is referred to is declared.

    Raises:
        ValidationFailed: one is not.
    """
    parameters = declared(version, "amount")
    for field, amount in amounts:
        for part in within(amount):
            if isinstance(part, ParameterAmount) and part.name not in parameters:
                raise ValidationFailed(field, "declared parameters of the kind amount only")
            if isinstance(part, NamedAmount) and part.name not in version.amounts:
                raise ValidationFailed(field, "named amounts of the template only")


def _require_no_circle(named: dict[str, Amount]) -> None:
    """No named amount is made of itself, directly or by way of others.

    Raises:
        ValidationFailed: one is.
    """
    waits_for = {
        name: {part.name for part in within(amount) if isinstance(part, NamedAmount)}
        for name, amount in named.items()
    }
    while waits_for:
        ready = {name for name, others in waits_for.items() if not others & waits_for.keys()}
        if not ready:
            raise ValidationFailed(f"amounts.{min(waits_for)}", "not made of itself")
        waits_for = {name: others for name, others in waits_for.items() if name not in ready}


def _require_all_used(version: TemplateDefined, amounts: list[Amount]) -> None:
    """Nothing is declared that nothing refers to.

    Raises:
        ValidationFailed: something is.
    """
    parts = [part for amount in amounts for part in within(amount)]
    used: dict[ParameterKind, set[str | None]] = {
        "account": {line.account_parameter for line in version.postings},
        "amount": {part.name for part in parts if isinstance(part, ParameterAmount)},
    }
    for index, parameter in enumerate(version.parameters):
        if parameter.name not in used[parameter.kind]:
            raise ValidationFailed(f"parameters[{index}]", "a parameter that is used")
    named = {part.name for part in parts if isinstance(part, NamedAmount)}
    for name in version.amounts:
        if name not in named:
            raise ValidationFailed(f"amounts.{name}", "an amount that is used")


def _require_balanced(version: TemplateDefined) -> None:
    """Debits and credits consist of the same terms, so that they are equal for every figure.

    Raises:
        ValidationFailed: they do not.
    """
    symbols = Symbols(version.amounts)
    sides: dict[Side, Terms] = {"debit": Counter(), "credit": Counter()}
    for line in version.postings:
        sides[line.side].update(symbols.terms(line.amount))
    if sides["debit"] != sides["credit"]:
        raise ValidationFailed("postings", "debits of the same amounts as credits")
