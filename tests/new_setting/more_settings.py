"""A plugin of pytest that adds four settings to the farm before anything of it is imported: settings.py, with four
fields more in its text, takes the place of the module. Nothing else is touched.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

import sigmafarm_common

ENUM = """
class Mood(StrEnum):
    CALM = "calm"
    WILD = "wild"


class Settings(BaseModel):"""
FIELDS = """
    softness: Annotated[
        float | None,
        Field(title="Softness", description="How soft edges are.", ge=0, le=2),
        About(farm_default=1.0, aliases=("soft",), a1111="softness_strength", unit="sigma", place=Place.SIDE),
    ] = None
    seamless: Annotated[bool | None, Field(title="Seamless", description="Edges fit each other.")] = None
    mood: Annotated[Mood | None, Field(title="Mood", description="Of the picture."), About(farm_default="calm")] = None
    window: Annotated[FloatPair | None, Field(title="Window", description="Noise levels at which it counts.")] = None

    @classmethod
    def parse("""


def _load() -> None:
    name = "sigmafarm_common.settings"
    assert name not in sys.modules, "the farm was imported before its settings were added to"
    place = Path(sigmafarm_common.__file__).parent / "settings.py"
    text = place.read_text(encoding="utf-8")
    for mark, more in (
        ("\nclass Settings(BaseModel):", ENUM),
        ("\n    @classmethod\n    def parse(", FIELDS),
        ("import About,", "import FloatPair, About,"),
    ):
        assert text.count(mark) == 1, f"settings.py has {mark!r} {text.count(mark)} times"
        text = text.replace(mark, more)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "settings.py").write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, Path(folder) / "settings.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


_load()
