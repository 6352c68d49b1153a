"""The API as its own document tells it: whatever is sent, no answer is a 500, or another than the document knows."""

import json
from typing import Any

import httpx
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
CHAT = "/v1/chat/completions"
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
    await members.add("leo", Role.CHILD)
    return (await members.add("mum", Role.ADMIN))[1]


@pytest.mark.timeout(300)
def test_no_request_breaks_the_front(
    start_process: StartProcess, worker: Process, key: str, subtests: pytest.Subtests
) -> None:
    front = start_process("api")
    headers = {"Authorization": f"Bearer {key}"}
    there = what_is_there(front.url, headers)
    for operation in schemathesis.openapi.from_url(f"{front.url}/openapi.json").get_all_operations():
        with subtests.test(operation.ok().label):
            examine(operation.ok(), headers, there)


def what_is_there(url: str, headers: dict[str, str]) -> dict[str, Any]:
    """Names and ids that mean something, by the parameter that takes them: most that are made up would be unknown."""
    messages = [{"role": "user", "content": "Hi"}]
    line = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "auto", "messages": messages}}
    with httpx.Client(base_url=url, headers=headers, timeout=ANSWER_S, trust_env=False) as client:
        file = client.post("/v1/files", data={"purpose": "batch"}, files={"file": json.dumps(line).encode()}).json()
        whole = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        batch = client.post("/v1/batches", json=whole).json()
        answer = client.post(CHAT, json=line["body"])
    known: dict[str, Any] = {
        "name": "leo",
        "model": "auto",
        "purpose": "user_data",
        "endpoint": CHAT,
        "completion_window": "24h",
    }
    known |= {"messages": messages, "input": "Hi", "prompt": "Hi"}
    ids = {"file_id": file["id"], "input_file_id": file["id"], "batch_id": batch["id"]}
    return known | ids | {"job_id": answer.headers["X-FamilyAI-Job-Id"]}


def examine(operation: schemathesis.APIOperation, headers: dict[str, str], there: dict[str, Any]) -> None:
    """Sends what the document allows, and what it just does not, half of it about what is there."""

    @given(
        case=st.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode), is_there=st.booleans()
    )
    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=HealthCheck)
    def run(case: schemathesis.Case, is_there: bool) -> None:
        if is_there:
            case.headers.clear()  # most wishes that are made up are none
            for values in (case.path_parameters, case.body):
                if isinstance(values, dict):
                    values.update({name: there[name] for name in values if name in there})
        case.call_and_validate(headers=headers, checks=CHECKS, timeout=ANSWER_S)

    run()
