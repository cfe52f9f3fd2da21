"""``kdlnet models``: what --model accepts."""

from kdlnet.models.cost import model_table

__all__ = ["model_table"]
