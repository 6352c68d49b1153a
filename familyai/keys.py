"""Every Redis key, once.

| key                              | type    | written by                     | expires                          |
|----------------------------------|---------|--------------------------------|----------------------------------|
| `{lane}`                         | list    | front (enqueue), kombu         | never; Celery's own queues       |
| `unacked:{queue}` and its kin    | kombu's | kombu in that queue's workers  | never; entries when acknowledged |
| `familyai:job:{job}`             | hash    | front (enqueue), worker        | `record_ttl_s` of its last write |
| `familyai:waiting:{lane}`        | zset    | front (enqueue), worker        | never; entries at claim, cancel  |
| `familyai:backlog:{queue}`       | hash    | front (enqueue), worker        | never; entries at claim, cancel  |
| `familyai:active:{queue}`        | set     | front (enqueue), worker        | never; entries when a lane is empty |
| `familyai:running:{queue}`       | hash    | worker                         | never; entries at a job's end    |
| `familyai:service:{queue}`       | zset    | worker, front (enqueue: lift)  | never                            |
| `familyai:pace:{queue}`          | hash    | worker                         | never                            |
| `familyai:told:{worker}`         | string  | worker                         | an hour after its last write     |
| `familyai:lane-count`            | string  | front, worker (start)          | never                            |
| `familyai:workers:{queue}`       | zset    | worker (heartbeat)             | entries lapse after their TTL    |
| `familyai:fronts`                | zset    | front (heartbeat)              | never; entries when it has left  |
| `familyai:reply:{front}`         | channel | worker                         | not stored                       |
| `familyai:control:{worker}`      | channel | front (cancel)                 | not stored                       |
| `familyai:file:{file}`           | string  | front (files, batches)         | `retention_h` after it was made  |
| `familyai:files:{member}`        | zset    | front (files, batches)         | never; entries when listed late  |
| `familyai:batch:{batch}`         | hash    | front (batches), leader        | `retention_h` after its end      |
| `familyai:batches:{member}`      | zset    | front (batches)                | never; entries when listed late  |
| `familyai:transcription:{id}`    | hash    | front (transcriptions), leader | `retention_h` after its end      |
| `familyai:transcriptions:{member}` | zset  | front (transcriptions)         | never; entries when listed late  |
| `familyai:transcription-events:{id}` | stream | leader, front (cancel)      | with its job                     |
| `familyai:work`                  | zset    | front (create), leader         | never; entries when ended        |
| `familyai:leader`                | string  | leader                         | seconds after its last renewal   |
| `familyai:rewritten`             | string  | front (erase)                  | after `aof_rewrite_s`            |
| `familyai:members`               | hash    | front (admin), `familyai member` | never                          |
| `familyai:api-keys`              | hash    | front (admin), `familyai member` | never; removed with the member |
| `familyai:member-names`          | hash    | front (admin), `familyai member` | never; removed with the member |
| `familyai:users`                 | hash    | front (admin, trusted keys)    | never; removed with the member   |
| `familyai:lane-owners`           | hash    | front (admin), `familyai member` | never; removed with the member |
| `familyai:route:{member}:{talk}` | string  | front (router)                 | an hour after it was answered    |
| `familyai:routed:{job}`          | string  | front (`learn`)                | a day after it was routed        |
| `familyai:routed-jobs:{member}`  | zset    | front (`learn`)                | a day after its last write       |
| `familyai:route-feedback:{job}`  | string  | front (feedback)               | never; removed with the member   |
| `familyai:marked-jobs:{member}`  | zset    | front (feedback)               | never; removed with the member   |
| `familyai:in-flight:{member}`    | hash    | front (enqueue), worker        | entries at a job's end; a day    |
| `familyai:usage:{day}`           | hash    | worker                         | after `usage_days`               |
| `familyai:set-aside`             | zset    | front (take back)              | never; entries a week later      |
| `familyai:log:{job}`             | stream  | worker, front (take back)      | `replay_s` after its last write  |
| `familyai:logs`                  | zset    | worker, front (erase)          | never; entries after their logs  |
| `familyai:detached`              | zset    | front (enqueue, watch)         | never; entries when ended        |
| `LIMITS:{familyai/{window}/{who}}`, its `/-1` | string | front, worker (limits) | after twice the window |
"""

from collections.abc import Callable

ALL = "familyai:*"
"""A pattern: every key and channel below but the lanes, kombu's and the limits'."""
LIMITS = "LIMITS:*"
"""A pattern: what the `limits` library keeps."""
LANE_COUNT = "familyai:lane-count"
"""The most lanes a model ever had: workers go on draining those that a smaller number leaves behind."""
WORK = "familyai:work"
"""Work that is not over: `batch:{id}`, `transcription:{id}`, and `webhook:{id}` for as long as the end of one has to be
told. Score = Unix time of making."""
LEADER = "familyai:leader"
"""The front process that drives them."""
FRONTS = "familyai:fronts"
"""Front processes: member = front id, score = the broker's Unix time at which it counts as dead.

It has left when it stopped in order, or when its jobs were withdrawn."""
REWRITTEN = "familyai:rewritten"
"""There while the broker's append-only file needs no rewriting."""
MEMBERS = "familyai:members"
"""Members by name."""
API_KEYS = "familyai:api-keys"
"""Keys by id: whose each is, and the hash of its secret."""
MEMBER_NAMES = "familyai:member-names"
"""Names as they are compared, without case, and how each is written."""
USERS = "familyai:users"
"""Members by the id of the user of a chat UI whom they are: `{issuer}/{user id}`."""
SET_ASIDE = "familyai:set-aside"
"""Jobs over which one worker after another died: member = job id, score = Unix time."""
LOGS = "familyai:logs"
"""Jobs that have a log: member = job id, score = Unix time at which it goes."""
DETACHED = "familyai:detached"
"""Jobs that no front in particular looks after: member = job id, score = Unix time of the enqueue."""
LANE_OWNERS = "familyai:lane-owners"
"""Whose each lane is, by its number."""


def job(job_id: str) -> str:
    """The job's record.

    Fields `job` (until it ends), `state`, `attempt`, `queue`, `lane`, `member`, `model`, `front`, `created_at_s`,
    `path`, `streams` (1: events were asked for), `worker`, `delivery`, `claimed_at_s`, `ended_at_s`, `queued_at_s` and
    `past` (when it was taken back, and what its client has of the answer that broke off).
    """
    return f"familyai:job:{job_id}"


def log(job_id: str) -> str:
    """The job's answer, as far as it is made: a stream with one entry for the frames of some 150 ms."""
    return f"familyai:log:{job_id}"


def waiting(lane: str) -> str:
    """Jobs of a lane that nobody has claimed: member = job id, score = Unix time of the enqueue."""
    return f"familyai:waiting:{lane}"


def backlog(queue: str) -> str:
    """The same for all lanes of a queue, with what the order needs to know: field = job id, value = its ticket."""
    return f"familyai:backlog:{queue}"


def active(queue: str) -> str:
    """The lanes of a queue in which somebody waits."""
    return f"familyai:active:{queue}"


def running(queue: str) -> str:
    """Jobs of a queue that are in an engine: field = job id, value = its ticket, worker, Unix time of the claim."""
    return f"familyai:running:{queue}"


def service(queue: str) -> str:
    """How much service each lane of a queue has had, over its members' weights, in units of the model's costs."""
    return f"familyai:service:{queue}"


def told(worker: str) -> str:
    """The number of what a worker told last of the service that its lanes had."""
    return f"familyai:told:{worker}"


def pace(queue: str) -> str:
    """How fast a queue's jobs are served, and who was served last.

    Fields `busy_s` and `cost`: sums over ended jobs, the older the less they count; `last {priority}`: the lane of that
    priority that was the last to become empty.
    """
    return f"familyai:pace:{queue}"


def route(member: str, talk: str) -> str:
    """The queue that answered a conversation, which is known by a digest of what its user said."""
    return f"familyai:route:{member}:{talk}"


def routed(job_id: str) -> str:
    """What the router saw of a request whose model it chose, as JSON: for its member to mark that model as wrong."""
    return f"familyai:routed:{job_id}"


def routed_jobs(member: str) -> str:
    """Those of a member's jobs: member = job id, score = Unix time of the choice."""
    return f"familyai:routed-jobs:{member}"


def route_feedback(job_id: str) -> str:
    """The same of a job whose model its member marked as wrong."""
    return f"familyai:route-feedback:{job_id}"


def marked_jobs(member: str) -> str:
    """Those of a member's jobs: member = job id, score = Unix time of the mark."""
    return f"familyai:marked-jobs:{member}"


def in_flight(member: str) -> str:
    """A member's jobs that have not ended, batch work left out where it says so: by id, `state width tokens at_s`."""
    return f"familyai:in-flight:{member}"


def usage(day: str) -> str:
    """What was used on one day of the household's calendar, `2026-01-31`: field = `[member, model, unit]` as JSON."""
    return f"familyai:usage:{day}"


def file(file_id: str) -> str:
    """A file's record, as JSON; its content is the blob `files/{file_id}`."""
    return f"familyai:file:{file_id}"


def files(member: str) -> str:
    """A member's files: member = file id, score = Unix time of its making."""
    return f"familyai:files:{member}"


def batch(batch_id: str) -> str:
    """A batch's record.

    Fields `batch` (as it was asked for), `status`, `{status}_at` (when it came so far), `total`, `completed`, `failed`,
    `line:{number}` (how a line that is done came out), `problems`, `output_file_id`, `error_file_id`.
    """
    return f"familyai:batch:{batch_id}"


def batches(member: str) -> str:
    """A member's batches: member = batch id, score = Unix time of its making."""
    return f"familyai:batches:{member}"


def transcription(transcription_id: str) -> str:
    """A transcription job's record."""
    return f"familyai:transcription:{transcription_id}"


def transcriptions(member: str) -> str:
    """A member's transcription jobs: member = id, score = Unix time of its making."""
    return f"familyai:transcriptions:{member}"


def transcription_events(transcription_id: str) -> str:
    """What happened to a transcription job: a stream with one entry per event."""
    return f"familyai:transcription-events:{transcription_id}"


def belongings(member: str) -> list[tuple[str, Callable[[str], str]]]:
    """The lists of what a member has, and for each what the record of one entry is called."""
    return [
        (files(member), file),
        (batches(member), batch),
        (transcriptions(member), transcription),
        (routed_jobs(member), routed),
        (marked_jobs(member), route_feedback),
    ]


def record_of_blob(name: str) -> str | None:
    """The record without which this object of the blob store is nobody's; None for a name of no known kind."""
    kind, _, rest = name.partition("/")
    record = {"requests": job, "files": file, "batches": batch, "transcriptions": transcription}.get(kind)
    return record(rest.partition("/")[0]) if record else None


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


DEFAULT_QUEUE = "celery"
"""Celery's own, in which nothing ever waits; Flower counts it all the same."""
UNACKED_OF_FLOWER = ("unacked", "unacked_index", "unacked_mutex")
"""The same, by kombu's own names, of who takes no messages but asks."""
