"""The models file: what it may say, where relative places count from, and what a bad one is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sigmafarm_common.errors import InvalidSettings, ModelNotLoadable
from sigmafarm_common.model_parts import local_place
from sigmafarm_common.models_file import PARTS, ModelSpec, PartSource, read_models_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.toml"


def read(file: Path, text: str) -> dict[str, ModelSpec]:
    file.write_text(text, encoding="utf-8")
    return read_models_file(file)


def test_models_come_in_the_order_of_the_file_with_their_cards(file: Path):
    models = read(
        file,
        """
        [models.small]
        path = "someone/small"
        description = "Small and quick"
        defaults = { height = 64, width = 64, output_format = "webp" }
        [models.large]
        path = "someone/large"
        scheduler = { beta_start = 0.001 }
        """,
    )

    assert list(models) == ["small", "large"]
    card = models["small"].card()
    assert (card.name, card.description) == ("small", "Small and quick")
    assert dict(card.defaults) == {"height": 64, "width": 64, "output_format": "webp"}
    assert models["large"].scheduler == {"beta_start": 0.001}
    assert models["large"].card().defaults == {}


def test_a_local_folder_counts_from_the_files_own_and_the_rest_is_a_hub_name(file: Path):
    for folder in ("whole", "my-vae"):
        (file.parent / folder).mkdir()

    model = read(file, '[models.a]\npath = "whole"\nvae = "my-vae"\nunet = "someone/unet"\n')["a"]

    assert model.path == str(file.parent / "whole")
    assert model.vae == PartSource(path=str(file.parent / "my-vae"))
    assert model.unet == PartSource(path="someone/unet")


def test_a_model_may_be_put_together_from_parts(file: Path):
    parts = "\n".join(f'{part} = {{ path = "p/{part}", subfolder = "s" }}' for part in PARTS)

    model = read(file, f"[models.a]\n{parts}\n")["a"]

    assert model.path is None
    assert model.tokenizer == PartSource(path="p/tokenizer", subfolder="s")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models.a", "is no TOML"),
        ('[models.a]\npath = "C:\\models"', "Unescaped '\\' in a string (at line 2, column 13); put a path with"),
        ('[models.a]\npath = "p"\n[models.a]', "(at line 3, column 10); put every text in plain quotes"),
        ("a = " + "[" * 5000, "is no TOML: maximum recursion depth exceeded"),
        ("a = " + "9" * 5000, "is no TOML: Exceeds the limit"),
        (
            '[models.a]\npath = "p"\n[b]\npath = "p"',
            "'b' is no model, for it stands outside [models.NAME]: leave it out",
        ),
        ('[models.sd1.5]\ndescription = "d"', 'put the name in quotes, [models."sd1.5"]'),
        ('[models.a]\npath = "p"\nname = "b"', "[models.a]: name is what stands in brackets: leave it out"),
        ('[models.a]\npath = ""', "path is '': must name a place, on one line"),
        ('[models.a]\npath = "p"\nvae = "a\\u0000b"', "vae.path is 'a\\x00b': must name a place, on one line"),
        ('[models.a]\npath = "p"\nembeddings = { e = "" }', "embeddings.e is '': must name a place, on one line"),
        ('[models.a]\npath = "p"\nscheduler = ""', "scheduler.path of model 'a' is '': must be a text, a place"),
        ('[models.a]\npath = "p"\nscheduler = 5', "scheduler is 5: must be a table"),
        ('[models.a]\npath = "p"\naliases = "b"', "aliases is 'b': must be a list"),
        ("", "names no model: add a table [models.NAME] with a path"),
        ("models = 3", "names no model: add a table [models.NAME] with a path"),
        ("[models]", "names no model: add a table [models.NAME] with a path"),
        ("models.a = 3", ": models.a is 3: make it a table with a path"),
        ("[models.a]", "model 'a' names no path and lacks tokenizer, text_encoder, unet, vae: name one or the other"),
        ('[models.a]\nunet = "u"\nvae = "v"', "model 'a' names no path and lacks tokenizer, text_encoder: name one"),
        (
            '[models.a]\npath = "p"\npaht = "p"',
            "paht is nothing that can be said here: leave it out, or say one of path, tokenizer",
        ),
        ("[models.a]\npath = 3", "[models.a]: path is 3: must be a text in quotes"),
        (
            '[models.a]\npath = "p"\nvae = { folder = "v" }',
            "vae.path is missing: give one; vae.folder is nothing that can be said",
        ),
        ('[models."a b"]\npath = "p"', "[models.a b]: name is 'a b': must be letters, digits, dot, dash"),
        (
            '[models.a]\npath = "p"\ndefaults = { width = 515, steps = 3 }',
            "defaults of model 'a': width is 515: must be a multiple of 8 between 64 and 2048; nearest 512 or 520; "
            "steps is no setting of a job",
        ),
    ],
)
def test_a_bad_file_is_named_with_the_place_and_the_cure(file: Path, text: str, said: str):
    with pytest.raises(InvalidSettings, match=re.escape(said)) as caught:
        read(file, text)

    assert str(caught.value).startswith(f"models file {file}")
    assert caught.value.exit_code == 2


def test_a_file_that_is_missing_or_no_text_is_named_with_the_cure(file: Path):
    with pytest.raises(InvalidSettings, match="cannot be read: No such file or directory; check SIGMAFARM_MODELS_FILE"):
        read_models_file(file)
    with pytest.raises(InvalidSettings, match="cannot be read: Is a directory"):
        read_models_file(file.parent)
    file.write_bytes('[models.a]\npath = "p"\n'.encode("utf-16"))
    with pytest.raises(InvalidSettings, match=r"is no TOML: .*; save it as UTF-8"):
        read_models_file(file)


def test_a_model_has_other_names_and_none_stands_for_two(tmp_path: Path):
    file = tmp_path / "models.toml"
    file.write_text('[models.a]\npath = "a"\naliases = ["dall-e-3", "gpt-image-1"]\n[models.b]\npath = "b"\n')
    specs = read_models_file(file)
    assert specs["a"].card().aliases == ("dall-e-3", "gpt-image-1")
    assert specs["b"].card().aliases == ()

    for taken in ("a", "dall-e-3"):
        said = file.read_text().split("[models.b]")[0]
        (tmp_path / "twice.toml").write_text(f'{said}[models.b]\npath = "b"\naliases = ["{taken}"]\n')
        with pytest.raises(InvalidSettings, match=f"'{taken}' is a name of 'a' and of 'b': leave one out"):
            read_models_file(tmp_path / "twice.toml")
    (tmp_path / "odd.toml").write_text('[models.b]\npath = "b"\naliases = ["no name"]\n')
    with pytest.raises(InvalidSettings, match="'no name': must be letters, digits, dot, dash or underscore"):
        read_models_file(tmp_path / "odd.toml")


def test_a_place_that_nobody_can_look_at_is_told_with_the_cure(file: Path):
    for place in ("/" + "x" * 5000, "~nobody-has-this-home/x"):
        spec = read(file, f'[models.a]\npath = "{place}"\n')["a"]

        with pytest.raises(ModelNotLoadable, match=r"cannot be looked at .*: check the path and its rights"):
            local_place(spec.path or "")
