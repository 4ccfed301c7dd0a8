"""The model of what is asked now and done later: requests for approval, and standing orders."""

import copy
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import permutations
from typing import Any

import msgspec
from tests.rules.model import Model
from tests.rules.model_state import Refused

from ledger_core.approvals import ApproveRequest, RejectRequest, WithdrawRequest
from ledger_core.commands import Command, RequestApproval
from ledger_core.standing_orders import CancelOrder, CreateOrder, RunOrder
from ledger_core.transfers import Transfer

Vote = ApproveRequest | RejectRequest | WithdrawRequest


@dataclass
class Request:
    """A command that waits, who asked, and who approved with what."""

    command: Command
    approvers: tuple[str, ...]
    maker: str
    status: str = "pending"
    votes: dict[str, frozenset[str]] = field(default_factory=dict)

    def is_approved(self) -> bool:
        """Whether every needed permission has a person of its own."""
        return any(
            all(need in self.votes[one] for need, one in zip(self.approvers, seats, strict=True))
            for seats in permutations(self.votes, len(self.approvers))
        )


@dataclass
class Order:
    """A transfer that is carried out every day."""

    command: Transfer
    next_date: date
    cancelled: bool = False


@dataclass
class WaitingModel(Model):
    """A ledger in which commands may wait: for others, or for their day."""

    person: str = "maker"
    permissions: frozenset[str] = frozenset()
    requests: dict[str, Request] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    # Who voted, by the position at which the vote's answer stands.
    voters: dict[int, str] = field(default_factory=dict)

    def answer(self, command: Command) -> tuple[str, int]:
        """Answer one command; a run of an order has no key that anybody chose."""
        if isinstance(command, RequestApproval):
            word, position = super().answer(command)
            return "pending_approval" if word == "recorded" else word, position
        if not isinstance(command, RunOrder):
            word, position = super().answer(command)
            if isinstance(command, Vote) and word == "recorded":
                self.voters[position] = self.person
            return word, position
        place = ("key", command.key)
        if place in self.used:
            return "replayed", self.used[place][1]
        if not self._run(command):
            return "unchanged", self.position
        self.used[place] = (command, self.position)
        return "recorded", self.position

    def places(self, command: Command) -> tuple[tuple[str, str], ...]:
        """A request has the key of its command, and each is an answer to the other's retry."""
        own, request = ("key", command.key), ("request", command.key)
        return (request, own) if isinstance(command, RequestApproval) else (own, request)

    def says_the_same(self, first: Command, command: Command, position: int) -> bool:
        """A waiting command may be sent itself; a vote is that of its voter."""
        if isinstance(first, RequestApproval) and not isinstance(command, RequestApproval):
            first = first.command
        if isinstance(command, Vote) and self.voters.get(position) != self.person:
            return False
        return super().says_the_same(first, command, position)

    def carry_out(self, command: Command) -> int:
        """How many events the command comes to."""
        match command:
            case RequestApproval():
                return self._request(command)
            case ApproveRequest() | RejectRequest() | WithdrawRequest():
                return self._vote(command)
            case CreateOrder():
                return self._order(command)
            case CancelOrder(order_id=order_id):
                if order_id not in self.orders:
                    raise Refused("order_not_found")
                was, self.orders[order_id].cancelled = self.orders[order_id].cancelled, True
                return int(not was)
            case _:
                return super().carry_out(command)

    def _request(self, command: RequestApproval) -> int:
        """A command waits that would be done now."""
        before = copy.deepcopy(self)
        self.carry_out(command.command)
        self.__dict__.update(before.__dict__)
        self.requests[command.request_id or ""] = Request(
            command.command, command.approvers, self.person
        )
        self.used["approval_exists", command.request_id or ""] = (command, self.position + 1)
        return 1

    def _vote(self, command: Vote) -> int:
        """An approval, a rejection, or the maker's change of mind."""
        request = self.requests.get(command.request_id)
        if request is None:
            raise Refused("approval_not_found")
        if request.status != "pending":
            raise Refused(f"already_{request.status}")
        is_maker = request.maker == self.person
        if isinstance(command, WithdrawRequest):
            if not is_maker:
                raise Refused("not_permitted")
            request.status = "withdrawn"
            return 1
        if is_maker and isinstance(command, ApproveRequest):
            raise Refused("maker_cannot_approve")
        if not is_maker and self.person in request.votes:
            raise Refused("already_voted")
        if not is_maker and not self.permissions & set(request.approvers):
            raise Refused("not_permitted")
        if isinstance(command, RejectRequest):
            request.status = "rejected"
            return 1
        request.votes[self.person] = self.permissions
        if not request.is_approved():
            return 1
        return self._complete(request)

    def _complete(self, request: Request) -> int:
        """The last approval stands in the log, then what came of the command, then that it ran."""
        request.status = "completed"
        self.position += 1
        place = ("request", request.command.key)
        asked = self.used.pop(place)
        with suppress(Refused):
            self.answer(request.command)
        self.used[place] = asked
        return 1

    def _order(self, command: CreateOrder) -> int:
        """A transfer for every day, between accounts that fit."""
        movement: Any = command.command
        self.pair(movement)
        self.orders[command.order_id or ""] = Order(movement, command.schedule.first_date)
        self.used["order_exists", command.order_id or ""] = (command, self.position + 1)
        return 1

    def _run(self, command: RunOrder) -> bool:
        """Whether the order's next day is carried out, and all that comes of it."""
        if not command.due_date <= command.business_date <= self.today:
            raise Refused("validation_error")
        order = self.orders.get(command.order_id)
        if order is None:
            raise Refused("order_not_found")
        if order.cancelled or command.due_date < order.next_date:
            return False
        if command.due_date > order.next_date:
            raise Refused("validation_error")
        movement = msgspec.structs.replace(order.command, value_date=command.business_date)
        order.next_date += timedelta(days=1)
        with suppress(Refused):
            self.position += self.carry_out(movement)
        self.position += 1
        return True
