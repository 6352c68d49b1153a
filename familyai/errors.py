"""The error tree.

FamilyAIError
├── ConfigurationError            queues.yaml or the environment is wrong; nothing starts
├── DecodeError                   bytes from Redis are not what this version writes
└── RequestError                  answered to a client in OpenAI's envelope
    ├── BadRequest           400  the request cannot be served as it is
    ├── Unauthorized         401  no key, a wrong key, or a removed member's
    ├── Forbidden            403  not this member's to do, or not now
    ├── NotFound             404  no such model or path
    ├── TooSlow              408  the client takes too long to send its request
    ├── Cancelled            410  taken back by its member or an admin
    ├── TooLarge             413  the body is over its limit
    ├── LimitReached         429  a limit that a parent set, or a line that is too long
    ├── HeadTooLarge         431  the request line or the headers are over their limit
    ├── EngineFailed         500  the engine raised
    ├── Unavailable          503  may work later: broker down, no worker, a lost worker
    └── InsufficientStorage  507  the disk is full, or its reserve is reached

Third-party exceptions stop where they are met: redis-py's at the edges of `api` and `workers`, an engine's in
`workers.serve`.
"""

from copy import copy
from typing import Any, Self


class FamilyAIError(Exception):
    """Root of everything FamilyAI raises on purpose."""


class ConfigurationError(FamilyAIError):
    """Names the file or variable that is wrong and what would be right."""


class DecodeError(FamilyAIError):
    """Bytes that this version cannot read: corrupt, or written by another version."""


class RequestError(FamilyAIError):
    """A refusal or failure that a client sees.

    `type` and `code` are OpenAI's words; `param` names the parameter at fault; `retry_after_s` becomes `Retry-After`,
    and `job_id`, where the request had become a job, `X-FamilyAI-Job-Id`.
    """

    status = 500
    type = "server_error"
    code: str | None = None
    job_id: str | None = None

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.param = param
        self.retry_after_s = retry_after_s

    def of(self, job_id: str) -> Self:
        """The same of this job; itself it may be what several are told."""
        told = copy(self)
        told.job_id = job_id
        return told

    def envelope(self) -> dict[str, Any]:
        """OpenAI's error body: `{"error": {message, type, param, code}}`."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class BadRequest(RequestError):
    status = 400
    type = "invalid_request_error"


class Unauthorized(RequestError):
    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"


class Forbidden(RequestError):
    status = 403
    type = "permission_error"
    code = "forbidden"


class NotFound(RequestError):
    status = 404
    type = "invalid_request_error"


class TooSlow(RequestError):
    status = 408
    type = "invalid_request_error"
    code = "request_timeout"


class Cancelled(RequestError):
    """Not 409, which OpenAI's clients try again by themselves."""

    status = 410
    type = "invalid_request_error"
    code = "cancelled"


class TooLarge(RequestError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class HeadTooLarge(RequestError):
    status = 431
    type = "invalid_request_error"
    code = "headers_too_large"


class LimitReached(RequestError):
    """Says which limit, in words a child understands; `retry_after_s` is when asking again may help."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class EngineFailed(RequestError):
    code = "engine_failed"


class Unavailable(RequestError):
    status = 503
    type = "service_unavailable"
    code = "unavailable"


class InsufficientStorage(RequestError):
    status = 507
    type = "server_error"
    code = "insufficient_storage"
