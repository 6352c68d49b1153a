"""Every Redis key, once.

| key                              | type    | written by                     | expires                          |
|----------------------------------|---------|--------------------------------|----------------------------------|
| `{queue}`                        | list    | front (enqueue), kombu         | never; Celery's own queue        |
| `unacked:{queue}` and its kin    | kombu's | kombu in that queue's workers  | never; entries when acknowledged |
| `familyai:job:{job}`             | hash    | front (enqueue), worker        | `record_ttl_s` of its last write |
| `familyai:waiting:{queue}`       | zset    | front (enqueue), worker        | never; entries at claim, cancel  |
| `familyai:workers:{queue}`       | zset    | worker (heartbeat)             | entries lapse after their TTL    |
| `familyai:reply:{front}`         | channel | worker                         | not stored                       |
| `familyai:control:{worker}`      | channel | front (cancel)                 | not stored                       |
| `familyai:members`               | hash    | `familyai member`              | never                            |
| `familyai:api-keys`              | hash    | `familyai member`              | never; removed with the member   |
"""

MEMBERS = "familyai:members"
API_KEYS = "familyai:api-keys"


def job(job_id: str) -> str:
    """The job's record.

    Fields `job` (until it ends), `state`, `attempt`, `worker`, `queue`, `delivery`, `claimed_at_s`, `ended_at_s`.
    """
    return f"familyai:job:{job_id}"


def waiting(queue: str) -> str:
    """Jobs of a queue that nobody has claimed: member = job id, score = Unix time of the enqueue."""
    return f"familyai:waiting:{queue}"


def workers(queue: str) -> str:
    """Live workers of a queue: member = worker id, score = the broker's Unix time at which it counts as dead."""
    return f"familyai:workers:{queue}"


def reply(front_id: str) -> str:
    """The channel on which one front process hears all frames of all its jobs."""
    return f"familyai:reply:{front_id}"


def control(worker_id: str) -> str:
    """The channel on which one worker hears which running jobs to abandon."""
    return f"familyai:control:{worker_id}"


def unacked(queue: str) -> dict[str, str]:
    """kombu's bookkeeping of delivered but unacknowledged messages, kept apart per queue."""
    return {
        "unacked_key": f"unacked:{queue}",
        "unacked_index_key": f"unacked_index:{queue}",
        "unacked_mutex_key": f"unacked_mutex:{queue}",
    }
