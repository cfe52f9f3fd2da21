"""Non-maximum suppression as a part of an ONNX network."""

from __future__ import annotations

from typing import Any

from kdlnet.inference.suppressed import LOWEST_SCORE, rows_of
from kdlnet.ops.limits import IOU_THRESHOLD, MAX_CANDIDATES, VOTERS
from kdlnet.types import ImageSize
from kdlnet.utils.packages import optional_package

# The steps of select_detections: the best pairs of point and class, their boxes clipped, the
# suppression within each class, the best that are left, and the vote: kept boxes (B, rows, 1, 4)
# against all candidates (B, 1, K, 4). Rows without a box: score 0, label -1.
# A number that is none spoils all rows of its image: else a broken network would find nothing.
_TEXT = """
<ir_version: {ir}, opset_import: ["": {opset}]>
suppression (float[{batch}, {points}, {classes}] logits, float[{batch}, {points}, 4] boxes)
=> (float[{batch}, {rows}, 6] detections)
<int64[2] flat = {{0, -1}}, int64[1] candidates = {{{candidates}}}, int64[1] rows = {{{rows}}},
 int64 classes = {{{classes}}}, float[4] low = {{0, 0, 0, 0}},
 float[4] high = {{{w}, {h}, {w}, {h}}},
 int64 most = {{{rows}}}, float iou = {{{iou}}}, float lowest = {{{lowest}}}, float nothing = {{0}},
 float one = {{1}}, float[2] off_on = {{0, 1}}, int64[1] last = {{-1}}, int64[1] middle = {{1}},
 int64[2] image_and_row = {{0, 2}}, int64[2] spatial = {{1, 2}}, int64[1] start = {{0}},
 int64[1] half = {{2}}, int64[1] whole = {{4}}, float voters = {{{voters}}}, float tiny = {{1e-9}}>
{{
  pairs = Reshape (logits, flat)
  best, place = TopK <axis = 1, largest = 1, sorted = 1> (pairs, candidates)
  scores = Sigmoid (best)
  point = Div (place, classes)
  label = Mod (place, classes)
  points = Unsqueeze (point, last)
  found = GatherND <batch_dims = 1> (boxes, points)
  reaching = Max (found, low)
  clipped = Min (reaching, high)
  of_class = OneHot <axis = 1> (label, classes, off_on)
  score_rows = Unsqueeze (scores, middle)
  class_scores = Mul (of_class, score_rows)
  selected = NonMaxSuppression (clipped, class_scores, most, iou, lowest)
  kept = Gather <axis = 1> (selected, image_and_row)
  count = Shape <start = 0, end = 1> (kept)
  ones = ConstantOfShape <value = float[1] {{1}}> (count)
  none = Mul (scores, nothing)
  mask = ScatterND (none, kept, ones)
  left = Mul (scores, mask)
  final, row = TopK <axis = 1, largest = 1, sorted = 1> (left, rows)
  at = Unsqueeze (row, last)
  final_boxes = GatherND <batch_dims = 1> (clipped, at)
  numbers = Cast <to = 1> (label)
  final_numbers = GatherND <batch_dims = 1> (numbers, at)
  final_mask = GatherND <batch_dims = 1> (mask, at)
  masks = Unsqueeze (final_mask, last)
  one_box = Unsqueeze (final_boxes, half)
  others = Unsqueeze (clipped, middle)
  low_corner = Slice (one_box, start, half, last)
  high_corner = Slice (one_box, half, whole, last)
  other_low = Slice (others, start, half, last)
  other_high = Slice (others, half, whole, last)
  inner_low = Max (low_corner, other_low)
  inner_high = Min (high_corner, other_high)
  inner_sides = Sub (inner_high, inner_low)
  inner_shown = Max (inner_sides, nothing)
  inner = ReduceProd <keepdims = 0> (inner_shown, last)
  sides = Sub (high_corner, low_corner)
  area = ReduceProd <keepdims = 0> (sides, last)
  other_sides = Sub (other_high, other_low)
  other_area = ReduceProd <keepdims = 0> (other_sides, last)
  both = Add (area, other_area)
  outside = Sub (both, inner)
  union = Add (outside, tiny)
  overlap = Div (inner, union)
  nearer = Sub (overlap, iou)
  near = Max (nearer, nothing)
  final_column = Unsqueeze (final, last)
  least = Mul (final_column, voters)
  surer = Sub (score_rows, least)
  sure = Max (surer, nothing)
  label_row = Unsqueeze (label, middle)
  kept_number = GatherND <batch_dims = 1> (label, at)
  kept_label = Unsqueeze (kept_number, last)
  same_label = Equal (kept_label, label_row)
  same = Cast <to = 1> (same_label)
  weight_of_both = Mul (near, sure)
  weights = Mul (weight_of_both, same)
  total = ReduceSum <keepdims = 1> (weights, last)
  sum_of_boxes = MatMul (weights, clipped)
  mean_box = Div (sum_of_boxes, total)
  any = Greater (total, nothing)
  agreed = Where (any, mean_box, final_boxes)
  shown = Mul (agreed, masks)
  counted = Add (final_numbers, one)
  masked = Mul (counted, final_mask)
  labels = Sub (masked, one)
  score_column = Unsqueeze (final, last)
  label_column = Unsqueeze (labels, last)
  table = Concat <axis = 2> (shown, score_column, label_column)
  zeros = Sub (logits, logits)
  zero_sides = Sub (boxes, boxes)
  flaws = ReduceSum <keepdims = 1> (zeros, spatial)
  side_flaws = ReduceSum <keepdims = 1> (zero_sides, spatial)
  all_flaws = Add (flaws, side_flaws)
  detections = Add (table, all_flaws)
}}
"""


def with_nms(model: Any, image_size: ImageSize) -> Any:
    """``model``, whose outputs are those of all points, with the output ``detections`` alone.

    (B, N, 6): x1, y1, x2, y2 in pixels of the network input, score, label; by falling score.
    """
    onnx = optional_package("onnx", "--nms")
    logits = next(value for value in model.graph.output if value.name == "logits")
    batch, *sizes = logits.type.tensor_type.shape.dim
    points, classes = (size.dim_value for size in sizes)
    height, width = image_size
    text = _TEXT.format(
        ir=model.ir_version,
        opset=model.opset_import[0].version,
        batch=batch.dim_param or batch.dim_value,
        points=points,
        classes=classes,
        candidates=min(MAX_CANDIDATES, points * classes),
        rows=rows_of(points, classes),
        iou=IOU_THRESHOLD,
        voters=VOTERS,
        lowest=LOWEST_SCORE,
        h=height,
        w=width,
    )
    after = onnx.compose.add_prefix(
        onnx.parser.parse_model(text), "nms_", rename_inputs=False, rename_outputs=False
    )
    return onnx.compose.merge_models(
        model, after, io_map=[("logits", "logits"), ("boxes", "boxes")], outputs=["detections"]
    )
