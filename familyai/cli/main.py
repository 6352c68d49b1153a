"""The `familyai` command: what can be said, and where each word leads. Heavy things are imported when needed."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from familyai import __version__
from familyai.cli.command import Command, Flag, Group
from familyai.cli.member_commands import members
from familyai.errors import FamilyAIError

if TYPE_CHECKING:
    from familyai.kinds import Kind


app = typer.Typer(
    name="familyai",
    cls=Group,
    help="A household's own AI service: OpenAI's API in front of a queue, on your machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(members, name="member")

Model = Annotated[str | None, typer.Option(help="A queue, an alias or a model's name.", metavar="NAME")]


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
        typer.Option(
            help="Profile of queues.yaml: embedded, echo or thor (default: FAMILYAI_PROFILE, else embedded).",
            metavar="NAME",
        ),
    ] = None,
) -> None:
    """Start everything, show a first answer, and stay until Ctrl-C.

    Broker, workers, front and Flower start in this order, each when the one
    before is healthy, and are restarted when they die. State, logs and the
    first member's key are kept in .familyai (FAMILYAI_HOME).
    """
    from familyai.cli import up as command

    raise typer.Exit(command.up(profile, detach))


@app.command(cls=Command)
def down() -> None:
    """Stop everything; running answers may finish. Also cleans up after a FamilyAI that was killed."""
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
    model: Annotated[str, typer.Option(help="A queue, an alias or a model's name.", metavar="NAME")] = "auto",
    system: Annotated[
        str | None, typer.Option(help="Instructions that stand before the conversation.", metavar="TEXT")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Where an answer is cut, however much is left.")
    ] = 1024,
) -> None:
    """Ask, and see the answer as it is written."""
    from familyai.cli import chat as command

    raise typer.Exit(command.chat(text, model, system, max_tokens))


@app.command(cls=Command)
def transcribe(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Recordings; of a folder, those that lie in it.", metavar="FILES", show_default=False),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="txt (the default), srt, vtt or json; several with commas.", metavar="NAME"),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Where results go: else into this folder; with --watch, the watched.", metavar="DIR"
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="The language spoken, as de or german; else it is recognised.", metavar="NAME")
    ] = None,
    words: Annotated[bool, Flag("--words", help="With --format json: when each word is spoken.")] = False,
    model: Model = None,
    watch: Annotated[bool, Flag("--watch", help="Stay, and transcribe whatever comes into the folders.")] = False,
    job: Annotated[str | None, typer.Option(help="Come back to a job begun earlier.", metavar="ID")] = None,
    cancel: Annotated[bool, Flag("--cancel", help="With --job: end it.")] = False,
) -> None:
    """Turn recordings into text or subtitles: DIR/NAME.txt for NAME.m4a. Older results are overwritten.

    Exit code 1 when a recording failed; the others have their results. Ctrl-C,
    once all are sent, leaves the work running and says how to come back to it.
    """
    _fits(bool(files), bool(formats or language or words or model), bool(job), watch, cancel)
    from familyai.cli import transcribe as command
    from familyai.cli import watch as watching

    if job:
        raise typer.Exit(command.cancel(job) if cancel else command.come_back(job, folder or Path()))
    wanted = command.Wanted(_formats(formats or ["txt"], command.FORMATS), language, words, model)
    if words and "json" not in wanted.formats:
        raise typer.BadParameter("times of words stand in json only: add --format json", param_hint="--words")
    if watch:
        raise typer.Exit(watching.watch(files or [], folder, wanted))
    raise typer.Exit(command.transcribe(files or [], folder or Path(), wanted))


def _fits(files: bool, wishes: bool, job: bool, watch: bool, cancel: bool) -> None:
    """Says which words of the command do not go together."""
    if cancel and not job:
        raise typer.BadParameter("it ends a job: --job ID --cancel", param_hint="--cancel")
    if job and (files or watch):
        raise typer.BadParameter("its recordings were sent when it began: give none with it", param_hint="--job")
    if job and wishes:
        raise typer.BadParameter("formats, language, words and model were fixed when it began", param_hint="--job")
    if not (files or job):
        raise typer.BadParameter(
            "give " + ("folders to watch" if watch else "recordings, folders of them, or --job ID")
        )


def _formats(given: list[str], known: tuple[str, ...]) -> tuple[str, ...]:
    names = [name.strip().lower() for names in given for name in names.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"'{unknown[0]}' is not one of {', '.join(known)}", param_hint="--format")
    return tuple(dict.fromkeys(names))


@app.command(cls=Command)
def speak(
    text: Annotated[
        str | None,
        typer.Argument(help="What to say; without it or with -, what comes in through a pipe.", show_default=False),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="mp3, opus, ogg, aac, flac, wav or pcm by its ending.", metavar="FILE"),
    ] = None,
    voice: Annotated[
        str | None, typer.Option(help="One that --voices lists; else the household's.", metavar="NAME")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.25, max=4, help="2 is twice as fast.", metavar="N")] = 1.0,
    model: Model = None,
    voices: Annotated[bool, Flag("--voices", help="List the voices and leave.")] = False,
) -> None:
    """Speak a text into a file, or without -o as mp3 into a pipe."""
    from familyai.cli import speak as command

    raise typer.Exit(command.voices() if voices else command.speak(text, path, voice, speed, model))


@app.command(cls=Command)
def queue(
    watch: Annotated[bool, Flag("--watch", help="Stay, and show how it goes on; Ctrl-C ends it.")] = False,
) -> None:
    """Show each model's line: who runs, who waits, and when it is your turn. An admin sees everybody's names."""
    from familyai.cli import queue as command

    raise typer.Exit(command.show(watch))


@app.command(cls=Command)
def jobs(
    failed: Annotated[
        bool, Flag("--failed", help="Instead, those over which one worker after another died; kept for a week.")
    ] = False,
) -> None:
    """List what runs and waits. An admin sees everybody's."""
    from familyai.cli import jobs as command

    raise typer.Exit(command.show(failed))


@app.command(cls=Command)
def route(
    text: Annotated[
        str | None, typer.Argument(help="What would be asked; - for what comes in through a pipe.", show_default=False)
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="Instructions that stand before the conversation.", metavar="TEXT")
    ] = None,
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="Pasted behind the words, as code.", metavar="FILE")
    ] = None,
    images: Annotated[list[Path] | None, typer.Option("--image", help="Shown with it.", metavar="FILE")] = None,
    prefer: Annotated[str | None, typer.Option(help="What counts more: speed or quality.", metavar="WHAT")] = None,
    model: Annotated[
        str | None, typer.Option(help="The name that would be asked for (default: auto).", metavar="NAME")
    ] = None,
    as_json: Annotated[bool, Flag("--json", help="For programs.")] = False,
    wrong: Annotated[
        str | None, typer.Option(help="Say that the model chosen for this answer of yours was wrong.", metavar="JOB")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="With --wrong: what it really was, such as chat-reasoning.", metavar="KIND")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(help="Write what was marked so far into a file for make eval-routing.", metavar="FILE"),
    ] = None,
) -> None:
    """Show which model a question would get, and why; nothing is asked.

    An answer's header X-FamilyAI-Job-Id names its JOB. Marks need `learn` in
    queues.yaml; they stay on this machine. An admin exports everybody's.
    """
    asked = bool(text or system or files or images or prefer or model or as_json)
    _one_of(asked, wrong is not None, export is not None, kind is not None)
    from familyai.cli import route as command

    if wrong is not None:
        raise typer.Exit(command.mark(wrong, _kind(kind)))
    if export is not None:
        raise typer.Exit(command.export(export))
    if prefer not in (None, "speed", "quality"):
        raise typer.BadParameter(f"'{prefer}' is not one of speed, quality", param_hint="--prefer")
    question = command.Question(text, system, tuple(files or ()), tuple(images or ()), prefer, model or "auto")
    raise typer.Exit(command.explain(question, as_json))


def _one_of(asks: bool, marks: bool, exports: bool, says_kind: bool) -> None:
    """Says which words of the command do not go together."""
    if asks + marks + exports > 1:
        raise typer.BadParameter("ask about a question, or --wrong, or --export: one at a time")
    if says_kind and not marks:
        raise typer.BadParameter("it belongs to --wrong JOB", param_hint="--kind")
    if not (asks or marks or exports):
        raise typer.BadParameter("give what would be asked, or --wrong JOB, or --export FILE")


def _kind(text: str | None) -> "Kind | None":
    from familyai.kinds import Kind

    if text is not None and text not in list(Kind):
        raise typer.BadParameter(f"'{text}' is not one of {', '.join(Kind)}", param_hint="--kind")
    return None if text is None else Kind(text)


@app.command(cls=Command)
def usage(
    days: Annotated[int, typer.Option(min=1, max=3660, metavar="N", help="How many days, today included.")] = 7,
    member: Annotated[str | None, typer.Option(help="One member's alone.", metavar="NAME")] = None,
    by: Annotated[str, typer.Option(help="A row for each day, model or member.", metavar="WHAT")] = "member",
) -> None:
    """Show what was used: everybody's to an admin, to others their own."""
    from familyai.cli import usage as command

    if by not in list(command.By):
        raise typer.BadParameter(f"'{by}' is not one of {', '.join(command.By)}", param_hint="--by")
    raise typer.Exit(command.show(days, member, command.By(by)))


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
