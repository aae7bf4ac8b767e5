"""The published interface against the running service: cases made from it, right and wrong, and chains.

Every answer is as the interface says, and enough of the cases move chips, or are refused by rules of money.
"""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.support.service import RunningService, running_service
from tests.support.web import ask, opened, post

SEED = 20_260_122
STEPS = 6
CHAINS = 10
MONEY = {200, 201, 202, 409, 422}
WITHOUT_MONEY = {"/api/health", "/api/ready"}
LEAST_SHARE = 0.25
OF_OPS, PAUSING = "^/api/ops/", "/(pause|resume)$"
"""What only ops may do, and what of that nothing else could be explored beside."""
AWAY = {503, 504}
OUR_OWN_CHECKS: list[Any] = [not_a_server_error, positive_data_acceptance]
"""What we check more sharply than schemathesis does."""
MALFORMED = {400, 401, 403, 405, 413, 415}

# Headers lose the spaces around them on the way.
schemathesis.openapi.format("printable", st.from_regex(r"[!-~]([ -~]{0,120}[!-~])?", fullmatch=True))


class Explorer:
    """Makes calls by the interface of one service, as one who may do everything, and counts the answers."""

    def __init__(self, service: RunningService, *, of_ops: bool = False) -> None:
        published: BaseSchema = schemathesis.openapi.from_url(f"http://{service.http}/api/openapi.json")
        self.schema = (
            published.include(path_regex=OF_OPS).exclude(path_regex=PAUSING)
            if of_ops
            # The body of a batch is lines, which the generator cannot make: tests/e2e/test_http_jobs.py does.
            else published.exclude(path_regex=OF_OPS).exclude(operation_id="submitBatch")
        )
        self.headers = {"Authorization": f"Bearer {service.token}"}
        self.answers: Counter[int] = Counter()
        self.money = 0
        self._accounts = [opened(service, chips) for chips in (0, 1_000, 2**52)]
        self._jobs = submitted(service, self._accounts[0])

    def among_accounts(self, case: Case[Any], draw: Callable[[int], int]) -> None:
        """Have most cases be about a few accounts, keys and jobs, so that they meet."""
        if "accountId" in (case.path_parameters or {}) and (number := draw(2 * len(self._accounts))):
            case.path_parameters["accountId"] = self._accounts[number % len(self._accounts)]
        for name in self._jobs.keys() & (case.path_parameters or {}).keys():
            case.path_parameters[name] = self._jobs[name]
        if "Idempotency-Key" in (case.headers or {}) and not draw(4):
            case.headers["Idempotency-Key"] = f"key-{draw(3)}"

    def call(self, case: Case[Any]) -> int:
        """One call, whose answer must be as published; its status."""
        answer = case.call(headers=self.headers)
        self.note(case, answer)
        case.validate_response(answer, excluded_checks=OUR_OWN_CHECKS)
        return answer.status_code

    def note(self, case: Case[Any], answer: Response) -> None:
        assert answer.status_code < 500 or answer.status_code in AWAY, answer.text
        self.answers[answer.status_code] += 1
        self.money += answer.status_code in MONEY and case.path not in WITHOUT_MONEY

    def explore_right(self, cases: int) -> None:
        """Calls of every operation, as published."""

        @seed(SEED)
        @few(cases)
        @given(case=self.schema.as_strategy(), data=st.data())
        def explore(case: Case[Any], data: st.DataObject) -> None:
            self.among_accounts(case, lambda most: data.draw(st.integers(0, most)))
            assert self.call(case) not in MALFORMED or has_a_float(case.body)

        explore()

    def explore_wrong(self, cases: int) -> None:
        """Calls of every operation, each wrong in some way that the interface names."""

        @seed(SEED)
        @few(cases)
        @given(case=self.schema.as_strategy(generation_mode=GenerationMode.NEGATIVE).filter(is_written))
        def explore(case: Case[Any]) -> None:
            self.call(case)

        explore()

    def follow(self, calls: int) -> None:
        """Chains of calls, each made of an answer to the one before."""
        wanted = self.answers.total() + calls
        seeds = count(SEED)
        while self.answers.total() < wanted:
            # The service remembers, so a run may find other answers than one before it: then another begins.
            with suppress(FlakyStrategyDefinition):
                run_state_machine_as_test(
                    seed(next(seeds))(self._chains()), settings=few(CHAINS, stateful_step_count=STEPS)
                )

    def _chains(self) -> type[RuleBasedStateMachine]:
        explorer = self

        class Chains(self.schema.as_state_machine()):  # type: ignore[misc]  # made at run time
            def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:
                return {"headers": explorer.headers}

            def after_call(self, response: Response, case: Case[Any]) -> None:
                explorer.note(case, response)

            def validate_response(self, response: Response, case: Case[Any], **_: Any) -> None:
                case.validate_response(response, excluded_checks=OUR_OWN_CHECKS)

        return Chains


def submitted(service: RunningService, account_id: str) -> dict[str, str]:
    """A command and a batch that are there to be looked up, by the names of their parameters."""
    command = {"operation": "Payout", "accountId": account_id, "amount": 1}
    lines = json.dumps({"account": account_id, "amount": 1}).encode()
    media = [("Content-Type", "application/x-ndjson")]
    batch = ask(service, "/api/batches", service.token, "POST", raw=lines, headers=media)
    return {
        "commandId": post(service, "/api/commands", command).body["commandId"],
        "batchId": batch.body["batchId"],
    }


def is_written(case: Case[Any]) -> bool:
    """False where a query is wrong by a value that is sent as nothing: the service cannot see it."""
    return all(value not in (None, [], {}) for value in (case.query or {}).values())


def has_a_float(body: Any) -> bool:
    """To JSON Schema 1.0 is an integer; to us it is a number that somebody's floats have been at."""
    return isinstance(body, dict) and any(isinstance(value, float) for value in body.values())


def few(examples: int, **options: Any) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        **options,
    )


@pytest.mark.parametrize(
    "cases", [300, pytest.param(2_000, marks=[pytest.mark.soak, pytest.mark.timeout(1_800)])]
)
def test_the_service_is_what_it_publishes(cases: int) -> None:
    """No answer beside the interface, no fault of ours, and at least a quarter that reached the money."""
    with running_service() as service:
        explorer = Explorer(service)
        explorer.explore_right(cases // 2)
        explorer.explore_wrong(cases // 4)
        explorer.follow(cases // 4)
    total = explorer.answers.total()
    assert total >= cases, explorer.answers
    assert explorer.money >= total * LEAST_SHARE, (explorer.money, explorer.answers)


@pytest.mark.parametrize(
    "cases", [120, pytest.param(1_000, marks=[pytest.mark.soak, pytest.mark.timeout(1_800)])]
)
def test_what_ops_do_is_as_it_is_published(service: RunningService, cases: int) -> None:
    """Right calls and wrong ones, of accounts, tables and dead letters that are mostly not there."""
    explorer = Explorer(service, of_ops=True)
    explorer.explore_right(cases * 2 // 3)
    explorer.explore_wrong(cases - cases * 2 // 3)
    assert explorer.answers.total() >= cases, explorer.answers
    assert explorer.answers[200] >= cases // 4, explorer.answers
