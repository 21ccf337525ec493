"""The `convnet-kafka` command: one file per sub-command, each imported only when it is called."""
