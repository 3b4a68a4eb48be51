"""Strict YAML: a file and overrides become a frozen pydantic model, or a list of everything that is wrong with them.

    settings = read(RunSettings, Path("c4.yaml"), ["agent.learning_rate=1e-3"])

Each problem is one line: the file and its line (or the override), the key, its value, what was expected, and the
nearest name that exists where one was not known. Files are read as plain values only (yaml's SafeLoader), a key may
stand once, and `1e-3` and `1e6` are numbers as in YAML 1.2, which PyYAML alone would read as text.
"""

from __future__ import annotations

import re
import reprlib
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from arena import files
from games.names import UserError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)
KeyPath = tuple[str | int, ...]

_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 60
_SHOWN.maxdict, _SHOWN.maxlist, _SHOWN.maxlevel = 3, 4, 2

# pydantic's error types said in a user's words; the rest keep pydantic's sentence.
_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text (in quotes where it looks like a number)",
    "none_required": "empty (null)",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a section of `name: value`",
    "model_type": "a section of `name: value`",
    "model_attributes_type": "a section of `name: value`",
}


class ConfigError(UserError):
    """A configuration cannot be used. The message holds one line for each problem."""


def read(model: type[Model], path: Path, overrides: Sequence[str] = ()) -> Model:
    """The settings in the YAML file `path`, with `overrides` (`key.sub=value`, values in YAML) put over them.

    Raises ConfigError with every problem found.
    """
    node, mapping = _load(_text(path), str(path))
    return _validate(model, mapping, overrides, str(path), lambda keys: f"{path}:{_line(node, keys)}")


def parse(
    model: type[Model], mapping: Mapping[str, Any], overrides: Sequence[str] = (), source: str = "config"
) -> Model:
    """As `read`, from a mapping; `source` says in the messages where it came from."""
    return _validate(model, mapping, overrides, source, lambda keys: source)


def dump(model: BaseModel, path: Path, comment: str = "") -> None:
    """Write every value of `model`, defaults too, as YAML that `read` turns back into an equal one."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    body = yaml.dump(model.model_dump(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    files.write(path, (head + body).encode())


# ---- YAML ----------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Plain values only."""


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would take for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_multi_representer(PurePath, lambda dumper, path: dumper.represent_str(str(path)))
_EXPONENT = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
for _one in (_Loader, _Dumper):
    # No setting is a date, so dates stay text; and an impossible one would raise where it stands.
    _one.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _one.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        raise ConfigError(f"{path}: there is no such file.{did_you_mean(path.name, beside)}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}.") from None


def _load(text: str, source: str) -> tuple[yaml.Node | None, dict[str, Any]]:
    """The document's nodes, which know their lines, and its values. Raises ConfigError."""
    node, value = _compose(text, source)
    twice = [f"{source}:{mark.line + 1}: {_shown(keys)}: stands twice; keep one." for keys, mark in _repeated(node)]
    if twice:
        raise ConfigError("\n".join(twice))
    if not isinstance(value, dict | None):
        raise ConfigError(f"{source}: holds {_SHOWN.repr(value)}, but should be a section of `name: value`.")
    return node, value or {}


def _compose(text: str, source: str) -> tuple[yaml.Node | None, Any]:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    except yaml.constructor.ConstructorError as error:
        raise ConfigError(f"{source}{_place(error.problem_mark)}: {_plain_values(str(error.problem))}.") from None
    except yaml.MarkedYAMLError as error:
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{source}{_place(error.problem_mark)}: is not YAML: {said}.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{source}: is not YAML: {' '.join(str(error).split())}.") from None
    except RecursionError:
        raise ConfigError(f"{source}: is nested too deeply.") from None


def _place(mark: yaml.Mark | None) -> str:
    return "" if mark is None else f":{mark.line + 1}:{mark.column + 1}"


def _plain_values(problem: str) -> str:
    tag = re.search(r"constructor for the tag '(?:tag:yaml.org,2002:)?(.*)'", problem)
    return f"the tag !!{tag[1]} is refused; only plain values are read" if tag else problem


def _repeated(node: yaml.Node | None) -> list[tuple[KeyPath, yaml.Mark]]:
    """Keys that stand twice in their section: PyYAML would silently keep the last."""
    found: list[tuple[KeyPath, yaml.Mark]] = []
    seen: set[int] = set()  # aliases may repeat a section, even inside itself

    def walk(node: yaml.Node | None, keys: KeyPath) -> None:
        if node is None or id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                walk(item, (*keys, index))
        if isinstance(node, yaml.MappingNode):
            counts: Counter[str] = Counter()
            for key, item in node.value:
                counts[str(key.value)] += 1
                if counts[str(key.value)] == 2:
                    found.append(((*keys, str(key.value)), key.start_mark))
                walk(item, (*keys, str(key.value)))

    walk(node, ())
    return found


def _line(node: yaml.Node | None, keys: KeyPath) -> int:
    """The line of the deepest of `keys` that the file has."""
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            inside = {str(name.value): (name, item) for name, item in node.value}
            if str(key) not in inside:
                break
            name, node = inside[str(key)]
            line = name.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            break
    return line


# ---- overrides -----------------------------------------------------------------------------------------------------


def _override(text: str, source: str) -> tuple[KeyPath, Any]:
    """`key.sub=value` as (keys, value). Raises ConfigError."""
    name, equals, value = text.partition("=")
    keys = tuple(name.strip().split("."))
    if not equals or not all(keys):
        raise ConfigError(f"{source}: should read key.sub=value.")
    return keys, _compose(value, source)[1]


def _put(section: Any, keys: KeyPath, value: Any, source: str, above: KeyPath = ()) -> Any:
    """A copy of `section` in which `keys` hold `value`; sections that are missing are made. Raises ConfigError."""
    if not keys:
        return value
    here, *rest = keys
    if isinstance(section, list):
        if not str(here).isdigit() or int(here) >= len(section):
            raise ConfigError(f"{source}: {_shown(above)} is a list of {len(section)}; {here!r} is no place in it.")
        changed = list(section)
        changed[int(here)] = _put(section[int(here)], tuple(rest), value, source, (*above, int(here)))
        return changed
    if not isinstance(section, Mapping | None):
        raise ConfigError(f"{source}: {_shown(above)} is {_SHOWN.repr(section)}, which has no {here!r} inside.")
    inside = dict(section or {})
    inside[str(here)] = _put(inside.get(str(here)), tuple(rest), value, source, (*above, here))
    return inside


# ---- problems ------------------------------------------------------------------------------------------------------


def _validate(
    model: type[Model],
    mapping: Mapping[str, Any],
    overrides: Sequence[str],
    source: str,
    where: Callable[[KeyPath], str],
) -> Model:
    values: Any = mapping
    problems: list[str] = []
    given: list[tuple[KeyPath, str]] = []  # what each override sets
    for text in overrides:
        said = f"{source}, override {text!r}"
        try:
            keys, value = _override(text, said)
            values = _put(values, keys, value, said)
            given.append((keys, said))
        except ConfigError as error:
            problems.append(str(error))
    try:
        made = model.model_validate(values)
    except ValidationError as error:
        problems += _lines(model, values, error.errors(include_url=False), given, where)
    if problems:
        raise ConfigError("\n".join(problems))
    return made


def _lines(
    model: type[BaseModel],
    values: Any,
    errors: Sequence[ErrorDetails],
    given: Sequence[tuple[KeyPath, str]],
    where: Callable[[KeyPath], str],
) -> list[str]:
    """One line for each key that is wrong: the members of a union each complain about the same one."""
    wrong: dict[KeyPath, list[tuple[ErrorDetails, list[str]]]] = {}
    for error in errors:
        keys, names = _follow(model, values, error["loc"])
        wrong.setdefault(keys, []).append((error, names))
    lines = []
    for keys, complaints in wrong.items():
        origin = _origin(keys, given) or where(keys)
        said = dict.fromkeys(_sentence(error, names) for error, names in complaints)
        lines.append(f"{origin}: {_shown(keys)}{_value(complaints[0][0])}: {' Or: '.join(said)}")
    return lines


def _origin(keys: KeyPath, given: Sequence[tuple[KeyPath, str]]) -> str | None:
    """The last override that set `keys`, what they stand in, or something inside them."""
    wanted = tuple(map(str, keys))
    if not wanted:
        return None
    return next((said for key, said in reversed(given) if key[: len(wanted)] == wanted[: len(key)]), None)


def _value(error: ErrorDetails) -> str:
    """` = value`, short; nothing where the key is missing or its whole section is meant."""
    whole = isinstance(error["input"], dict) and error["type"] in ("value_error", "union_tag_not_found")
    return "" if error["type"] == "missing" or whole else f" = {_SHOWN.repr(_tag(error) or error['input'])}"


def _tag(error: ErrorDetails) -> Any:
    return error.get("ctx", {}).get("tag")


def _sentence(error: ErrorDetails, names: Sequence[str]) -> str:
    """What was expected, and the name that was meant. `names` are those known where the error is."""
    kind, message, context = error["type"], error["msg"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"there is no such setting.{did_you_mean(str(error['loc'][-1]), names)}"
    if kind == "missing":
        return "is missing and has no default."
    if kind == "union_tag_not_found":
        return f"has no {context['discriminator']}, which tells what it is. Known: {', '.join(names)}."
    if kind == "union_tag_invalid":
        return f"is no known {_unquoted(context['discriminator'])}.{did_you_mean(str(context['tag']), names)}"
    if kind == "literal_error":
        meant = did_you_mean(str(error["input"]), re.findall(r"'([^']*)'", context["expected"]))
        return f"should be {context['expected']}.{meant if meant.startswith(' Did') else ''}"
    if kind in _EXPECTED:
        return f"should be {_EXPECTED[kind]}."
    for long, short in (("Input should", "should"), ("Value error, ", ""), ("Assertion failed, ", "")):
        message = short + message.removeprefix(long) if message.startswith(long) else message
    return message if message.endswith((".", "?", "!")) else f"{message}."


def _unquoted(text: Any) -> str:
    return str(text).strip("'\"")


def _shown(keys: KeyPath) -> str:
    return ".".join(map(str, keys)) or "the whole"


# ---- where an error is ---------------------------------------------------------------------------------------------


def _follow(model: type[BaseModel], values: Any, loc: tuple[str | int, ...]) -> tuple[KeyPath, list[str]]:
    """The keys that pydantic's `loc` means, and the names known at its end.

    A loc also holds names that are in no file: of a union's member, of a dict's key. Types are followed beside it to
    tell which; the values decide where a plain union leaves it open.
    """
    keys: list[str | int] = []
    here: Any = model
    names: list[str] = []
    for part in loc:
        members, tag = _members(here)
        if tag is not None:
            here = next((m for m in members if str(part) in _tags(m, tag)), None)
            names = []
            continue
        if part == "[key]" or (len(members) > 1 and not _has(values, part)):
            here = next((m for m in members if getattr(m, "__name__", "") == part), here)
            continue
        names = sorted({name for member in members if _is_model(member) for name in member.model_fields})
        keys.append(part)
        here = _inside(members, part)
        values = values[part] if _has(values, part) else None
    members, tag = _members(here)
    if tag is not None:
        keys_of_tags = sorted(set().union(*(_tags(member, tag) for member in members)))
        return (*keys, tag) if isinstance(values, Mapping) and tag in values else tuple(keys), keys_of_tags
    return tuple(keys), names


def _has(values: Any, part: str | int) -> bool:
    if isinstance(values, Mapping):
        return part in values
    return isinstance(values, list) and isinstance(part, int) and part < len(values)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _members(kind: Any) -> tuple[list[Any], str | None]:
    """The types that a value may have, without None, and the key that tells which where there is one."""
    tag: str | None = None
    if isinstance(kind, FieldInfo):
        tag = kind.discriminator if isinstance(kind.discriminator, str) else None
        kind = kind.annotation
    if get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
        marked = (note.discriminator for note in notes if isinstance(note, FieldInfo))
        tag = next((name for name in marked if isinstance(name, str)), tag)
    if get_origin(kind) not in (Union, types.UnionType):
        return [kind], tag
    return [member for member in get_args(kind) if member is not type(None)], tag


def _tags(member: Any, tag: str) -> set[str]:
    kind = member.model_fields[tag].annotation
    return {str(value) for value in get_args(kind)} if get_origin(kind) is Literal else set()


def _inside(members: Sequence[Any], part: str | int) -> Any:
    """The type of what `part` names inside a value of one of `members`."""
    for member in members:
        if _is_model(member) and part in member.model_fields:
            return member.model_fields[str(part)]
        inner = [kind for kind in get_args(member) if kind is not Ellipsis]
        origin = get_origin(member)
        if inner and isinstance(origin, type):
            if issubclass(origin, Mapping):
                return inner[1]
            if isinstance(part, int) and issubclass(origin, Sequence):
                return inner[min(part, len(inner) - 1)]
    return None
