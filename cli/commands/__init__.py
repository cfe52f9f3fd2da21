"""One module a verb. A verb imports the engine inside its function: ``--help`` must stay quick."""
