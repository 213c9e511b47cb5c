"""Reading YAML strictly: plain values only, and a key given twice is an error (YAML readers silently take the last)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, ScalarNode


class BadYaml(ValueError):
    """A text that is no YAML, or says one thing twice. The message is a sentence with line and column, without the file."""


class _Loader(yaml.SafeLoader):
    # Checked as the nodes are composed: merge keys (<<) add keys later, and may be overridden.
    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, ScalarNode) else None
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark)
            if name is not None:
                seen.add(name)
        return node


def load_yaml(path: Path) -> Any:
    """The value a YAML file holds. Raises BadYaml; OSError where it can't be read."""
    try:
        return yaml.load(path.read_text("utf-8-sig"), Loader=_Loader)
    except OSError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BadYaml(place + (" ".join(filter(None, (error.context, error.problem))) or "no valid YAML")) from None
    except RecursionError:
        raise BadYaml("nested too deeply") from None
    except UnicodeDecodeError as error:
        raise BadYaml(f"no UTF-8 (byte {error.start + 1}): save the file as UTF-8") from None
    except Exception as error:
        # PyYAML lets ValueError, KeyError and others through for a bad date, number or truth value.
        raise BadYaml(f"no valid YAML: {' '.join(str(error).split()) or type(error).__name__}") from None
