"""The dataset workshop behind ``kdlnet data``."""
