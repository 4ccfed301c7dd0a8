"""The model's exchanges, allocations and templates, in the few shapes that ``machine`` draws.

Whatever they work out is plain here: a rate of 100 euro to the yen is a yen for a cent, shares are
halves of even amounts, and a template books one figure.
"""

from tests.rules.model_movements import Movements
from tests.rules.model_state import Account, Leg, Refused

from ledger_core.allocations import Allocate
from ledger_core.exchanges import Exchange
from ledger_core.templates import DefineTemplate, PostTemplate, RetireTemplate

FEES_TO = "D"
"""Whom the one template pays."""


class Splits(Movements):
    """Movements of more than one step; each says how many events it comes to."""

    def exchange(self, command: Exchange) -> int:
        """Out of one currency and into another, over the bank's positions."""
        debit, credit = command.debit_account_id, command.credit_account_id
        self.exist([debit, credit])
        if debit == credit:
            raise Refused("same_account")
        amount, unit, other = int(command.amount), command.currency, command.counter_currency
        counter = int(command.counter_amount or amount)
        sold, bought = f"bank:position:{unit}", f"bank:position:{other}"
        self.fit([(debit, "debit", amount, unit), (credit, "credit", counter, other)])
        legs: list[Leg] = [
            (debit, "debit", amount, unit),
            (sold, "credit", amount, unit),
            (bought, "debit", counter, other),
            (credit, "credit", counter, other),
        ]
        opened = {
            name: Account("asset", currency, None)
            for name, currency in ((sold, unit), (bought, other))
            if name not in self.accounts
        }
        return self.book_opening(command, legs, opened)

    def allocate(self, command: Allocate) -> int:
        """From one account to several: halves, or a fixed amount and the rest."""
        amount = int(command.amount)
        source = command.sources[0].account_id or ""
        targets = [leg.account_id or "" for leg in command.destinations]
        fixed = command.destinations[0].fixed
        first = amount // 2 if fixed is None else int(fixed)
        self.exist([source, *targets])
        if source in targets:
            raise Refused("same_account")
        gives: Leg = (source, "debit", amount, command.currency)
        takes: list[Leg] = [(name, "credit", 0, command.currency) for name in targets]
        self.fit([gives, *takes])
        self.take([gives, *takes])
        account = self.accounts[source]
        most = account.limit if account.grows_on == "credit" else account.ceiling
        if most is not None and not command.force and amount > self.room(source, "debit"):
            self.be_free(command.entry_id, command.reference)
            self.be_dated_in_the_open(command.value_date)
            self.meet_conditions(command, {})
            raise Refused("insufficient_funds")
        legs: list[Leg] = []
        for name, part in zip(targets, (first, amount - first), strict=True):
            legs.append((source, "debit", part, command.currency))
            legs.append((name, "credit", part, command.currency))
        return self.book(command, legs)

    def post_template(self, command: PostTemplate) -> int:
        """A fee from the payer to whom the template names."""
        if not self.templates or self.templates["fee"] == "retired":
            raise Refused("template_not_found")
        payer = (command.accounts or {})["payer"]
        amount = int((command.amounts or {})["fee"])
        self.exist([payer, FEES_TO])
        legs: list[Leg] = [
            (payer, "debit", amount, command.currency),
            (FEES_TO, "credit", amount, command.currency),
        ]
        self.fit(legs)
        return self.book(command, legs)

    def change_template(self, command: DefineTemplate | RetireTemplate) -> int:
        """The template is there, or can no longer be used."""
        if isinstance(command, RetireTemplate):
            if not self.templates:
                raise Refused("template_not_found")
            was = self.templates["fee"]
            self.templates["fee"] = "retired"
            return int(was != "retired")
        said = command.description or ""
        was = self.templates.get("fee", "none")
        self.templates["fee"] = said
        return int(was != said)
