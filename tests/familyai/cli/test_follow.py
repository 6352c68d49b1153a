"""Server-sent events as they are read, and what they change of what is known."""

from familyai.cli.follow import Event, File, Job, Progress, changed, parsed


def test_events_are_read_with_ids_over_comments_and_lines() -> None:
    stream = ": hello\n\nid: 1-0\nevent: x\ndata: a\ndata:b\n\n: still there\ndata: c\n\ndata: never finished"
    assert list(parsed(stream.split("\n"))) == [Event("1-0", "a\nb"), Event("1-0", "c")]


JOB = Job(
    "transcription-1",
    "running",
    [File(0, "a.mp3", "running", 20.0, 10.0), File(1, "b.mp3", "queued")],
    Progress(10.0, 40.0, 5.0),
)


def told(data: str) -> Job:
    return changed(JOB, Event("1-0", data))


def test_a_files_event_changes_that_file() -> None:
    job = told('{"file":{"index":1,"name":"b.mp3","status":"running","done_s":2},"progress":{"done_s":12}}')
    assert job.files == [JOB.files[0], File(1, "b.mp3", "running", None, 2.0)]
    assert (job.status, job.progress.done_s) == ("running", 12.0)


def test_a_jobs_event_changes_its_status() -> None:
    assert told('{"id":"transcription-1","status":"failed","progress":{"done_s":10},"error":null}').status == "failed"


def test_old_news_takes_nothing_back() -> None:
    """After a reconnection without an id, events come again from the start."""
    for status, done_s in (("queued", 0), ("preparing", 0), ("running", 9)):
        news = f'{{"index":0,"name":"a.mp3","status":"{status}","done_s":{done_s}}}'
        assert told(f'{{"file":{news},"progress":{{"done_s":3}}}}') == JOB


def test_what_failed_is_news_though_less_of_it_is_done() -> None:
    job = told('{"file":{"index":0,"name":"a.mp3","status":"failed","done_s":0},"progress":{"done_s":10}}')
    assert job.files[0].status == "failed"


def test_a_recording_that_was_looked_at_waits_again() -> None:
    """It is `queued` before and after, and has a length only then."""
    looked_at = File(0, "a.mp3", "queued", 20.0)
    looking, done = File(0, "a.mp3", "preparing"), Job("transcription-1", "running", [looked_at])
    news = '{"file":{"index":0,"name":"a.mp3","status":"queued","duration_s":20},"progress":{}}'
    assert changed(Job("transcription-1", "running", [looking]), Event("1-0", news)).files == [looked_at]
    for old in ('"status":"preparing"', '"status":"queued"'):
        assert changed(done, Event("1-0", f'{{"file":{{"index":0,"name":"a.mp3",{old}}},"progress":{{}}}}')) == done
