"""YAML that a person wrote."""

from __future__ import annotations

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is there twice, with its line: YAML's own loader takes the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in seen:
                twice = f"key {key.value!r} is there twice, keep one"
                raise yaml.MarkedYAMLError(problem=twice, problem_mark=key.start_mark)
            seen.add((key.tag, key.value))
        return node
