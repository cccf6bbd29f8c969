"""Reads YAML files strictly, and says in one line what is wrong with what they hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from salience.errors import SettingsError


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML's own reading takes the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise yaml.YAMLError(f"the key {key} is there twice, the second time{node.value[place][0].start_mark}")
        return super().construct_mapping(node, deep)


def parsed(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Return what a YAML text stands for.

    Raises:
        YAMLError: it is none.
    """
    try:
        return yaml.load(text, Loader=loader)
    except ValueError as error:
        # Its own reading of what looks like a date or a number: 2026-13-01.
        raise yaml.YAMLError(str(error)) from None


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        SettingsError: the file is missing or unreadable, no YAML, or holds something else than a mapping.
    """
    try:
        content = parsed(file.read_text(encoding="utf-8"), _StrictLoader)
    except (FileNotFoundError, NotADirectoryError):
        raise SettingsError(f"{file}: no such file; name the folder of the settings in SALIENCE_CONF_DIR") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file}: is not in UTF-8") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{file}: must hold a mapping of keys to values")
    return content


def describe(error: ValidationError, where: str, origins: Mapping[str, str] | None = None) -> str:
    """Return one line that names each wrong key, what is wrong and what was given.

    Args:
        error: of a pydantic model.
        where: the file, or what else was checked.
        origins: key -> what set it, where there are several sources.
    """
    problems = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            origin = f" (set by {origins[key]})" if origins and key in origins else ""
            problems.append(f"{key}: there is no such key{origin}")
        elif item["type"] == "missing":
            problems.append(f"{key}: is missing")
        elif not key:
            # What contradicts what is said; all settings together say no more.
            problems.append(item["msg"].removeprefix("Value error, "))
        else:
            problems.append(f"{key}: {item['msg']} (given: {item['input']!r})")
    return f"{where}: " + "; ".join(problems)
