"""The API as its own document tells it: whatever is sent, no answer is a 500, or another than the document knows."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi import checks

from familyai.allowance import Role
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess

EXAMPLES = 20
"""Of each operation: what fits into a minute on two cores."""
ANSWER_S = 20
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture
async def key(members: MemberStore) -> str:
    """An admin's: whoever may ask everything."""
    return (await members.add("mum", Role.ADMIN))[1]


@pytest.mark.timeout(300)
def test_no_request_breaks_the_front(
    start_process: StartProcess, worker: Process, key: str, subtests: pytest.Subtests
) -> None:
    document = schemathesis.openapi.from_url(f"{start_process('api').url}/openapi.json")
    for operation in document.get_all_operations():
        with subtests.test(operation.ok().label):
            examine(operation.ok(), {"Authorization": f"Bearer {key}"})


def examine(operation: schemathesis.APIOperation, headers: dict[str, str]) -> None:
    """Sends what the document allows, and what it just does not."""

    @given(case=st.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))
    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=HealthCheck)
    def run(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS, timeout=ANSWER_S)

    run()
