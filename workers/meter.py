"""Counts the tokens of the job at hand, out of band: engines report here, and frames carry it."""

from contextvars import ContextVar

from familyai.frame import Tokens


class Meter:
    """Collects what one job's engine reports between two frames."""

    def __init__(self) -> None:
        self.prompt = 0
        self.generated = 0
        self._untaken_prompt = 0
        self._untaken: dict[int, list[int]] = {}
        self._sizes: list[int] = []

    def saw_prompt(self, tokens: int) -> None:
        """Tokens of the prompt; a request with several prompts reports each."""
        self.prompt += tokens
        self._untaken_prompt += tokens

    def saw_tokens(self, choice: int, ids: list[int]) -> None:
        """Tokens generated for one choice since the last call."""
        self.generated += len(ids)
        if choice == 0:
            self._sizes.append(len(ids))
        self._untaken.setdefault(choice, []).extend(ids)

    def take(self) -> Tokens | None:
        """Everything since the last `take`, or None when there is nothing."""
        if not self._untaken and not self._untaken_prompt:
            return None
        ids = tuple(tuple(self._untaken.get(choice, ())) for choice in range(max(self._untaken, default=-1) + 1))
        tokens = Tokens(self._untaken_prompt, ids, tuple(self._sizes) if len(self._sizes) > 1 else ())
        self._untaken_prompt, self._untaken, self._sizes = 0, {}, []
        return tokens


current_meter: ContextVar[Meter | None] = ContextVar("current_meter", default=None)
