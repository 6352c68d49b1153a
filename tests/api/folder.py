"""Transcription jobs as a client asks for them."""

import json
from typing import Any

from tests.api.support import Served, until

JOBS = "/v1/transcription-jobs"
Files = list[tuple[str, tuple[str, bytes]]]


def uploads(*recordings: bytes, names: list[str] | None = None) -> Files:
    names = names or [f"{n}.m4a" for n in range(len(recordings))]
    return [("files", (name, data)) for name, data in zip(names, recordings, strict=True)]


async def begun(served: Served, *recordings: bytes, names: list[str] | None = None, **fields: str) -> dict[str, Any]:
    response = await served.client.post(JOBS, files=uploads(*recordings, names=names), data=fields)
    assert response.status_code == 200, response.text
    job: dict[str, Any] = response.json()
    return job


async def got(served: Served, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = (await served.client.get(f"{JOBS}/{job_id}")).json()
    return job


async def ended(served: Served, job_id: str) -> dict[str, Any]:
    async def is_over() -> bool:
        return (await got(served, job_id))["status"] not in ("queued", "running")

    await until(is_over, "the job ends")
    return await got(served, job_id)


async def followed(served: Served, job_id: str, **headers: str) -> list[dict[str, Any]]:
    """All events up to the stream's end."""
    events: list[dict[str, Any]] = []
    async with served.client.stream("GET", f"{JOBS}/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                events.append({"id": value})
            elif name == "event":
                events[-1]["type"] = value
            elif name == "data":
                events[-1] |= {"data": json.loads(value)}
    return events
