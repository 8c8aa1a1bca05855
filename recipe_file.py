"""Reading a recipe, or another typed file: YAML and `--set` words become a checked `Recipe`.

- What is read is a mapping of keys to values and a type of `recipe.Part`s that checks it; score sheets are read so too.
- The first problem is told in one line: the file's line, or the setting that brought it, the key, and the cure.
- A key that stands twice is refused, because YAML would silently take the last.
- `--set a.b=VALUE` reads VALUE as YAML; it never changes what was given to it. A place in a list is a number, from 0.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from .errors import UsageError, nearest
from .files import explain_os_errors
from .recipe import Part, Recipe

P = TypeVar("P", bound=Part)


def find(path: Path, folder: str = "recipes") -> Path:
    """The file; a name that is no file here may be a ready one of the package's folder, with or without `.yaml`."""
    ready = Path(__file__).parent / folder / f"{path.stem}.yaml"
    named = path.suffix in ("", ".yaml") and path.parent.as_posix() in (".", folder) and ready.is_file()
    return ready if named and not path.is_file() else path


class _Loader(yaml.SafeLoader):
    """YAML where no key of a mapping stands twice: the first of two `teacher:` would be lost without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, (key, _) in enumerate(node.value):
            if key.value in names[:place]:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
        return node


def load(path: Path, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, apply `key.path=value` settings, and check every word of it."""
    values, text = read(path)
    return parse(values, where=str(find(path)), text=text, settings=settings)


def read(
    path: Path, what: str = "recipe", folder: str = "recipes", known: str = "`attar recipes` lists the ready ones"
) -> tuple[dict[str, Any], str]:
    """The mapping that a YAML file holds, unchecked, and its text; `what` and `known` are words of errors."""
    try:
        with explain_os_errors(path, reading=True):
            path = find(path, folder)
            text = path.read_bytes().decode("utf-8-sig")
        values = yaml.load(text, _Loader)
    except FileNotFoundError:
        raise UsageError(f"no such {what}", where=str(path), fix=known) from None
    except UnicodeDecodeError:
        raise UsageError(f"the {what} is not UTF-8 text", where=str(path)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2020-99-99 is a ValueError
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"not valid YAML: {getattr(error, 'problem', error)}", where=f"{path}{line}") from None
    if not isinstance(values, dict):
        raise UsageError(f"a {what} is a mapping of keys to values", where=str(path))
    return values, text


def parse(values: dict[str, Any], *, where: str = "recipe", text: str = "", settings: Sequence[str] = ()) -> Recipe:
    """Check the values of a recipe; the first problem is named with its line, or its setting, its key and cure."""
    return check(Recipe, values, where=where, text=text, settings=settings)


def check(kind: type[P], values: dict[str, Any], *, where: str, text: str = "", settings: Sequence[str] = ()) -> P:
    """Check values as `kind`, after settings; the first problem is named as `parse` does."""
    versions = [values]
    for setting in settings:
        versions.append(_set(versions[-1], setting))
    try:
        return kind.model_validate(versions[-1])
    except ValidationError as error:
        problem = error.errors()[0]
    # The setting that brought the problem is the first after which it is there, and stays to the end.
    ago = next((n for n, old in enumerate(reversed(versions)) if not _has(kind, old, problem)), len(versions))
    if ago < len(versions):
        where = f"--set {settings[-ago].partition('=')[0].strip()}"
    elif line := _line(text, problem["loc"]):
        where = f"{where}:{line}"
    raise _explain(kind, problem, versions[-1], where)


def _set(values: dict[str, Any], setting: str) -> dict[str, Any]:
    """The values with one `a.b.c=value` applied; what was given stays as it was, also where YAML shares it (`*a`)."""
    key, equals, word = setting.partition("=")
    if not equals or not key:
        raise UsageError(f"{setting!r} is not KEY=VALUE", where="--set", fix="for example --set student.layers=4")
    *parents, last = key.strip().split(".")
    result = dict(values)
    place: Any = result
    for parent in parents:
        at = _at(place, parent, setting)
        held = place[at] if isinstance(at, int) else place.get(at)
        if held is not None and not isinstance(held, dict | list):
            raise UsageError(f"{parent!r} holds a value, not keys", where=f"--set {setting}")
        place[at] = copy.copy(held) if held is not None else {}
        place = place[at]
    try:
        place[_at(place, last, setting)] = _yaml_value(word)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UsageError(f"{word!r} is not a YAML value", where=f"--set {setting}") from None
    return result


def _at(place: Any, key: str, setting: str) -> str | int:
    """The key, or its number in a list, from 0."""
    if not isinstance(place, list):
        return key
    if not (key.isdecimal() and int(key) < len(place)):
        raise UsageError(f"{key!r} is none of the list's {len(place)} numbers, from 0", where=f"--set {setting}")
    return int(key)


def _yaml_value(word: str) -> Any:
    """YAML 1.1 reads 1e-5 as a string; people who type it mean the number."""
    value = yaml.load(word, _Loader)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value


def _has(kind: type[Part], values: dict[str, Any], problem: Any) -> bool:
    """Whether these values have the very problem: at the same place, and not another value there."""

    def mark(problem: Any) -> tuple[Any, ...]:
        value = problem["input"]
        return problem["loc"], problem["type"], problem["msg"], None if isinstance(value, dict) else repr(value)

    try:
        kind.model_validate(values)
    except ValidationError as error:
        return mark(problem) in [mark(found) for found in error.errors()]
    return False


def _line(text: str, location: Sequence[str | int]) -> int:
    """The line (from 1) of the deepest part of `location` that stands in the recipe's text; 0 where none does."""
    node, line = yaml.compose(text, yaml.SafeLoader), 0
    for part in location:
        if isinstance(node, yaml.MappingNode) and isinstance(part, int):
            continue  # one file stands where a list of files may
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None and any(key.value == "kind" and value.value == part for key, value in node.value):
                continue  # pydantic names the kind of a part between its place and its keys
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _explain(kind: type[Part], problem: Any, values: Any, where: str) -> UsageError:
    """A validation error as one line."""
    location: list[str] = []
    known = [kind]  # the parts that may stand at the location
    for part in problem["loc"]:  # between the keys pydantic names the kinds that a value might have had
        if isinstance(values, dict) and not isinstance(part, int) and "[" not in part:
            if part == values.get("kind") and part not in values:
                known = [one for one in known if part in get_args(one.model_fields["kind"].annotation)]
                continue
            location.append(str(part))
            values = values.get(part)
            if problem["type"] != "extra_forbidden" or part is not problem["loc"][-1]:
                known = [found for one in known if part in one.model_fields for found in _parts(one, part)]
        elif isinstance(values, list) and isinstance(part, int):
            location.append(str(part))
            values = values[part]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        names = [name for one in known[:1] for name in one.model_fields]
        return UsageError(f"unknown key {key!r}", where=where, fix=nearest(location[-1], names))
    message = problem["msg"].removeprefix("Value error, ")
    fix = "write the key in quotes" if problem["loc"][-1:] == ("[key]",) else ""
    if problem["type"] == "union_tag_invalid":
        told = problem["ctx"]
        message, fix = (
            f"unknown kind {told['tag']!r}",
            nearest(told["tag"], told["expected_tags"].strip("'").split("', '")),
        )
    elif problem["type"] == "union_tag_not_found":
        message, fix = "it has no kind", "known: " + ", ".join(sorted(_kinds(known)))
    return UsageError(f"{key}: {message}" if key else message, where=where, fix=fix)


def _parts(kind: type[Part], name: str) -> list[type[Part]]:
    """The parts that the field of a part may hold, by itself or in a list."""

    def within(annotation: Any) -> list[type[Part]]:
        inner = get_args(annotation)
        if not inner and isinstance(annotation, type) and issubclass(annotation, Part):
            return [annotation]
        return [found for one in inner for found in within(one)]

    return within(kind.model_fields[name].annotation)


def _kinds(known: Sequence[type[Part]]) -> list[str]:
    return [word for one in known for word in get_args(one.model_fields["kind"].annotation)]
