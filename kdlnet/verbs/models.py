"""``kdlnet models``: what --model accepts."""

from kdlnet.models.zoo import model_table

__all__ = ["model_table"]
