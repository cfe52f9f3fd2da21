"""Settings of a pre-training, checked like those of a training."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kdlnet.config import ModelConfig, OptimConfig
from kdlnet.settings import Precision


class PretrainConfig(BaseModel):
    """Everything a pre-training depends on.

    ``images`` are folders, lists and globs, ``data`` datasets whose train splits are looked at,
    without their labels. ``views`` is how many squares are cut from an image, null: as many as the
    time and ``cache_gb`` allow, up to 8. A square's side is ``sides`` (least, most) times the
    image's shorter side; a share ``grey`` loses its colour. ``image_size`` is the side of a view in
    pixels. ``time`` is in seconds, the teacher's part included; without it ``epochs`` count.
    """

    model_config = ConfigDict(extra="forbid", validate_default=True)

    images: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    data_root: str | None = None
    teacher: str = "efficientnet-lite2"
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    views: int | None = Field(None, ge=1)
    sides: tuple[float, float] = (0.4, 1.0)
    grey: float = Field(0.5, ge=0, le=1)
    cache_gb: float = Field(8.0, gt=0)
    image_size: int = 128
    epochs: int = Field(10, ge=1)
    batch: int = Field(32, ge=1)
    seed: int = Field(0, ge=0, lt=2**63)
    device: str = "auto"
    amp: Precision = "auto"
    time: float | None = Field(None, gt=0)
    val_every: int = Field(1, ge=1)

    @field_validator("sides")
    @classmethod
    def _sides(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1] <= 1:
            raise ValueError("give the least and the most share of the shorter side, in (0, 1]")
        return value

    @field_validator("image_size")
    @classmethod
    def _size(cls, value: int) -> int:
        if value < 32 or value % 32:
            raise ValueError("give a multiple of 32")
        return value

    @field_validator("model")
    @classmethod
    def _model(cls, value: ModelConfig) -> ModelConfig:
        """The quick one, unless another is named; a start of three channels serves one too."""
        if value.channels == 1:
            raise ValueError("a start has 3 channels and serves models of 1 as well")
        values = {"name": "lightnet-n"} | value.model_dump(exclude_unset=True) | {"channels": 3}
        return ModelConfig.model_construct(value.model_fields_set, **values)

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
