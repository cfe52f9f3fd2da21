"""YAML that a person wrote."""

from __future__ import annotations

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is there twice, with its line: YAML's own loader takes the last one.

    Keys are one that are equal as Python has them, however they are written: 0, 0x0 and false.
    """

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: dict[Any, str] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            value = self.construct_object(key)
            if value in seen:
                also = "" if seen[value] == key.value else f", also as {seen[value]!r}"
                twice = f"key {key.value!r} is there twice{also}, keep one"
                raise yaml.MarkedYAMLError(problem=twice, problem_mark=key.start_mark)
            seen[value] = key.value
        return node
