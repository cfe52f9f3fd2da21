"""Which precision a training takes on which device."""

from __future__ import annotations

import pytest
import torch

from kdlnet.utils import device
from kdlnet.utils.device import autocast_dtype, precision_name

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "known", "precision"),
    [
        ("AMD EPYC 9B14", {"avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ("AMD64 Family 25 Model 17, AuthenticAMD", {"avx512_bf16": True}, "bfloat16"),
        ("AMD EPYC 7B13", {"avx512_f": True, "avx512_bf16": False}, "float32"),
        ("Intel(R) Xeon(R)", {"avx512_bf16": True, "amx_bf16": True}, "bfloat16"),
        ("Intel(R) Xeon(R)", {"avx512_bf16": True, "amx_bf16": False}, "float32"),
        ("", {"architecture": "aarch64"}, "float32"),
    ],
)
def test_a_processor_takes_what_it_is_quicker_in(
    monkeypatch: pytest.MonkeyPatch, name: str, known: dict[str, object], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    monkeypatch.setattr(device, "processor_name", lambda: name)
    assert precision_name("auto", CPU) == precision
    assert precision_name("auto", torch.device("mps")) == "float32"
    assert [precision_name(amp, CPU) for amp in ("off", "bf16", "fp16")] == [
        "float32",
        "bfloat16",
        "float16",
    ]


def test_a_torch_that_does_not_know_its_processor_takes_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert autocast_dtype("auto", CPU) is None


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float16"), ((8, 0), "bfloat16")])
def test_a_card_before_ampere_takes_float16(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda card: capability)
    assert precision_name("auto", torch.device("cuda")) == dtype
