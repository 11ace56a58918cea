"""JSON schemas in words: `whole number 1 to 1000`, `list of Job`, `one of png, jpeg, webp`; and examples of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

#: What JSON's types are called.
_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
}
#: Examples of types of which the description gives none.
_EXAMPLES: Mapping[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
}
#: Choices that are spelled out.
_SHOWN_CHOICES = 24


@dataclass(frozen=True)
class Kind:
    """What a value is, in words."""

    text: str
    #: The shape that it is, or that it holds; empty for none.
    shape: str = ""


class Kinds:
    """Says schemas in words. References are looked up among the description's own."""

    def __init__(self, schemas: Mapping[str, Schema]):
        self._schemas = schemas

    def of(self, schema: Schema) -> Kind:
        """Return what a value of a schema is."""
        if name := _name(schema):
            found = self._schemas[name]
            return Kind(name, name) if found.get("properties") else self.of(found)
        if options := _options(schema):
            return self._one_of(options)
        if "const" in schema:
            return Kind(json.dumps(schema["const"]))
        if values := schema.get("enum"):
            more = ", ..." if len(values) > _SHOWN_CHOICES else ""
            return Kind(f"one of {', '.join(map(str, values[:_SHOWN_CHOICES]))}{more}")
        return self._typed(schema)

    def default_of(self, schema: Schema) -> str:
        """Return a schema's default as JSON, empty where there is none to tell: null and what is empty say nothing."""
        default = schema.get("default")
        return "" if default in (None, "", [], {}) else json.dumps(default, ensure_ascii=False)

    def example_of(self, schema: Schema) -> Any:
        """Return a value of a schema: the example that it gives, else one made of what it requires."""
        if name := _name(schema):
            return self.example_of(self._schemas[name])
        if examples := schema.get("examples"):
            return examples[0]
        if properties := schema.get("properties"):
            required = schema.get("required") or (schema.get("oneOf") or [{}])[0].get("required", ())
            return {each: self.example_of(properties[each]) for each in required}
        if options := _options(schema):
            return self.example_of(options[0])
        values = schema.get("enum") or [_EXAMPLES.get(str(schema.get("type")))]
        return schema.get("default", values[0])

    def _one_of(self, options: Sequence[Schema]) -> Kind:
        kinds = [self.of(each) for each in options]
        texts = dict.fromkeys(kind.text for kind in kinds)
        return Kind(" or ".join(texts), next((kind.shape for kind in kinds if kind.shape), ""))

    def _typed(self, schema: Schema) -> Kind:
        kind = str(schema.get("type", ""))
        if kind == "array":
            inside = self._inside_of(schema)
            return Kind(f"list of {inside.text}", inside.shape) if inside.text != "anything" else Kind("list")
        if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
            inside = self.of(schema["additionalProperties"])
            return Kind(f"object of {inside.text}", inside.shape) if inside.text != "anything" else Kind("object")
        if schema.get("format") == "binary" or schema.get("contentMediaType"):
            return Kind("file")
        return Kind(_WORDS.get(kind, "anything") + _limits(schema))

    def _inside_of(self, schema: Schema) -> Kind:
        if items := schema.get("items"):
            return self.of(items)
        return self._one_of(schema["prefixItems"]) if schema.get("prefixItems") else Kind("anything")


def _name(schema: Schema) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _options(schema: Schema) -> list[Schema]:
    """Return what a value may be one of, null left out: what is not said is not null but left away."""
    if "properties" in schema:
        return []
    options: list[Schema] = [each for key in ("anyOf", "oneOf", "allOf") for each in schema.get(key, ())]
    return [each for each in options if each.get("type") != "null"]


def _limits(schema: Schema) -> str:
    """Return what bounds a value, with a space before it."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    said = ""
    if low is not None and high is not None and abs(high) < 2**53:
        said = f" {low} to {high}"
    elif low is not None:
        said = f" from {low}"
    elif high is not None:
        said = f" up to {high}"
    if step := schema.get("multipleOf"):
        said += f", a multiple of {step}"
    if length := schema.get("maxLength"):
        said += f", {length} characters at most"
    return said
