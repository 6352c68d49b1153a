from typing import Any

import pytest

from api.multipart import Form
from api.transcription_order import (
    TranscriptionJobForm,
    TranscriptionJobRequest,
    Wish,
    check_count,
    wish_of,
    wish_of_form,
)
from familyai.catalogue import Profile
from familyai.errors import BadRequest, NotFound
from familyai.limits import Limits

ASR = {"model": "org/asr", "engine": "whisper", "memory_gb": 1, "slots": 1, "tasks": ["transcribe"]}
CHAT = {"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 1}
PROFILE = Profile.model_validate(
    {
        "memory_budget_gb": 2,
        "queues": {"chat": CHAT, "asr": ASR},
        "aliases": {"whisper-1": "asr"},
        "limits": {"webhook_hosts": ["hooks.example.com"], "transcription_files": 3},
    }
)
DEFAULT = Wish("asr", None, ("txt",), False, None, ())


def test_everything_may_be_left_out() -> None:
    assert wish_of({}, PROFILE) == DEFAULT
    assert wish_of_form(Form(), PROFILE) == DEFAULT
    assert (
        wish_of(dict.fromkeys(["model", "language", "formats", "word_timestamps", "webhook_url"]), PROFILE) == DEFAULT
    )


@pytest.mark.parametrize("formats", ["srt, vtt,srt", ["srt", "vtt"], ["srt,vtt"]])
def test_lists_have_commas_or_are_repeated(formats: Any) -> None:
    assert wish_of({"formats": formats}, PROFILE).formats == ("srt", "vtt")


def test_a_form() -> None:
    form = Form(
        fields=[
            ("file_ids", "file-1,file-2"),
            ("file_ids[]", "file-3"),
            ("language", "German"),
            ("word_timestamps", "True"),
            ("webhook_url", "https://hooks.example.com/x"),
            ("model", "whisper-1"),
            ("formats", ""),
        ]
    )
    wished = Wish("whisper-1", "de", ("txt",), True, "https://hooks.example.com/x", ("file-1", "file-2", "file-3"))
    assert wish_of_form(form, PROFILE) == wished


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"formats": "doc"}, "formats"),
        ({"formats": 3}, "formats"),
        ({"formats": ["txt", None]}, "formats"),
        ({"file_ids": {"a": 1}}, "file_ids"),
        ({"language": "xx"}, "language"),
        ({"language": ["en"]}, "language"),
        ({"word_timestamps": 1}, "word_timestamps"),
        ({"word_timestamps": "maybe"}, "word_timestamps"),
        ({"webhook_url": "https://elsewhere.example.com"}, "webhook_url"),
        ({"model": "chat"}, "model"),
        ({"model": 5}, "model"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        wish_of(body, PROFILE)
    assert refused.value.param == param


def test_unknown_models_and_formats_list_the_known() -> None:
    with pytest.raises(NotFound, match="whisper-1"):
        wish_of({"model": "nobody"}, PROFILE)
    with pytest.raises(BadRequest, match="txt, srt, vtt, json"):
        wish_of({"formats": "docx"}, PROFILE)


def test_a_household_without_ears() -> None:
    deaf = Profile.model_validate({"memory_budget_gb": 1, "queues": {"chat": CHAT}})
    with pytest.raises(BadRequest):
        wish_of({}, deaf)


def test_not_none_and_not_too_many() -> None:
    check_count(3, PROFILE.limits)
    for count in (0, 4):
        with pytest.raises(BadRequest):
            check_count(count, Limits(transcription_files=3))


def test_the_documentation_names_what_is_read() -> None:
    names = {"file_ids", "formats", "language", "word_timestamps", "webhook_url", "model"}
    assert set(TranscriptionJobRequest.model_json_schema()["properties"]) == names
    assert set(TranscriptionJobForm.model_json_schema()["properties"]) == names | {"files"}
