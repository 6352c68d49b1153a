"""What a worker measures; vLLM's own metrics stand beside these in the same registry."""

from prometheus_client import Counter, Gauge, Histogram

jobs = Counter("familyai_jobs", "Jobs ended, by how they ended.", ["queue", "state"])
running = Gauge("familyai_jobs_running", "Jobs in the engine now.", ["queue"])
queue_wait = Histogram(
    "familyai_queue_wait_seconds",
    "From the enqueue to the claim.",
    ["queue"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 5, 10, 30, 60, 300),
)
tokens = Counter("familyai_tokens", "Tokens of prompts and answers, as the engine counts them.", ["queue", "kind"])
frames = Counter("familyai_frames_published", "Frames published.")
messages = Counter("familyai_messages_published", "Messages that carried them.")
frames_lost = Counter("familyai_frames_lost", "Frames dropped because the broker did not take them.")
loaded = Gauge("familyai_engine_loaded", "1 while the engine can answer.", ["queue"])
