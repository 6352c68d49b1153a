"""A profile's limits: what protects the household, and how long it keeps and waits for things."""

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Limits(BaseModel):
    """Bounds that protect the household; every one holds for each request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    json_body_mb: float = Field(
        32, gt=0, description="Largest JSON body, in MB (10^6 bytes); more is refused with 413."
    )
    inline_body_kb: float = Field(1000, gt=0, description="Bodies above this many kB travel through the blob store.")
    width: int = Field(
        8,
        gt=0,
        description="Answers one request may ask for at once (n x prompts, or embedding inputs / 32, rounded up).",
    )
    no_worker_wait_s: float = Field(
        90, ge=0, description="How long a request waits for a queue that has no worker: a little over a model's load."
    )
    queue_wait_s: float = Field(
        600, gt=0, description="How long a request waits in the queue at most, unless it names a deadline of its own."
    )
    waiting: int = Field(2000, gt=0, description="Requests that may wait for one model, of all members together.")
    strangers_per_minute: int = Field(
        30, gt=0, description="Requests without a valid key that one address may send in any minute."
    )
    connections: int = Field(
        2000, gt=0, description="Connections one front holds at once, if so many files may be open."
    )
    connections_per_address: int = Field(
        500, gt=0, description="Of these, how many one address may have; a trusted proxy may have them all."
    )
    request_head_s: float = Field(
        20, gt=0, description="How long a client may take for a request's line and headers; more gets 408."
    )
    request_head_kb: float = Field(
        64, gt=0, description="Largest request line and headers together, in kB; more is refused with 431."
    )
    body_stall_s: float = Field(
        30, gt=0, description="How long a request's body may come slower than body_kb_per_s before it gets 408."
    )
    body_kb_per_s: float = Field(
        0.5, gt=0, description="Slowest that a request's body may come, in kB per second, over any body_stall_s."
    )
    chat_users: int = Field(
        100, ge=0, description="Users of a chat UI that may become members by themselves and have no key of their own."
    )
    record_ttl_s: float = Field(3600, gt=0, description="How long a job's record is kept after it was last written.")
    replay_s: float = Field(
        600, gt=0, description="How long an answer is kept for a client that comes back, after its last words."
    )
    replay_mb: float = Field(8, gt=0, description="Largest answer that is kept, in MB (10^6 bytes).")
    broker_wait_s: float = Field(
        60, gt=0, description="How long open answers wait for a broker that is away before they end with an error."
    )
    aof_rewrite_s: float = Field(
        600, ge=1, description="How long what is over may stay in the broker's append-only file on disk."
    )
    drain_s: float = Field(30, gt=0, description="How long a stopping worker or front lets running answers finish.")
    media_domains: tuple[str, ...] = Field(
        (), description="Hosts that image, video, audio and file URLs may name; none: only `data:` URLs."
    )

    upload_mb: float = Field(2000, gt=0, description="Largest upload, in MB (10^6 bytes); more is refused with 413.")
    disk_reserve_gb: float = Field(
        1, ge=0, description="Of the disk that holds uploads, what they never fill: uploads then get 507."
    )
    retention_h: float = Field(
        168, gt=0, description="How long files, batches and transcription jobs are kept after they ended, in hours."
    )
    usage_days: int = Field(400, gt=0, description="How long it is kept what each member used, in days.")
    batch_lines: int = Field(10_000, gt=0, description="Requests that one batch may hold.")
    transcription_files: int = Field(500, gt=0, description="Recordings that one transcription job may hold.")
    webhook_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that a transcription job may call when it ends; `*`: any with a public address; none: off.",
    )

    @model_validator(mode="after")
    def _records_last(self) -> "Limits":
        if self.record_ttl_s <= self.queue_wait_s:
            raise ValueError("record_ttl_s must be above queue_wait_s, or the record of a waiting job expires")
        if self.record_ttl_s < self.replay_s:
            raise ValueError("record_ttl_s must not be below replay_s, or nobody knows whose an answer is")
        return self
