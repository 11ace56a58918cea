"""How prompts are written in a file, and how that is found out: by its name, by what is said, by its first line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePath

from sigmafarm_common.errors import UnreadableInput


class InputFormat(StrEnum):
    """How prompts are written in a file."""

    #: One prompt a line; blank lines count as nothing.
    TEXT = "text"
    #: One JSON object a line, with our field names; or a JSON string, which is a prompt.
    JSONL = "jsonl"
    #: One JSON array of such objects or strings.
    JSON = "json"
    #: A header of our field names, a row a line; an empty cell says nothing. Commas, semicolons or tabs between cells.
    CSV = "csv"
    #: The same with tabs.
    TSV = "tsv"


#: The format that a file's name tells; any other is text, but for those that are none.
FORMATS: Mapping[str, InputFormat] = {
    ".jsonl": InputFormat.JSONL,
    ".jsonlines": InputFormat.JSONL,
    ".ldjson": InputFormat.JSONL,
    ".ndjson": InputFormat.JSONL,
    ".json": InputFormat.JSON,
    ".csv": InputFormat.CSV,
    ".tsv": InputFormat.TSV,
    ".tab": InputFormat.TSV,
}
#: What comes instead of a list of prompts, by the end of a file's name. Those of TEXTS may hold one all the same.
NO_PROMPTS: Mapping[str, str] = {
    suffix: what
    for what, suffixes in {
        "YAML": ".yaml .yml",
        "TOML": ".toml",
        "XML": ".xml .svg",
        "a web page": ".html .htm .mhtml",
        "Markdown": ".md .markdown",
        "reStructuredText": ".rst .adoc",
        "JSON with comments": ".json5 .jsonc",
        "settings": ".ini .cfg .conf .env",
        "a program": ".py .js .ts .sh .bat .ps1 .sql",
        "rich text": ".rtf",
        "a notebook": ".ipynb",
        "a spreadsheet": ".xlsx .xls .xlsm .xlsb .ods .numbers .gsheet",
        "a document": ".docx .doc .odt .pdf .pages .pptx .epub .gdoc",
        "a table in binary": ".parquet .feather .arrow .db .sqlite .npy .npz .pkl",
        "a picture": ".png .jpg .jpeg .webp .gif .bmp .tif .tiff .avif .heic .psd",
        "a model": ".safetensors .ckpt .pt .pth .onnx .gguf",
        "an archive": ".zip .gz .tgz .bz2 .xz .zst .7z .rar .tar",
    }.items()
    for suffix in suffixes.split()
}
#: Those that are text: someone may have written a prompt a line into such a file.
TEXTS = frozenset(
    {"YAML", "TOML", "XML", "Markdown", "reStructuredText", "JSON with comments", "settings", "a program"}
)
#: What helps with some, where `save it so` does not.
CURES: Mapping[str, str] = {
    "a picture": "a picture to draw from is named by init_image, and `sigmafarm replay` draws one again",
    "a model": "models stand in the models file",
    "an archive": "unpack it first",
    "a list as Python prints it": "json.dumps writes it as JSON",
    "a pointer of Git LFS": "`git lfs pull` fetches the file itself",
}
#: How to have lines drawn whatever they look like.
ANYHOW = "--format text (in a form: its format) to draw every line as a prompt"


def format_of_name(name: str) -> InputFormat | None:
    """Return the format that a file's name tells, None where it tells nothing. Raises UnreadableInput for a file whose
    lines are no prompts."""
    suffix = PurePath(name).suffix.lower()
    if what := NO_PROMPTS.get(suffix):
        raise no_prompts(name[:100], what)
    return FORMATS.get(suffix)


def no_prompts(name: str, what: str, *, seen: str = "is") -> UnreadableInput:
    """Return the refusal of a file that is something else than a list of prompts, with the way to one. `seen` is what
    stands between the two."""
    cure = CURES.get(what, f"save it so, or say {ANYHOW}" if what in TEXTS else "save it so")
    return UnreadableInput(f"{name} {seen} {what}: prompts come as text, CSV, TSV, JSON or JSON lines; {cure}")
