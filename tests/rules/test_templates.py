"""Posting templates: definitions, versions, and the entries they make."""

from typing import Any

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import Given, deposited, given, opened, with_field

from ledger_core.commands import Command, differing_fields
from ledger_core.errors import (
    AccountNotFound,
    CurrencyMismatch,
    InsufficientFunds,
    LedgerError,
    TemplateNotFound,
    ValidationFailed,
)
from ledger_core.journal import JournalEntryPosted, Posting, Side, require_balanced
from ledger_core.template import (
    PARAMETERS_MAX,
    Parameter,
    Template,
    TemplateDefined,
    TemplateLine,
    TemplateRetired,
)
from ledger_core.template_amounts import (
    Amount,
    FixedAmount,
    NamedAmount,
    ParameterAmount,
    PercentAmount,
    SumAmount,
)
from ledger_core.templates import VERSIONS_MAX, DefineTemplate, PostTemplate, RetireTemplate

FEE, TAX = ParameterAmount(name="fee"), NamedAmount(name="tax")
ALL = SumAmount(of=(FEE, TAX))
PAYER = Parameter(name="payer", kind="account")


def line(
    side: Side, amount: Amount, account_id: str | None = None, parameter: str | None = None
) -> TemplateLine:
    """One leg of a template."""
    return TemplateLine(
        side=side, amount=amount, account_id=account_id, account_parameter=parameter
    )


def define(**fields: Any) -> DefineTemplate:  # noqa: ANN401
    """A fee with 19 % tax on it, unless said otherwise."""
    return DefineTemplate(
        **{
            "name": "fee",
            "parameters": (PAYER, Parameter(name="fee", kind="amount")),
            "amounts": {"tax": PercentAmount(percent="19%", of=FEE, rounding="half_up")},
            "postings": (
                line("debit", ALL, parameter="payer"),
                line("credit", FEE, "fees"),
                line("credit", TAX, "tax"),
            ),
            **fields,
        }
    )


def post(fee: int | str, **fields: Any) -> PostTemplate:  # noqa: ANN401
    """The fee, charged to A in euro unless said otherwise."""
    return PostTemplate(
        **{
            "template": "fee",
            "currency": "EUR",
            "accounts": {"payer": "A"},
            "amounts": {"fee": str(fee)},
            **fields,
        }
    )


def bank(*happened: Command) -> Given:
    """A has 1,000 and pays fees and tax."""
    return given(
        opened("A"),
        opened("fees", account_type="income"),
        opened("tax"),
        opened("yen", currency="JPY"),
        deposited("A", 1000),
        *happened,
    )


def test_a_definition_is_kept_with_all_its_versions() -> None:
    """The same content again changes nothing; other content is the next version."""
    command = define(description="d")
    first = TemplateDefined("fee", 1, command.parameters, command.postings, command.amounts, "d")
    books = bank().when(command).then(first)
    Given(books).when(command).then_nothing()
    other = with_field(command, "description", "e")
    second = TemplateDefined("fee", 2, command.parameters, command.postings, command.amounts, "e")
    books = Given(books).when(other).then(second)
    # What was in force before is new content again.
    books = (
        Given(books)
        .when(command)
        .then(TemplateDefined("fee", 3, command.parameters, command.postings, command.amounts, "d"))
    )
    template = books.kept("template", "fee")
    assert isinstance(template, Template)
    assert [version.version for version in template.versions] == [1, 2, 3]
    assert template.status == "active"
    assert (template.position, template.last_position) == (books.position - 2, books.position)
    assert template.tags == ("account:fees", "account:tax")


def test_an_entry_follows_the_template() -> None:
    """In the order of its lines, with the version in the entry and lines of nothing left out."""
    answer = bank(define()).when(post(150, description="May"))
    (entry,) = answer.events
    assert isinstance(entry, JournalEntryPosted)
    assert (entry.kind, entry.template, entry.description) == ("template", "fee@1", "May")
    assert entry.postings == (
        Posting("A", "debit", 179, "EUR"),
        Posting("fees", "credit", 150, "EUR"),
        Posting("tax", "credit", 29, "EUR"),  # 28.5 rounded half up
    )
    (small,) = bank(define()).when(post(1)).events
    assert isinstance(small, JournalEntryPosted)
    assert [posting.account_id for posting in small.postings] == ["A", "fees"]
    bank(define()).when(post(0)).then_nothing()


def test_an_entry_may_name_an_earlier_version() -> None:
    """Without one it is the last; a retry is the same command whatever was defined since."""
    higher = define(amounts={"tax": PercentAmount(percent="20%", of=FEE, rounding="half_up")})
    books = bank(define(), higher)
    for version, name, taxed in ((None, "fee@2", 20), (1, "fee@1", 19), (2, "fee@2", 20)):
        (entry,) = books.when(post(100, version=version)).events
        assert isinstance(entry, JournalEntryPosted)
        assert (entry.template, entry.postings[-1].amount_minor) == (name, taxed)
        assert differing_fields(post(100, version=version), entry, None) == ()
        assert differing_fields(post(101, version=version), entry, None) == ("amounts",)
    books.when(post(100, version=3)).then_refuses(
        TemplateNotFound, field="version", newest_version=2
    )


def test_a_retired_template_is_not_used_until_it_is_defined_anew() -> None:
    """Its versions go on counting; retiring it again changes nothing."""
    retire = RetireTemplate(template="fee", reason="r")
    begun = bank(define())
    position = begun.books.position
    books = begun.when(retire).then(TemplateRetired("fee", "r"))
    template = books.kept("template", "fee")
    assert isinstance(template, Template)
    assert (template.position, template.last_position) == (position, position + 1)
    Given(books).when(retire).then_nothing()
    for version in (None, 1):
        Given(books).when(post(100, version=version)).then_refuses(
            TemplateNotFound, field="template", status="retired"
        )
    (event,) = Given(books).when(define()).events
    assert isinstance(event, TemplateDefined)
    assert event.version == 2
    assert Given(books).when(post(100)).error is None
    bank().when(with_field(retire, "template", "a@1")).then_refuses(
        ValidationFailed, field="template"
    )
    bank().when(retire).then_refuses(TemplateNotFound, field="template")
    bank().when(post(100)).then_refuses(TemplateNotFound, field="template")


def test_versions_are_bounded() -> None:
    """A hundred are kept; the hundred and first is refused."""
    books = bank(*[define(description=str(number)) for number in range(VERSIONS_MAX)])
    books.when(define(description="one more")).then_refuses(ValidationFailed, field="name")
    books.when(define(description=str(VERSIONS_MAX - 1))).then_nothing()


PLAIN = (line("debit", FEE, parameter="payer"), line("credit", FEE, "fees"))


@pytest.mark.parametrize(
    ("fields", "kind", "seen"),
    [
        ({"template": "a@1"}, ValidationFailed, {"field": "template"}),
        ({"version": 0}, ValidationFailed, {"field": "version"}),
        ({"reference": ""}, ValidationFailed, {"field": "reference"}),
        ({"amounts": {"fee": "-1"}}, ValidationFailed, {"field": "amounts.fee"}),
        ({"amounts": {"fee": "00"}}, ValidationFailed, {"field": "amounts.fee"}),
        ({"amounts": {"Fee": "1"}}, ValidationFailed, {"field": "amounts"}),
        ({"amounts": None}, ValidationFailed, {"field": "amounts"}),
        ({"amounts": {"fee": "1", "tax": "1"}}, ValidationFailed, {"field": "amounts"}),
        (
            {"amounts": {f"n{index}": "1" for index in range(PARAMETERS_MAX + 1)}},
            ValidationFailed,
            {"field": "amounts"},
        ),
        (
            {"accounts": {f"n{index}": "A" for index in range(PARAMETERS_MAX + 1)}},
            ValidationFailed,
            {"field": "accounts"},
        ),
        ({"accounts": {"Payer": "A"}, "amounts": {}}, ValidationFailed, {"field": "accounts"}),
        ({"accounts": {"payer": ""}}, ValidationFailed, {"field": "accounts.payer"}),
        ({"accounts": {}}, ValidationFailed, {"field": "accounts"}),
        ({"accounts": {"payer": "A", "other": "A"}}, ValidationFailed, {"field": "accounts"}),
        ({"accounts": {"payer": "Z"}}, AccountNotFound, {"field": "accounts.payer"}),
        ({"accounts": {"payer": "yen"}}, CurrencyMismatch, {"account_id": "yen"}),
        ({"currency": "JPY"}, CurrencyMismatch, {"account_id": "A"}),
        ({"amounts": {"fee": "1000"}}, InsufficientFunds, {"needed_minor": "1190"}),
    ],
)
def test_what_does_not_fit_is_refused_and_named(
    fields: dict[str, Any], kind: type[LedgerError], seen: dict[str, object]
) -> None:
    """Form, template, parameters, accounts, and then what every entry must pass."""
    bank(define()).when(post(1, **fields)).then_refuses(kind, **seen)


@pytest.mark.parametrize(
    ("fields", "field", "names"),
    [
        ({"amounts": {}}, "amounts", "fee, more"),
        ({"accounts": {}}, "accounts", "payer"),
        ({"accounts": {"payer": "A"}, "template": "own"}, "accounts", "none"),
    ],
)
def test_a_refusal_says_which_parameters_there_are(
    fields: dict[str, Any], field: str, names: str
) -> None:
    """All of the kind, in the order of the alphabet: the caller knows what to give."""
    figures = (Parameter(name="more", kind="amount"), Parameter(name="fee", kind="amount"))
    more = line("credit", ParameterAmount(name="more"), "fees")
    two = define(
        parameters=(PAYER, *figures),
        postings=(*PLAIN, line("debit", more.amount, "A"), more),
        amounts={},
    )
    own = define(
        name="own",
        parameters=(define().parameters[1],),
        postings=(line("debit", FEE, "A"), PLAIN[1]),
        amounts={},
    )
    error = bank(two, own).when(post(1, **fields)).error
    assert isinstance(error, ValidationFailed)
    assert (error.field, error.rule) == (field, f"exactly the template's parameters: {names}")


amounts = st.one_of(
    st.just(FEE),
    st.just(TAX),
    st.integers(1, 50).map(lambda n: FixedAmount(amount=str(n))),
    st.sampled_from(["1%", "33.3%", "150%"]).map(
        lambda percent: PercentAmount(percent=percent, of=ALL, rounding="half_even")
    ),
)


@draw(st.lists(amounts, min_size=1, max_size=5), st.integers(0, 10**9), st.data())
def test_what_is_accepted_always_balances(
    debited: list[Amount], fee: int, data: st.DataObject
) -> None:
    """The same amounts in other groups on the other side: accepted, and balanced to the unit."""
    order = data.draw(st.permutations(debited))
    cut = data.draw(st.integers(0, len(order)))
    groups = [SumAmount(of=tuple(part)) for part in (order[:cut], order[cut:]) if part]
    postings = (
        *(line("debit", amount, parameter="payer") for amount in debited),
        *(line("credit", amount, "fees") for amount in groups),
        line("debit", ALL, "tax"),
        line("credit", ALL, "fees"),
    )
    answer = bank(define(postings=postings)).when(post(fee, force=True))
    assert answer.error is None, answer.error
    for entry in answer.events:
        assert isinstance(entry, JournalEntryPosted)
        require_balanced(entry.postings)


def test_an_account_that_the_template_names_must_exist_when_it_is_used() -> None:
    """It may be opened after the definition; what is missing then is named by its line."""
    postings = (PLAIN[0], line("credit", FEE, "later"))
    books = bank(define(postings=postings, amounts={}))
    books.when(post(1)).then_refuses(AccountNotFound, field="template.postings[1].account_id")
    assert Given(books.when(opened("later")).books).when(post(1)).error is None
