"""Products in bfloat16: what an export with them asks for."""

from __future__ import annotations

from kdlnet.errors import ConfigError
from kdlnet.inference.layouts import Layout
from kdlnet.inference.proof import Parity
from kdlnet.utils.environment import has_amx
from kdlnet.utils.given import Name


def check_bf16(data: Name | None, device: str, layout: Layout) -> None:
    """Raises ConfigError where they cannot be proved."""
    if layout.outputs == "detections":
        raise ConfigError("--bf16 and --nms: give one of them")
    if data is None:
        raise ConfigError("--bf16 is judged on images: give --data")
    if device != "cpu":
        raise ConfigError(f"--bf16 is for the CPU: leave --device {device} out")
    if not has_amx():
        raise ConfigError(
            "--bf16: this processor has no AMX; export on the box that is to run the file, or "
            "leave --bf16 out"
        )


def check_judged(proof: Parity, split: str) -> None:
    """Raises ConfigError where verdicts alone were judged: on good parts few of them can change."""
    if proof.ap_before is None:
        raise ConfigError(
            f"--bf16 is judged by AP: no image of {split!r} has a labelled box; give --data or "
            "--split with some"
        )
