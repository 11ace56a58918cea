"""Whatever JSON a client sends, a request is understood or refused with an error of the farm."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sigmafarm.http.fronts.a1111.asked import Txt2Img
from sigmafarm.http.fronts.bodies import parse_body
from sigmafarm.http.fronts.openai.asked import Asked
from sigmafarm_common.errors import SigmafarmError
from sigmafarm_common.settings import SETTING_FIELDS, Settings

TEXTS = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(["512x512", "LMS", "tiny", "-1"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
#: Every name by which these clients may say a setting.
NAMES = {name for field in SETTING_FIELDS.values() for name in (*field.names, field.a1111)}


def bodies(model: type[Any]) -> st.SearchStrategy[bytes]:
    fields = st.dictionaries(st.sampled_from(sorted({*model.model_fields, *NAMES})), VALUES, max_size=6)
    return fields.map(lambda said: json.dumps({"prompt": "a boat", **said}).encode())


@settings(max_examples=300, deadline=None)
@given(bodies(Asked) | st.binary(max_size=30))
def test_openais_requests(body: bytes):
    with suppress(SigmafarmError):
        asked = Asked.parse(body)
        Settings.parse({name: value for name, value in asked.settings.items() if value is not None})


@settings(max_examples=300, deadline=None)
@given(bodies(Txt2Img) | st.binary(max_size=30))
def test_automatic1111s_requests(body: bytes):
    with suppress(SigmafarmError):
        asked = Txt2Img.of(parse_body(body))
        Settings.parse({name: value for name, value in asked.settings("tiny").items() if value is not None})
        assert isinstance(json.dumps([asked.notes, asked.checkpoint]), str)


def test_what_clients_send_of_pictures_with_every_text_is_left_aside():
    said = Txt2Img.of({"prompt": "a", "denoising_strength": 0.7, "inpaint_full_res": True, "mask_blur": 4, "steps": 9})

    assert {k: v for k, v in said.settings(None).items() if v is not None} == {
        "num_inference_steps": 9,
        "prompt_syntax": "a1111",
    }
