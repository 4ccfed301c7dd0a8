"""The whole API under schemathesis: requests made from the OpenAPI document, as each role.

A campaign makes requests, good and bad, for every operation of the document that the server itself
serves; sends each as every role; and follows the document's links in sequences. Ids that answers
name are used in later requests. Every answer is held against the document: a status, a type, a
header or a body that is not documented is a fault; so is any 5xx, and anything personal or secret
in an error, whether of the bank's customers or of the request itself.

Faults are collected, each kind once, so that one run tells all of them.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import msgspec
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, CheckFunction, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi import checks as openapi_checks
from tests.leaks import Watch, is_telling, objects_of, search

from api.parameters import WAIT_S_MAX

Json = dict[str, Any]
AnyCase = Case[Any]

TIMEOUT_S = 60
POOL_MAX = 40
"""Ids kept of each name."""
BOUNDARIES_SEEN = 150
"""Of an operation, from which some are chosen: large bodies have thousands."""
LIVELY = 0.7
"""The share of good requests whose ids are replaced by such as there are."""
REASON = "fuzzing"
WAIT_S = 0.02
"""How long requests wait for positions, where they would have waited longer."""
IN_VAIN_MAX = 8
"""So often in a row a key is refused before it is taken to be revoked."""
UNAUTHENTICATED = 401
_REFUSED = 400
_QUIET: Mapping[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],
    "suppress_health_check": list(HealthCheck),
    "verbosity": Verbosity.quiet,
}


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with an answer, and the first request that showed it."""

    operation: str
    kind: str
    role: str
    example: str


class Pool:
    """Ids and other names that answers told, by the member that told them.

    ``spared`` are those that nothing is done to: a campaign would end itself.
    """

    def __init__(self, document: Json) -> None:
        """Know under which name answers tell what each parameter of an address asks for."""
        self.found: dict[str, list[str]] = {}
        self.spared: set[str] = set()
        self._told_as: dict[tuple[str, str], str] = {}
        for link in document["components"].get("links", {}).values():
            for place, expression in link["parameters"].items():
                name = expression.rpartition("/")[2]
                self._told_as[link["operationId"], place.partition(".")[2]] = name

    def learn(self, answer: object) -> None:
        """Remember the ids in an answer."""
        for found in objects_of(answer):
            for name, value in found.items():
                is_id = name.endswith(("_id", "position", "size")) or name in {"name", "currency"}
                if is_id and isinstance(value, str | int) and not isinstance(value, bool):
                    kept = self.found.setdefault(name, [])
                    if str(value) not in kept and value != "":
                        kept.append(str(value))
                        del kept[:-POOL_MAX]

    def enliven(self, case: AnyCase, operation: str, chance: random.Random) -> None:
        """Replace made-up ids by such as there are."""
        for name in list(case.path_parameters or {}):
            told = self.found.get(self._told_as.get((operation, name), name), ())
            values = [value for value in told if value not in self.spared or case.method == "GET"]
            if values:
                case.path_parameters[name] = chance.choice(values)
        if isinstance(case.body, dict | list):
            for found in objects_of(case.body):
                self._replace(found, chance)

    def _replace(self, members: Any, chance: random.Random) -> None:  # noqa: ANN401 - of a body
        """Replace the ids among the members of a body's object; others stay as they are."""
        for name, value in members.items():
            short = "account_id" if name.endswith("account_id") else name
            values = self.found.get(short)
            is_chosen = name in {"entry_id", "hold_id", "order_id", "request_id", "name"}
            if values and isinstance(value, str) and not is_chosen:
                members[name] = chance.choice(values)
            elif name == "amount" and isinstance(value, str):
                members[name] = str(chance.randrange(1, 500))


class Campaign:
    """Requests to one server, by keys of several roles, and what came of them."""

    def __init__(  # noqa: PLR0913 - where to, as whom, how
        self,
        base_url: str,
        keys: Mapping[str, str],
        subjects: Sequence[str],
        seed_number: int,
        *,
        roles_each: int | None = None,
        new_key: Callable[[str], str] | None = None,
    ) -> None:
        """Read the document that the server serves.

        ``keys``: of each role, one. ``roles_each``: as how many of the roles each request is sent,
        in turn; all where it is not said. ``new_key``: makes a key of a role anew, for requests
        may well revoke the ones that they are sent by.
        """
        self.base_url = base_url
        self.keys = dict(keys)
        self._roles_each = len(keys) if roles_each is None else roles_each
        self._turns = cycle(keys)
        self._new_key = new_key
        self._in_vain: Counter[str] = Counter()
        self.counts: Counter[tuple[str, int]] = Counter()
        self.sent: Counter[str] = Counter()
        self.faults: dict[tuple[str, str], Fault] = {}
        self._subjects = [subject for subject in subjects if is_telling(subject)]
        self._seed = seed_number
        self._chance = random.Random(seed_number)
        self._session = requests.Session()
        document = self._session.get(f"{base_url}/openapi.json", timeout=TIMEOUT_S).json()
        self.pool = Pool(document)
        for role, key in keys.items():
            self._spare(role, key)
        self.schema = schemathesis.openapi.from_dict(document)
        self._checks: list[CheckFunction] = [
            not_a_server_error,
            openapi_checks.status_code_conformance,
            openapi_checks.content_type_conformance,
            openapi_checks.response_headers_conformance,
            openapi_checks.response_schema_conformance,
            self._nothing_personal,
        ]

    @property
    def requests_sent(self) -> int:
        """How many requests were sent."""
        return sum(self.counts.values())

    def operations(self) -> list[APIOperation[Any, Any, Any, Any]]:
        """Every operation of the document."""
        return [found.ok() for found in self.schema.get_all_operations() if isinstance(found, Ok)]

    def look_around(self) -> None:
        """Ask for every listing once, so that there are ids to begin with."""
        headers = self._headers("admin")
        for operation in self.operations():
            if operation.method.upper() == "GET" and "{" not in operation.path:
                address = self.base_url + operation.path
                self._learn(self._session.get(address, headers=headers, timeout=TIMEOUT_S))

    def examples(self, good: int, bad: int) -> None:
        """So many good and bad requests for each operation, each as every role."""
        for operation in self.operations():
            for mode, count in ((GenerationMode.POSITIVE, good), (GenerationMode.NEGATIVE, bad)):
                self._generate(operation, mode, count)

    def boundaries(self, most: int) -> None:
        """Requests at the edges of what each operation's schema allows, and just beyond."""
        config = self.schema.config.generation_for()
        for operation in self.operations():
            cases = self.schema.iter_coverage_cases(
                operation, generation_modes=list(GenerationMode), generation_config=config
            )
            chosen = list(islice(cases, BOUNDARIES_SEEN))
            self._chance.shuffle(chosen)
            for case in chosen[:most]:
                self._send(case)

    def sequences(self, role: str, count: int, steps: int) -> None:
        """So many sequences of up to so many requests that lead on to each other, as that role."""
        machine = self._machine(role)
        machine.run(settings=settings(max_examples=count, stateful_step_count=steps, **_QUIET))

    def next_round(self) -> None:
        """Make other requests than before from here on."""
        self._seed += 1

    def report(self) -> str:
        """The faults, in words."""
        return "\n\n".join(
            f"{fault.operation} as {fault.role}: {fault.kind}\n{fault.example}"
            for fault in self.faults.values()
        )

    def _generate(
        self, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, count: int
    ) -> None:
        """Make requests for an operation and send them."""
        if not count:
            return
        strategy = operation.as_strategy(generation_mode=mode)

        @seed(self._seed)
        @settings(max_examples=count, **_QUIET)
        @given(strategy, st.floats(0, 1))
        def run(case: AnyCase, share: float) -> None:
            """One request."""
            if mode is GenerationMode.POSITIVE and share < LIVELY:
                self.pool.enliven(case, operation.definition.raw["operationId"], self._chance)
            self._send(case)

        try:
            run()
        except Exception as error:  # noqa: BLE001 - no bad request may exist for an operation
            if "Unsatisfiable" not in type(error).__name__:
                self._note(operation.label, f"cannot be generated: {error!r}", "-", "")

    def _send(self, case: AnyCase) -> None:
        """Send a request as the roles whose turn it is, one after another."""
        _do_not_wait(case.query)
        _do_not_wait(case.body)
        for _ in range(self._roles_each):
            role = next(self._turns)
            response = case.call(
                base_url=self.base_url,
                session=self._session,
                headers=self._headers(role, case),
                timeout=TIMEOUT_S,
            )
            self._judge(role, case, response)

    def _headers(self, role: str, case: AnyCase | None = None) -> dict[str, str]:
        """The headers of a request by a role's key: a reason, and mostly a key of the command."""
        headers = {"Authorization": f"Bearer {self.keys[role]}"}
        if case is None or "Ledger-Reason" not in (case.headers or {}):
            headers["Ledger-Reason"] = REASON
        is_keyed = case is None or "Idempotency-Key" in (case.headers or {})
        if not is_keyed and self._chance.random() < LIVELY:
            headers["Idempotency-Key"] = f"fuzz-{self._seed}-{self.requests_sent}"
        return headers

    def _judge(self, role: str, case: AnyCase, response: Response) -> None:
        """Hold an answer against the document."""
        self.counts[role, response.status_code] += 1
        self._notice(role, response.status_code)
        self.sent[case.operation.label] += 1
        self._learn(response)
        try:
            case.validate_response(response, checks=self._checks)
        except FailureGroup as group:
            for failure in group.exceptions:
                example = f"{case.as_curl_command()}\n{response.text[:600]}"
                kind = f"{response.status_code} {failure.title}: {failure.message[:200]}"
                self._note(case.operation.label, kind, role, example)

    def _spare(self, role: str, key: str) -> None:
        """Neither retire the role nor revoke the key that requests are sent by."""
        self.pool.spared |= {role, *key.split("_")[2:3]}

    def _notice(self, role: str, status: int) -> None:
        """Where a key opens nothing any more, go on with a new one."""
        self._in_vain[role] = self._in_vain[role] + 1 if status == UNAUTHENTICATED else 0
        if self._new_key is not None and self._in_vain[role] >= IN_VAIN_MAX:
            self.keys[role] = self._new_key(role)
            self._spare(role, self.keys[role])
            self._in_vain[role] = 0

    def _note(self, operation: str, kind: str, role: str, example: str) -> None:
        """Keep a fault, the first of its kind at the operation."""
        self.faults.setdefault((operation, kind[:60]), Fault(operation, kind, role, example))

    def _learn(self, response: Response | requests.Response) -> None:
        """Remember the ids of an answer that is no refusal."""
        is_json = "application/json" in str(response.headers.get("content-type"))
        if response.status_code < _REFUSED and is_json:
            self.pool.learn(response.json())

    def _nothing_personal(self, ctx: CheckContext, response: Response, case: AnyCase) -> None:
        """No error tells anything of the bank's customers, or what the request said of one."""
        del ctx
        if response.status_code < _REFUSED:
            return
        watch = Watch()
        watch.learn_request(case.path, json.dumps(case.body, default=str).encode())
        told = response.text + str(response.headers)
        leaks = search("error", told, [*self._subjects, *watch.values, *self.keys.values()])
        assert not leaks, leaks[0].near

    def _machine(self, role: str) -> Any:  # noqa: ANN401 - made by schemathesis, without a type
        """The sequences of requests as one role."""
        campaign = self
        base: Any = self.schema.as_state_machine()

        class Sequence(base):  # type: ignore[misc]  # Made while running.
            """Requests that lead on to each other."""

            def get_call_kwargs(self, case: AnyCase) -> dict[str, Any]:
                """Send it to the server, by the role's key."""
                return {
                    "base_url": campaign.base_url,
                    "session": campaign._session,
                    "headers": campaign._headers(role, case),
                    "timeout": TIMEOUT_S,
                }

            def before_call(self, case: AnyCase) -> None:
                """What no link names is taken from what there is."""
                _do_not_wait(case.query)
                if isinstance(case.body, dict | list):
                    for found in objects_of(case.body):
                        campaign.pool._replace(found, campaign._chance)

            def validate_response(self, response: Response, case: AnyCase, **_: Any) -> None:  # noqa: ANN401
                """Hold the answer against the document."""
                campaign._judge(role, case, response)

        return Sequence


def _do_not_wait(parameters: Any) -> None:  # noqa: ANN401 - of an address, or a body
    """Wait shortly for a position that may never come; what is malformed stays so."""
    if isinstance(parameters, dict) and "min_position" in parameters:
        asked = parameters.get("wait_s", 5)
        if isinstance(asked, int | float) and WAIT_S < asked <= WAIT_S_MAX:
            parameters["wait_s"] = WAIT_S


def never_sent(campaign: Campaign) -> Iterator[str]:
    """Operations to which no request was sent."""
    for operation in campaign.operations():
        if not campaign.sent[operation.label]:
            yield operation.label
