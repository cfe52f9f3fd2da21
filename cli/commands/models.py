"""``kdlnet models``: the registry as a table."""

from __future__ import annotations

from ..console import Console
from ..options import Json, Quiet


def models(as_json: Json = False, quiet: Quiet = False) -> None:
    """List the models that --model accepts.

    Parameters and GFLOPs are of the fused model, with 80 classes, at 640 x 640.
    """
    from kdlnet.verbs.models import model_table

    with Console(as_json=as_json, quiet=quiet) as console:
        rows = model_table()
        console.table(
            ("model", "M parameters", "GFLOPs", "strides", "<purpose"),
            [
                (
                    row["name"],
                    f"{row['parameters'] / 1e6:.2f}",
                    f"{row['gflops']:.2f}",
                    "/".join(str(stride) for stride in row["strides"]),
                    row["purpose"],
                )
                for row in rows
            ],
        )
        console.document({"models": rows})
