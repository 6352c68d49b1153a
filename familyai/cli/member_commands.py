"""`familyai member …`: who may use FamilyAI, and how much. Heavy things are imported when needed."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from familyai.cli.command import Command, Flag, Group

if TYPE_CHECKING:
    from familyai.allowance import Role

members = typer.Typer(
    cls=Group,
    help="Who may use FamilyAI: each member has one key, shown when it is made and never again.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="The member's name.", show_default=False)]


def _limit(words: str, metavar: str = "N") -> Any:
    return typer.Option(help=words, metavar=metavar, show_default=False)


Weight = Annotated[str | None, _limit("Share of a busy model, relative to the others'.")]
Models = Annotated[str | None, _limit("Queues they may use, with commas.", "NAMES")]
RequestsPerMinute = Annotated[str | None, _limit("Requests in any minute.")]
TokensPerMinute = Annotated[str | None, _limit("Tokens of prompts and answers in any minute.")]
TokensPerDay = Annotated[str | None, _limit("The same in any 24 hours.")]
Running = Annotated[str | None, _limit("Requests that run at once.")]
Waiting = Annotated[str | None, _limit("Requests that wait at once.")]
Hours = Annotated[str | None, _limit("When they may ask: 07:00-20:30, several with commas.", "SPANS")]


@members.command("add", cls=Command)
def member_add(
    context: typer.Context,
    name: Name,
    role: Annotated[str, typer.Option(help="admin, adult or child.", metavar="ROLE")] = "adult",
    weight: Weight = None,
    models: Models = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    tokens_per_day: TokensPerDay = None,
    running: Running = None,
    waiting: Waiting = None,
    hours: Hours = None,
    trusted: Annotated[bool, Flag("--trusted", help="The key of a chat UI, which speaks for its users.")] = False,
) -> None:
    """Make a member and show the key, once. Limits that are not given are those of the role."""
    from familyai.cli import limits, member, session

    session.run(member.add(name, _role(role, "--role"), limits.change_of(context.params)))


@members.command("limit", cls=Command)
def member_limit(
    context: typer.Context,
    name: Name,
    weight: Weight = None,
    models: Models = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    tokens_per_day: TokensPerDay = None,
    running: Running = None,
    waiting: Waiting = None,
    hours: Hours = None,
    trusted: Annotated[
        bool | None, Flag("--trusted/--not-trusted", help="Whether the key speaks for a chat UI's users.")
    ] = None,
) -> None:
    """Change what a member may use, from their next request on: none lifts a limit, default goes back to the role's."""
    from familyai.cli import limits, member, session

    change = limits.change_of(context.params)
    if not (change.own or change.reset or change.trusted is not None):
        raise typer.BadParameter("say which limit, such as --tokens-per-day 200000")
    session.run(member.change(name, change))


@members.command("role", cls=Command)
def member_role(
    name: Name, role: Annotated[str, typer.Argument(help="admin, adult or child.", show_default=False)]
) -> None:
    """Change a member's role. Limits of their own stay."""
    from familyai.cli import member, session
    from familyai.members import Change

    session.run(member.change(name, Change(role=_role(role, "ROLE"))))


@members.command("link", cls=Command)
def member_link(
    name: Name,
    user_id: Annotated[str, typer.Argument(help="The id of a user of Open WebUI, or none.", show_default=False)],
) -> None:
    """Say which user of Open WebUI a member is, so that they have one role and one set of limits."""
    from familyai.cli import member, session
    from familyai.members import Change, user_key

    session.run(member.change(name, Change(user=None if user_id == "none" else user_key(user_id))))


@members.command("show", cls=Command)
def member_show(name: Name) -> None:
    """Show what a member may use."""
    from familyai.cli import member, session

    session.run(member.show(name))


@members.command("list", cls=Command)
def member_list() -> None:
    """Show all members."""
    from familyai.cli import member, session

    session.run(member.show_all())


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


def _role(text: str, hint: str) -> "Role":
    from familyai.allowance import Role

    if text not in list(Role):
        raise typer.BadParameter(f"'{text}' is not one of {', '.join(Role)}", param_hint=hint)
    return Role(text)
