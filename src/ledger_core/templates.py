"""Posting templates: the postings of a fee, a tax or any recurring business, defined once as data.

A template has a name and versions; an entry made from it says which. A version is never changed:
a new definition is the next version, and entries may go on naming an earlier one. That debits
equal credits is proved when it is defined, for whatever figures it is used with.
"""

from typing import TYPE_CHECKING

import msgspec

from ledger_core.booking import (
    EntryFields,
    asked_of,
    book,
    entry_of,
    require_currency,
    require_fields,
)
from ledger_core.errors import TemplateNotFound, ValidationFailed
from ledger_core.fields import require_id, require_text
from ledger_core.journal import JournalEntryPosted, Posting, require_balanced
from ledger_core.money import minor_from_text
from ledger_core.template import (
    KIND,
    PARAMETERS_MAX,
    Parameter,
    ParameterKind,
    Template,
    TemplateDefined,
    TemplateLine,
    TemplateRetired,
    declared,
    require_definition,
    require_name,
    require_parameters,
)
from ledger_core.template_amounts import Amount, Figures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledger_core.accounts import Account
    from ledger_core.books import Books, Wants

# One change a month for eight years.
VERSIONS_MAX = 100


class DefineTemplate(
    msgspec.Struct, frozen=True, kw_only=True, tag="define_template", forbid_unknown_fields=True
):
    """Define a posting template, or its next version; the content in force changes nothing."""

    key: str = ""
    name: str
    parameters: tuple[Parameter, ...]
    postings: tuple[TemplateLine, ...]
    amounts: dict[str, Amount] = {}
    description: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The template as it is, and its accounts, for entries of the same transaction."""
        wants.kept.add((KIND, self.name))
        wants.accounts.update(
            line.account_id for line in self.postings if line.account_id is not None
        )


class RetireTemplate(
    msgspec.Struct, frozen=True, kw_only=True, tag="retire_template", forbid_unknown_fields=True
):
    """Let nobody use the template any more, in whatever version, until it is defined anew."""

    key: str = ""
    template: str
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The template."""
        wants.kept.add((KIND, self.template))


class PostTemplate(
    EntryFields, frozen=True, kw_only=True, tag="post_template", forbid_unknown_fields=True
):
    """Book the entry that a template makes of these accounts and figures (minor units).

    Without ``version`` by the last one. Lines that come to nothing are left out.
    """

    template: str
    currency: str
    version: int | None = None
    accounts: dict[str, str] | None = None
    amounts: dict[str, str] | None = None

    def needs(self, wants: "Wants") -> None:
        """The template (the shell loads the accounts that it names), accounts and identities."""
        wants.kept.add((KIND, self.template))
        wants.accounts.update((self.accounts or {}).values())
        self.wants_identities(wants)


def decide_definition(books: "Books", command: DefineTemplate) -> tuple[TemplateDefined, ...]:
    """Define the next version; ``()`` where the last one says the same and is in force.

    Raises:
        ValidationFailed: a malformed field, a parameter that is not declared or not used, postings
            that do not balance for every figure, or too many versions.
    """
    template: Template | None = books.kept(KIND, command.name)
    versions = () if template is None else template.versions
    event = TemplateDefined(
        command.name,
        len(versions) + 1,
        command.parameters,
        command.postings,
        command.amounts,
        command.description,
    )
    require_definition(event)
    if template is not None and template.status == "active":
        last = versions[-1]
        if msgspec.structs.replace(event, version=last.version) == last:
            return ()
    if len(versions) >= VERSIONS_MAX:
        raise ValidationFailed("name", f"a template of at most {VERSIONS_MAX} versions")
    return (event,)


def decide_retirement(books: "Books", command: RetireTemplate) -> tuple[TemplateRetired, ...]:
    """Retire the template; ``()`` where it is retired already.

    Raises:
        ValidationFailed: a malformed field.
        TemplateNotFound: no such template.
    """
    require_name(command.template, field="template")
    require_text(command.reason, field="reason")
    template: Template | None = books.kept(KIND, command.template)
    if template is None:
        raise TemplateNotFound(field="template")
    if template.status == "retired":
        return ()
    return (TemplateRetired(command.template, command.reason),)


def decide_posting(books: "Books", command: PostTemplate) -> tuple[JournalEntryPosted, ...]:
    """Book the entry; ``()`` where all its lines come to nothing.

    Raises:
        ValidationFailed: a malformed field, or not the parameters that the template declares.
        TemplateNotFound: no such template or version, or it is retired.
        AccountNotFound, UnknownCurrency, CurrencyMismatch: an account does not fit.
        AccountIsClosed, AccountIsBlocked, EntryExists, ReferenceConflict, PeriodIsClosed,
        VersionConflict, ConditionFailed, InsufficientFunds, LimitExceeded: see ``booking.book``.
    """
    require_fields(command)
    require_name(command.template, field="template")
    figures = _require_arguments(command)
    version = _version(books, command)
    _require_parameters(command, version)
    amounts = Figures(figures, version.amounts)
    postings = tuple(
        Posting(_account_id(line, command), line.side, amount_minor, command.currency)
        for line in version.postings
        if (amount_minor := amounts.minor(line.amount))
    )
    require_balanced(postings)  # Proved when it was defined; and here it is what is booked.
    for account in _accounts(books, command, version):
        require_currency(books, account, command.currency)
    entry = entry_of(
        command,
        "template",
        postings,
        asked=asked_of(command),
        template=f"{version.name}@{version.version}",
    )
    entry = book(books, command, entry)
    return (entry,) if postings else ()


def definition_of(event: TemplateDefined) -> DefineTemplate:
    """The command whose first answer this event was, without its key."""
    return DefineTemplate(
        name=event.name,
        parameters=event.parameters,
        postings=event.postings,
        amounts=event.amounts,
        description=event.description,
    )


def retirement_of(event: TemplateRetired) -> RetireTemplate:
    """The command whose first answer this event was, without its key."""
    return RetireTemplate(template=event.template, reason=event.reason)


def _require_arguments(command: PostTemplate) -> dict[str, int]:
    """The form of accounts and figures; the figures in minor units, zero allowed.

    Raises:
        ValidationFailed: a malformed one, named if its name could be a parameter's.
    """
    if command.version is not None and command.version < 1:
        raise ValidationFailed("version", "a version from 1 on")
    figures: dict[str, int] = {}
    accounts, amounts = command.accounts or {}, command.amounts or {}
    for field, given in (("accounts", accounts), ("amounts", amounts)):
        if len(given) > PARAMETERS_MAX:
            raise ValidationFailed(field, f"at most {PARAMETERS_MAX} parameters")
        require_parameters(given, field=field)
    for name, account_id in accounts.items():
        require_id(account_id, field=f"accounts.{name}")
    for name, digits in amounts.items():
        figures[name] = 0 if digits == "0" else minor_from_text(digits, field=f"amounts.{name}")
    return figures


def _version(books: "Books", command: PostTemplate) -> TemplateDefined:
    """The version of the template that is asked for.

    Raises:
        TemplateNotFound: there is none, or the template is retired.
    """
    template: Template | None = books.kept(KIND, command.template)
    if template is None:
        raise TemplateNotFound(field="template")
    if template.status == "retired":
        raise TemplateNotFound(field="template", status=template.status)
    newest = len(template.versions)
    if command.version is not None and command.version > newest:
        raise TemplateNotFound(field="version", newest_version=newest)
    return template.versions[(command.version or newest) - 1]


def _require_parameters(command: PostTemplate, version: TemplateDefined) -> None:
    """The caller gives exactly the parameters that the template declares.

    Raises:
        ValidationFailed: one is missing, or there is one that the template does not have.
    """
    kinds: tuple[tuple[ParameterKind, Iterable[str], str], ...] = (
        ("account", command.accounts or (), "accounts"),
        ("amount", command.amounts or (), "amounts"),
    )
    for kind, given, field in kinds:
        names = declared(version, kind)
        if names != set(given):
            rule = ", ".join(sorted(names)) or "none"
            raise ValidationFailed(field, f"exactly the template's parameters: {rule}")


def _accounts(books: "Books", command: PostTemplate, version: TemplateDefined) -> "list[Account]":
    """The accounts of all lines, those that come to nothing too.

    Raises:
        AccountNotFound: one does not exist.
    """
    return [
        books.account(
            _account_id(line, command),
            field=f"template.postings[{index}].account_id"
            if line.account_parameter is None
            else f"accounts.{line.account_parameter}",
        )
        for index, line in enumerate(version.postings)
    ]


def _account_id(line: TemplateLine, command: PostTemplate) -> str:
    """The account of a line: its own, or the one that the caller gave."""
    if line.account_parameter is not None:
        return (command.accounts or {})[line.account_parameter]
    return line.account_id or ""
