"""Settings of a training run as data: checked at the edge, turned into arguments, written back.

A config never enters a module: builders take its values. How they are read is in
:mod:`kdlnet.settings`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kdlnet.settings import Precision, build_settings, changed, load_settings, merged, read_by
from kdlnet.utils.given import AnyPath, as_path, checked
from kdlnet.utils.parse import parse_image_size, parse_roi, parse_tile, parse_window


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


class ModelConfig(_Section):
    """``name`` of the registry, the re-parameterizable ``block`` and the input ``channels``.

    ``channels`` null: what the dataset says, else 3. ``start``: a training without ``--init``
    begins at the ``released`` start that fits its model and block, where there is one, or at
    ``none``.
    """

    name: str = "lightnet"
    block: Literal["summed", "repvgg", "qarepvgg"] = "summed"
    channels: Literal[1, 3] | None = None
    start: Literal["released", "none"] = "released"


class DataConfig(_Section):
    """Where the images are and how they are held. Several names are joined, see docs/concepts.md.

    ``cache``: ``ram`` (falls back to ``disk`` past ``cache_gb`` a split), ``disk`` (a memory-mapped
    file in the temporary folder, deleted at the end) or ``none`` (decoded for every batch).
    ``window``: the two intensities that become black and white, as ``0-4095`` or a pair; null
    measures the training set. ``with_val``: the training learns from val, too, and nothing is
    measured: the last epoch is kept, see :mod:`kdlnet.training.final`. ``roi``: what of an image is
    looked at, x1, y1, x2, y2 in pixels; null or off: all.
    """

    name: str | tuple[str, ...] = ""
    root: str | None = None
    cache: Literal["ram", "disk", "none"] = "ram"
    cache_gb: float = Field(4.0, gt=0)
    strict: bool = False
    window: Annotated[tuple[float, float] | None, read_by(parse_window)] = None
    roi: Annotated[tuple[int, int, int, int] | None, read_by(parse_roi)] = None
    train_split: str = "train"
    val_split: str = "val"
    with_val: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of all datasets."""
        return (self.name,) if isinstance(self.name, str) else self.name

    @field_validator("name")
    @classmethod
    def _name(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """One name in a list is that name."""
        return value if isinstance(value, str) else value[0] if len(value) == 1 else value


class TileConfig(_Section):
    """Large images as tiles. ``size`` in pixels of the original image; null or off: whole images.

    ``overlap`` is the least share of a tile's side that neighbours have in common, ``min_visible``
    the share of an object that makes it a target of a tile, ``background`` how many empty tiles
    there are at most for one with a target.
    """

    size: Annotated[tuple[int, int] | None, read_by(parse_tile)] = None
    overlap: float = Field(0.2, ge=0, le=0.9)
    min_visible: float = Field(0.3, gt=0, le=1)
    background: float = Field(1.0, ge=0)


class AugmentConfig(_Section):
    """Probabilities and ranges of the training augmentation; 0 switches a part off.

    ``degrees`` and ``shear`` in degrees, ``translate`` as a share of the image size, ``scale`` as
    the largest relative change of size, ``brightness``/``contrast``/``saturation`` as relative
    changes, ``hue`` as a share of the colour circle. ``blur`` in pixels of the network input and
    ``noise`` as a share of the range from black to white are the largest standard deviations; half
    of the images have none. ``quarter_turns``, for textures without an up and square inputs, turns
    that share of the images by 0, 90, 180 or 270 degrees.
    """

    mosaic: float = Field(0.5, ge=0, le=1)
    mixup: float = Field(0.0, ge=0, le=1)
    copy_paste: float = Field(0.0, ge=0, le=1)
    degrees: float = Field(0.0, ge=0, le=180)
    translate: float = Field(0.1, ge=0, le=0.9)
    scale: float = Field(0.4, ge=0, lt=1)
    shear: float = Field(0.0, ge=0, le=45)
    flip_horizontal: float = Field(0.5, ge=0, le=1)
    flip_vertical: float = Field(0.5, ge=0, le=1)
    quarter_turns: float = Field(0.0, ge=0, le=1)
    brightness: float = Field(0.2, ge=0, le=1)
    contrast: float = Field(0.2, ge=0, le=1)
    saturation: float = Field(0.4, ge=0, le=1)
    hue: float = Field(0.015, ge=0, le=0.5)
    blur: float = Field(0.5, ge=0, le=10)
    noise: float = Field(0.02, ge=0, le=1)


class SamplingConfig(_Section):
    """How often an epoch shows what. An epoch is as long as the training set.

    At least the share ``defects`` of it shows a box, whatever the share of good parts is; a class
    that fewer than the share ``rare`` of the images with boxes show comes more often. 0 switches
    each off.
    """

    defects: float = Field(0.5, ge=0, le=0.95)
    rare: float = Field(0.1, ge=0, le=1)


class OptimConfig(_Section):
    """``lr`` is for a batch of 16 images and scales with the square root of the real one.

    Without a value it is 0.006 for ``adamw`` and 0.02 for ``sgd``, and a third of that where the
    training starts from trained weights (RECIPES.md has the runs; those of ``sgd`` are not among
    them). ``sgd`` wants ``weight_decay`` near 0.0005; ``momentum`` is AdamW's beta1.

    ``warmup`` and ``tail`` (the part without mosaic, mixup and copy-paste) are shares of the run.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float | None = Field(None, gt=0)
    final_lr: float = Field(0.02, ge=0, le=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.05, ge=0)
    warmup: float = Field(0.03, ge=0, le=0.5)
    tail: float = Field(0.1, ge=0, le=1)
    accumulate: int = Field(1, ge=1)
    clip_norm: float = Field(10.0, ge=0)
    ema_decay: float = Field(0.999, ge=0, lt=1)

    def base_lr(self, from_weights: bool = False) -> float:
        """``lr``, or its usual value for a start afresh or ``from_weights``."""
        usual = {"adamw": 0.006, "sgd": 0.02}[self.name]
        return self.lr or (usual / 3 if from_weights else usual)


class LossConfig(_Section):
    """Weights of the loss terms and the task-aligned assigner's numbers.

    ``mask_weight`` is that of the masks of defects, where labels have outlines; 0 passes over them.
    """

    classification: Literal["varifocal", "quality"] = "varifocal"
    class_weight: float = Field(1.0, ge=0)
    box_weight: float = Field(2.5, ge=0)
    bins_weight: float = Field(0.5, ge=0)
    mask_weight: float = Field(1.0, ge=0)
    topk: int = Field(13, ge=1)
    alpha: float = Field(1.0, ge=0)
    beta: float = Field(6.0, ge=0)


class DistillConfig(_Section):
    """What the student learns from its teachers; ``teachers`` is set by distill.

    Weights of the terms (0 switches one off): ``class_weight`` with the form ``classification``,
    ``bins_weight``, ``box_weight`` on outputs; ``pkd_weight``, ``cwd_weight`` on feature maps.
    ``cross``: the terms on outputs go through the teacher's head. ``beta`` focuses the bernoulli
    term on where the two disagree, ``temperature`` softens the others. ``schedule`` is the weight
    of all terms over the run, ``until`` the share of the run after which there is no teacher.
    ``balance`` scales the terms at every step so that their gradient is this many times the one of
    the labels (times the schedule); null leaves them as weighted. ``mirrored``: a teacher answers
    the mirrored image too, and the answers are averaged. ``own_average``: the teacher is the moving
    average of the student's own weights.
    """

    teachers: tuple[str, ...] = ()
    classification: Literal["bernoulli", "softmax"] = "bernoulli"
    class_weight: float = Field(4.0, ge=0)
    bins_weight: float = Field(2.0, ge=0)
    box_weight: float = Field(0.0, ge=0)
    pkd_weight: float = Field(0.0, ge=0)
    cwd_weight: float = Field(0.0, ge=0)
    cross: bool = False
    beta: float = Field(1.0, ge=0)
    temperature: float = Field(1.0, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    until: float = Field(1.0, gt=0, le=1)
    balance: float | None = Field(None, gt=0)
    mirrored: bool = False
    own_average: bool = False

    @property
    def taught(self) -> bool:
        """Whether a run with these settings has a teacher."""
        return bool(self.teachers) or self.own_average


class TrainConfig(_Section):
    """Everything a training run depends on."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    tile: TileConfig = TileConfig()
    augment: AugmentConfig = AugmentConfig()
    sampling: SamplingConfig = SamplingConfig()
    optim: OptimConfig = OptimConfig()
    loss: LossConfig = LossConfig()
    distill: DistillConfig = DistillConfig()
    image_size: tuple[int, int] = (640, 640)
    epochs: int = Field(100, ge=1)
    batch: int = Field(16, ge=1)
    seed: int = Field(0, ge=0, lt=2**63)
    device: str = "auto"
    amp: Precision = "auto"
    compile: bool = False
    time: float | None = Field(None, gt=0, description="budget of wall time in seconds")
    patience: int = Field(0, ge=0, description="epochs without a better val AP; 0: never stop")
    val_every: int = Field(1, ge=1)

    @field_validator("image_size", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        return parse_image_size(value)

    @model_validator(mode="after")
    def _turns(self) -> TrainConfig:
        height, width = self.image_size
        if self.augment.quarter_turns and height != width:
            raise ValueError(
                f"augment.quarter_turns needs a square image_size, not {height}x{width}: switch it "
                "off with 0"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def changed(self, **values: Any) -> TrainConfig:
        """With other ``values``, those of a section as a dict. Raises ConfigError for a bad one."""
        return changed(self, values)


BEFORE: dict[str, Any] = {
    "model": {"start": "none"},
    "augment": {"blur": 0.0, "noise": 0.0},
    "sampling": {"defects": 0.0, "rare": 0.0},
    "loss": {"mask_weight": 0.0},
}
"""What the stored settings of a run mean where they say nothing: it began before there were these.

A new setting whose default changes what a training does has a line here.
"""


@checked
def load_config(
    file: AnyPath | None = None,
    flags: dict[str, Any] | None = None,
    assignments: list[str] | None = None,
    base: dict[str, Any] | None = None,
) -> TrainConfig:
    """A TrainConfig, see :func:`load_settings`."""
    file = as_path(file)
    return load_settings(TrainConfig, file, flags, assignments, base)


def build_config(values: dict[str, Any]) -> TrainConfig:
    """A TrainConfig from nested values. Raises ConfigError naming the first key at fault."""
    return build_settings(TrainConfig, values)


def stored_config(stored: Path | dict[str, Any]) -> TrainConfig:
    """The settings that a run stored, in its config.yaml or as the values in its checkpoint.

    What they leave out is as in ``BEFORE``. Raises ConfigError as the others do.
    """
    if isinstance(stored, Path):
        return load_config(stored, base=BEFORE)
    return build_config(merged(BEFORE, stored))
