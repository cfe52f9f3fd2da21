"""The command line of kdlnet, installed as ``kdlnet_cli``. Nothing imports it."""
