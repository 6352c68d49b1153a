"""`queues.yaml`, parsed once into frozen values: which models a household has, and what each may use."""

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from familyai.allowance import Roles
from familyai.errors import ConfigurationError
from familyai.kinds import CHAT, CODE, Kind
from familyai.limits import Limits

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=128)]


class Engine(StrEnum):
    """Which adapter under `workers/engines/` hosts the model."""

    VLLM = "vllm"
    ECHO = "echo"
    WHISPER = "whisper"
    PIPER = "piper"


class Task(StrEnum):
    """What a model can be asked for; an endpoint whose task is missing is refused before it queues."""

    GENERATE = "generate"
    EMBED = "embed"
    TRANSCRIBE = "transcribe"
    SPEAK = "speak"


class Prefer(StrEnum):
    """What to choose a model for, where several would do."""

    SPEED = "speed"
    QUALITY = "quality"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Costs(_Frozen):
    """What a job is charged with in the fair order, by unit: tokens; seconds for hearing, characters for speaking."""

    input: float = Field(1, ge=0, description="Per token of a prompt, second heard, character spoken.")
    output: float = Field(2, ge=0, description="Per token of the answer.")


class Fairness(_Frozen):
    """How a busy model is shared."""

    lanes: int = Field(32, ge=1, le=256, description="Members who have a lane of their own; more share them.")
    hand: int = Field(4, ge=1, description="Lanes that a member without one of their own may use.")
    background_share: float = Field(
        0.1, ge=0, lt=0.5, description="Of a busy model's service, what a chat UI's side tasks get at least."
    )
    batch_share: float = Field(0.05, ge=0, lt=0.5, description="Of a busy model's service, what batch gets at least.")


class Model(_Frozen):
    """A queue with a model of its own: the physical queue on which its workers listen."""

    model: str = Field(description="The model's Hugging Face id; also the name under which answers report it.")
    engine: Engine = Field(description="The engine that hosts it.")
    memory_gb: float = Field(gt=0, description="Memory the weights take, in GB; counted against the machine's budget.")
    slots: int = Field(gt=0, description="Jobs that run at once; the engine batches them.")
    reserve_slots: int = Field(1, ge=0, description="Slots besides `slots` that batch work never takes.")
    tasks: tuple[Task, ...] = Field((Task.GENERATE,), description="What the model can be asked for.")
    costs: Costs = Field(default_factory=Costs, description="What a job is charged with in the fair order.")
    answer_tokens: int = Field(
        256, gt=0, description="Expected length of an answer, in tokens; what a job is charged with until it has ended."
    )
    context_tokens: int | None = Field(
        None, gt=0, description="Longest prompt plus answer; empty: the model's own limit."
    )
    sees_images: bool = Field(False, description="Whether it can be asked about images.")
    swap_group: Name | None = Field(
        None, description="Of the models that share a group one is in memory at a time; at start it is the first."
    )
    revision: str | None = Field(None, description="Commit of the model's repository; empty: its main branch.")
    wheel_file: str | None = Field(
        None,
        description="Take the weights from an installed package, not from a hub: `package/path` of a GGUF file, "
        "a voice, or a folder.",
    )
    voices: dict[str, str] = Field(
        default_factory=dict,
        description="Other names clients send for a voice, and the installed voice each means; `default` is for any.",
    )
    engine_args: dict[str, str | int | float | bool | list[str]] = Field(
        default_factory=dict, description="Options for the engine itself, by their command-line names without dashes."
    )
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables for this model's worker.")

    @model_validator(mode="after")
    def _only_speakers_have_voices(self) -> "Model":
        if self.voices and Task.SPEAK not in self.tasks:
            raise ValueError(f"voices are for models whose tasks include '{Task.SPEAK}'")
        return self

    @property
    def owner(self) -> str:
        """Who made it, as Hugging Face names them."""
        return self.model.partition("/")[0]

    @property
    def capabilities(self) -> list[str]:
        """What it can do beyond its tasks: `vision`, `tools`, `reasoning`."""
        able = {
            "vision": self.sees_images,
            "tools": bool(self.engine_args.get("enable-auto-tool-choice")),
            "reasoning": "reasoning-parser" in self.engine_args,
        }
        return [name for name, is_able in able.items() if is_able]

    @property
    def is_converted(self) -> bool:
        """Whether the weights ship as GGUF, which is converted once, into the home, before anything loads it."""
        return self.wheel_file is not None and self.wheel_file.endswith(".gguf")

    @property
    def places(self) -> int:
        """Jobs that a worker takes at once: `slots` for everything, and the reserve for what is not batch work."""
        return self.slots + self.reserve_slots


class ServedBy(_Frozen):
    """A queue name without a model of its own: its requests go to another queue."""

    served_by: Name = Field(description="The queue that serves this name.")


def _kind_of_queue(entry: Any) -> str:
    """Decided before the entry is read, so that a mistake in it is reported against the kind that was meant."""
    served = "served_by" in entry if isinstance(entry, dict) else isinstance(entry, ServedBy)
    return "ServedBy" if served else "Model"


_QUEUE_KINDS = ("Model", "ServedBy")
Queue = Annotated[Annotated[Model, Tag("Model")] | Annotated[ServedBy, Tag("ServedBy")], Discriminator(_kind_of_queue)]


class Route(_Frozen):
    """A name under which the router chooses the model by what is asked. Images go to what can see them all the same."""

    kinds: tuple[Kind, ...] = Field((*CODE, *CHAT), description="The kinds it tells apart.")
    prefer: Prefer | None = Field(None, description="What counts more, unless the request says: `speed` or `quality`.")

    @model_validator(mode="after")
    def _tells_something_apart(self) -> "Route":
        if not self.kinds or not set(self.kinds) <= {*CODE, *CHAT}:
            raise ValueError(f"kinds: at least one of {', '.join((*CODE, *CHAT))}")
        return self


class Profile(_Frozen):
    """One way to run the household: a machine's budget, its queues, and the names clients may use."""

    memory_budget_gb: float = Field(gt=0, description="Memory all resident models may take together, in GB.")
    limits: Limits = Field(default_factory=Limits, description="Bounds on requests, bodies and waiting.")
    fairness: Fairness = Field(default_factory=Fairness, description="How a busy model is shared.")
    roles: Roles = Field(default_factory=Roles, description="What each role may use.")
    learn: bool = Field(
        False,
        description="Keep requests whose model a member marks as wrong, so that `make eval-routing` can include them, "
        "and for that every routed request for a day; nothing leaves the machine.",
    )
    queues: dict[Name, Queue] = Field(description="Every queue name, with its model or who serves it.")
    kinds: dict[Kind, tuple[Name, ...]] = Field(
        default_factory=dict,
        description="The queues that serve each kind of request, the best first; the next ones when it cannot. "
        "A kind that is left out is served by the queue of its name.",
    )
    routes: dict[Name, Route] = Field(
        default_factory=dict, description="Names that clients send to have the model chosen for them."
    )
    aliases: dict[Name, Name] = Field(
        default_factory=dict, description="Other model names clients send, and the queue or the route they mean."
    )

    @model_validator(mode="after")
    def _names_lead_somewhere(self) -> "Profile":
        for name, queue in self.queues.items():
            if isinstance(queue, ServedBy) and not isinstance(self.queues.get(queue.served_by), Model):
                raise ValueError(f"queue '{name}': served_by '{queue.served_by}' is no queue with a model of its own")
        for alias, target in self.aliases.items():
            if target not in self.queues and target not in self.routes:
                raise ValueError(f"alias '{alias}' points to '{target}', which is no queue and no route")
            if alias in self.queues or alias in self.routes:
                raise ValueError(f"alias '{alias}' is also a {'queue' if alias in self.queues else 'route'}'s name")
        return self

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> "Profile":
        for kind, queues in self.kinds.items():
            if unknown := [queue for queue in queues if queue not in self.queues]:
                raise ValueError(f"kinds: {kind} is served by '{unknown[0]}', which is no queue")
        for name, route in self.routes.items():
            if name in self.queues:
                raise ValueError(f"route '{name}' is also a queue's name")
            if unserved := [kind for kind in route.kinds if not self.serving(kind)]:
                raise ValueError(f"route '{name}': no queue serves {unserved[0]}: list one under kinds")
        return self

    def serving(self, kind: Kind) -> tuple[str, ...]:
        """The queues for a kind of request, the best first."""
        return self.kinds.get(kind, (kind.value,) if kind.value in self.queues else ())

    @property
    def models(self) -> dict[str, Model]:
        """Physical queues only, in the file's order."""
        return {name: queue for name, queue in self.queues.items() if isinstance(queue, Model)}

    @cached_property
    def shortest_context_tokens(self) -> int | None:
        """What every model can read; None where no model is limited here."""
        return min((model.context_tokens for model in self.models.values() if model.context_tokens), default=None)

    @property
    def resident(self) -> dict[str, Model]:
        """What is in memory after a start: every model, but of each swap group the first."""
        return dict(_first_of_each_group(self.models))

    def physical(self, queue: str) -> str:
        """The queue whose workers serve this queue name. Raises KeyError."""
        entry = self.queues[queue]
        return entry.served_by if isinstance(entry, ServedBy) else queue

    def model(self, queue: str) -> Model:
        """The model that serves this queue name. Raises KeyError."""
        entry = self.queues[self.physical(queue)]
        if not isinstance(entry, Model):
            raise KeyError(queue)
        return entry


class Catalogue(_Frozen):
    """The whole of `queues.yaml`."""

    profiles: dict[Name, Profile] = Field(description="Named ways to run; `familyai up --profile NAME` picks one.")


def _first_of_each_group(models: dict[str, Model]) -> Iterator[tuple[str, Model]]:
    taken: set[str] = set()
    for name, model in models.items():
        if model.swap_group is None or model.swap_group not in taken:
            yield name, model
        if model.swap_group is not None:
            taken.add(model.swap_group)


def peak_memory_gb(profile: Profile) -> float:
    """The most that can be in memory at once: all models outside swap groups, plus the largest of each group."""
    groups: dict[str, float] = {}
    for name, model in profile.models.items():
        group = model.swap_group or f"queue {name}"
        groups[group] = max(groups.get(group, 0.0), model.memory_gb)
    return round(sum(groups.values()), 6)  # 0.1 + 0.2 fits into 0.3


def check_memory(name: str, profile: Profile) -> None:
    """Raises ConfigurationError when the models cannot be in memory together."""
    peak_gb = peak_memory_gb(profile)
    if peak_gb > profile.memory_budget_gb:
        raise ConfigurationError(
            f"profile '{name}' needs {peak_gb:g} GB at its peak but its memory_budget_gb is "
            f"{profile.memory_budget_gb:g}: drop a model, or put two into one swap_group"
        )


def load_profile(path: Path, name: str) -> Profile:
    """One profile of the file, checked. Raises ConfigurationError that says where and what is wrong."""
    catalogue = load_catalogue(path)
    if name not in catalogue.profiles:
        raise ConfigurationError(f"{path} has no profile '{name}'; it has: {', '.join(catalogue.profiles)}")
    profile = catalogue.profiles[name]
    check_memory(name, profile)
    return profile


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake, not the loss of the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_catalogue(path: Path) -> Catalogue:
    """Raises ConfigurationError for a file that is missing, no YAML, or against the schema."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 (a safe loader)
        return Catalogue.model_validate(document)
    except OSError as error:
        raise ConfigurationError(f"cannot read the catalogue {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_first_problem(error)}") from error


def catalogue_schema() -> dict[str, Any]:
    """The JSON Schema that editors use; `docs/queues.schema.json` is this, and a test holds them together."""
    return Catalogue.model_json_schema()


def _first_problem(error: ValidationError) -> str:
    """An unknown option first: with a misspelt one, that it is missing says less."""
    problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    words = "unknown option" if problem["type"] == "extra_forbidden" else problem["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in problem["loc"] if part not in _QUEUE_KINDS)
    return f"{where}: {words}" if where else words
