"""What of JetStream is on disk: one environment of lmdb for each account, written by group commit."""
