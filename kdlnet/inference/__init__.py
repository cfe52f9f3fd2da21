"""From images to boxes, whatever the network runs in."""
