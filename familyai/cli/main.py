"""The `familyai` command: what can be said, and where each word leads. Heavy things are imported when needed."""

import sys
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from familyai import __version__
from familyai.errors import FamilyAIError


class Command(TyperCommand):
    """One whose help does not call `--help` a `<bool>`."""

    def get_help_option(self, ctx: Any) -> Any:
        return _without_type(super().get_help_option(ctx))


class Group(TyperGroup):
    """The same, for commands of commands."""

    def get_help_option(self, ctx: Any) -> Any:
        return _without_type(super().get_help_option(ctx))


def _without_type(option: Any) -> Any:
    if option is not None:
        option.metavar = ""
    return option


app = typer.Typer(
    name="familyai",
    cls=Group,
    help="A household's own AI service: OpenAI's API in front of a queue, on your machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
members = typer.Typer(
    cls=Group,
    help="Who may use FamilyAI: each member has one key, shown when it is made and never again.",
    no_args_is_help=True,
)
app.add_typer(members, name="member")

Flag = partial(typer.Option, metavar="")  # it takes no value, and its help shows none
Name = Annotated[str, typer.Argument(help="The member's name.", show_default=False)]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"familyai {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, Flag("--version", help="Show the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command(cls=Command)
def up(
    detach: Annotated[
        bool, Flag("--detach", "-d", help="Return once everything is healthy; it runs on in the background.")
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(help="Profile of queues.yaml: embedded, echo or thor (default: FAMILYAI_PROFILE, else embedded)."),
    ] = None,
) -> None:
    """Start everything, show a first answer, and stay until Ctrl-C.

    Broker, workers, front and Flower start in this order, each when the one before is healthy, and are restarted when
    they die. State, logs and the first member's key are kept in .familyai (FAMILYAI_HOME).
    """
    from familyai.cli import up as command

    raise typer.Exit(command.up(profile, detach))


@app.command(cls=Command)
def down() -> None:
    """Stop everything; running answers may finish. Nothing is left, not even of a supervisor that was killed."""
    from familyai.cli import down as command

    raise typer.Exit(command.down())


@app.command(cls=Command)
def status(as_json: Annotated[bool, Flag("--json", help="For programs.")] = False) -> None:
    """Show processes, queues and addresses. Exit code 0 when everything is healthy, 1 when not."""
    from familyai.cli import status as command

    raise typer.Exit(command.show(as_json))


@app.command(cls=Command)
def doctor() -> None:
    """Look for what could be wrong and say what to do. Exit code 1 when something is."""
    from familyai.cli import doctor as command

    raise typer.Exit(command.doctor())


@app.command(cls=Command)
def chat(
    text: Annotated[
        str | None, typer.Argument(help="What to ask; without it, a small conversation.", show_default=False)
    ] = None,
    model: Annotated[str, typer.Option(help="A queue, an alias or a model's name.")] = "auto",
    system: Annotated[str | None, typer.Option(help="Instructions that stand before the conversation.")] = None,
    max_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Where an answer is cut, however much is left.")
    ] = 1024,
) -> None:
    """Ask, and see the answer as it is written."""
    from familyai.cli import chat as command

    raise typer.Exit(command.chat(text, model, system, max_tokens))


@members.command("add", cls=Command)
def member_add(
    name: Name, role: Annotated[str, typer.Option(help="admin, adult or child.", metavar="ROLE")] = "adult"
) -> None:
    """Make a member and show the key, once."""
    from familyai.cli import member, session
    from familyai.members import Role

    if role not in list(Role):
        raise typer.BadParameter(f"'{role}' is not one of {', '.join(Role)}", param_hint="--role")
    session.run(member.add(name, Role(role)))


@members.command("list", cls=Command)
def member_list() -> None:
    """Show all members."""
    from familyai.cli import member, session

    session.run(member.show())


@members.command("rotate", cls=Command)
def member_rotate(name: Name) -> None:
    """Make a new key; the old one stops working at once."""
    from familyai.cli import member, session

    session.run(member.rotate(name))


@members.command("remove", cls=Command)
def member_remove(name: Name) -> None:
    """Remove a member; the key stops working at once."""
    from familyai.cli import member, session

    session.run(member.remove(name))


def main() -> None:
    """What went wrong in one line, for whoever typed the command; a traceback is for a defect of ours."""
    try:
        app()
    except FamilyAIError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
